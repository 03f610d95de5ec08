"""
Builds one zip of S3 objects on request.

    message ─▶ request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload ─▶ notify ─▶ ack

The modules in the order in which the bytes travel:

    start     cli, __main__            commands; local runs the worker with an embedded S3 and SQS
              app                      composition root: settings become a running worker
              doors                    where requests come from (SQS, RabbitMQ, order files), and ways out
              awslambda                the same jobs in a function; cli.handle: one job in an ECS task
    message   worker.loop              receives messages while there is capacity, and stops on a signal
              worker.lease             extends the visibility timeout; stops the job before the lease expires
              worker.settle            runs the job, then deletes, releases or rejects the message
              worker.breaker, guarded  circuit breakers of stores and queues; gate pauses receiving
    request   jobs.pipeline            from the message to the answer
              core.messages            parses and checks the request
              jobs.identity            the archive's key and the ids of its answers
    plan      jobs.archive             from the draft to the archive, or the existing archive
              jobs.selection           reads the manifest, and lists the prefixes of requests
              stages.wait              waits for objects; core.watch decides what is missing and when to look
              stages.resolve           HEADs all other objects concurrently
              core.draft, core.plan    names, order, sizes: everything that is known before the first byte
    fetch     stages.gather, lanes     small objects, one GET each; those that come early wait in stages.room
              stages.fetch             concurrent reads, resumed after failures, pinned to the planned ETags
              aws.s3_lanes, s3_read    signed requests; http: bodies are received into part buffers (stages.budget)
    (command) jobs.command             a program instead of a zip: inputs, run, outputs, remembered result
              stages.to_files          its inputs; from_files: its outputs
              command                  directories, processes and containers, which end with their job for certain
    zip       stages.stored, in_order  stored archives: members get their addresses in order
              stages.assemble          parts are filled in any order
              stages.copying           or copied by the store: core.copies decides which
              stages.deflate           compressed archives: in order, through stream-zip in a thread
    upload    stages.upload            sends the parts; aborts on any failure, or leaves them with a record
              jobs.resuming            goes on with an upload that an earlier worker left
    notify    jobs.progress            progress events and the answer
    ack       worker.settle            the message is deleted last

    telemetry                          logs, metrics and the health server; they never block a job
    ports, errors, settings            interfaces to the outside; errors by reaction; the environment
"""

__version__ = "0.1.0"
