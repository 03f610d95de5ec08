"""
Objects in S3 become one zip, on request.

    message ─▶ request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload ─▶ notify ─▶ ack

    message   worker, lease, settle   receive, keep the message ours, end it truthfully; identity: its names
              health, guarded, gate   which stores and queues answer; what waits meanwhile
    request   core.messages           what was asked, checked
    plan      core.draft, core.plan   names, order, sizes; everything that can be known before the first byte
    fetch     stages.fetch            objects read concurrently, resumed, pinned to what was planned
    zip       stages.assemble         stored archives: every byte's place is known, parts are filled in any order
              stages.deflate          compressed archives: in order, through stream-zip in a thread of ours
    upload    stages.upload           parts out; undone on any failure
    notify    pipeline, aws.sqs       the answer
    ack       worker                  the message is deleted last
"""

__version__ = "0.1.0"
