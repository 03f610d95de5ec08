"""The promises, each a function of the observations that yields a sentence for each violation."""

import json
from collections.abc import Callable, Iterator

from .archive import BadArchiveError, read_archive
from .history import Exchange
from .observations import Job, Observations, answer_body, executed
from .operations import PUT_RECEIPT, PUT_RECORD
from .reference import differences
from .results import UnreadableResultError, is_result, read_result, result_differences

Findings = Iterator[str]


def deleted_only_after_its_outcome(observations: Observations) -> Findings:
    """1: a message is deleted only after its answer or rejection was accepted; otherwise it is still in a queue."""
    undeleted = 0
    for job in observations.jobs:
        for delete in observations.deletes(job):
            yield from _unsettled(observations, job, delete)
        undeleted += not executed(observations.deletes(job))
    known = {job.message for job in observations.jobs}
    for delete in executed(observations.history.select("DeleteMessage")):
        if delete.facts.get("message") not in known:
            yield f"a message of no job was deleted (call {delete.seq})"
    moved = len(known & set(observations.final_state.dead))
    if undeleted != observations.final_state.waiting + moved:
        waiting = observations.final_state.waiting
        yield f"{undeleted} messages were not deleted, but {waiting} are waiting and {moved} were dead-lettered by SQS"


def _unsettled(observations: Observations, job: Job, delete: Exchange) -> Findings:
    resources = observations.resources
    done = executed(observations.successes(job), by=delete.began)
    if resources.answer_queue is None:
        done = executed(observations.writes(job.key), by=delete.began)
    rejected = executed(observations.rejections(job), by=delete.began)
    if not done and not rejected:
        yield f"{job.message} was deleted (call {delete.seq}) before any outcome of it was accepted"
    failure_sent = resources.failure_queue is None or executed(observations.failures(job), by=delete.began)
    if rejected and not done and not failure_sent:
        yield f"{job.message} was rejected and deleted (call {delete.seq}) without a failure answer"


def never_both_outcomes(observations: Observations) -> Findings:
    """2: a job whose sources do not change never both succeeds and fails."""
    for job in observations.jobs:
        done = executed(observations.successes(job))
        failed = executed(observations.rejections(job)) + executed(observations.failures(job))
        if done and failed and not job.changed:
            yield f"{job.message} both succeeded (call {done[0].seq}) and failed (call {failed[0].seq})"
        if done and job.members is None:
            yield f"{job.message} succeeded (call {done[0].seq}), although it must be rejected"


def announced_archives_are_right(observations: Observations) -> Findings:
    """3: an announced archive exists, holds the planned versions of its objects, and all answers are the same."""
    known = set()
    for job in observations.jobs:
        answers = observations.successes(job)
        known |= {answer.seq for answer in answers}
        compare = result_differences if job.command else differences
        for answer in answers:
            yield from (f"{job.message}, call {answer.seq}: {fault}" for fault in compare(observations, job, answer))
        if (
            len({(answer_body(answer).get("status"), answer_body(answer).get("notification_id")) for answer in answers})
            > 1
        ):
            yield f"{job.message} was answered under several notification ids"
    for answer in observations.messages(observations.resources.answer_queue):
        failure = (
            observations.resources.failure_queue == observations.resources.answer_queue
            and answer_body(answer).get("status") == "failed"
        )
        if answer.seq not in known and not failure:
            yield f"an answer that belongs to no job was sent (call {answer.seq})"


def archives_are_absent_or_whole(observations: Observations) -> Findings:
    """4: at any time an archive or a result is absent, or complete and valid; once it exists it never changes."""
    first: dict[str, bytes] = {}
    for sighting in observations.history.observed_archives:
        try:
            read: Callable[[bytes], object] = read_result if is_result(sighting.key) else read_archive
            read(sighting.body)
        except (BadArchiveError, UnreadableResultError) as error:
            yield f"at {sighting.at:.3f} {sighting.key} was not a complete archive: {error}"
        if first.setdefault(sighting.key, sighting.body) != sighting.body:
            yield f"at {sighting.at:.3f} {sighting.key} was overwritten with other content"


def nothing_is_left(observations: Observations) -> Findings:
    """5: at the end no upload or record of one is left, each archive has its receipt and each receipt its archive."""
    final = observations.final_state
    yield from (f"an upload to {key} is still open" for key in final.uploads)
    yield from (f"the record {key} has no upload" for key in final.records)
    yield from (f"the receipt {key} has no archive" for key in set(final.receipts) - set(final.due))
    yield from (f"an archive lacks its receipt {key}" for key in set(final.due) - set(final.receipts))


def archive_then_answer_then_delete(observations: Observations) -> Findings:
    """6: the receipt is written before the archive, the archive before the answer, and the answer before the delete."""
    for job in observations.jobs:
        for write in executed(observations.writes(job.key)):
            if not job.command and not executed(observations.receipts(job.key), by=write.began):
                yield f"the archive of {job.message} was written (call {write.seq}) before a receipt of it existed"
        for answer in observations.successes(job):
            if not executed(observations.writes(job.key), by=answer.began):
                yield f"{job.message} was answered (call {answer.seq}) before its archive existed"
            for delete in observations.deletes(job):
                if delete.began < answer.began and delete.committed is not None and delete.client == answer.client:
                    yield f"{job.message} was answered (call {answer.seq}) after it was deleted (call {delete.seq})"


def nothing_after_the_lease(observations: Observations) -> Findings:
    """7: after its lease has expired a worker begins no write of a receipt or archive, answer, rejection or delete."""
    for job in observations.jobs:
        sent = observations.successes(job) + observations.failures(job) + observations.rejections(job)
        writes = observations.writes(job.key) + observations.receipts(job.key)
        writes += observations.receipts(job.key, PUT_RECORD) + observations.outputs(job)
        for act in (*writes, *sent, *observations.deletes(job)):
            same_key = (other for other in observations.jobs if other.key == job.key)
            owners = [job] if act.op in ("SendMessage", "DeleteMessage") else list(same_key)
            deadline = max(_deadline(observations, owner, act) for owner in owners)
            if act.began > deadline:
                late = act.began - deadline
                yield f"{act.client} began {act.op} for {job.message} {late:.3f} s after lease expiry (call {act.seq})"


def _deadline(observations: Observations, job: Job, act: Exchange) -> float:
    """
    Return when the lease of *act*'s client on *job*'s message expires, as granted by the queue when *act* began.

    For a delete only its own receipt counts: a newer receipt of the same client belongs to another attempt.
    """
    receipt = act.facts.get("receipt")
    deadline = float("-inf")
    for grant in executed(observations.history.select("ReceiveMessage", "ChangeMessageVisibility"), by=act.began):
        granted = {m["receipt"] for m in grant.facts.get("messages", ()) if m["id"] == job.message}
        if grant.facts.get("message") == job.message:
            granted.add(grant.facts["receipt"])
        if grant.client == act.client and granted and (receipt is None or receipt in granted):
            assert grant.committed is not None
            deadline = grant.committed + grant.facts.get("visibility", observations.resources.visibility)
    return deadline


def only_allowed_buckets(observations: Observations) -> Findings:
    """8: no request goes to a bucket that is not allowed."""
    for exchange in observations.history.select():
        if exchange.call.bucket is not None and exchange.call.bucket not in observations.resources.allowed:
            yield f"{exchange.call} went to a bucket that is not allowed (call {exchange.seq})"


def no_secret_gets_out(observations: Observations) -> Findings:
    """9: no secrets in logs, answers, errors or metadata; no receipts in logs; no private text in logs or errors."""
    resources, history = observations.resources, observations.history
    receipts = {message["receipt"] for e in history.select("ReceiveMessage") for message in e.facts.get("messages", ())}
    for text in (*resources.secrets, *resources.private, *receipts):
        if text in observations.final_state.logs:
            yield f"{text[:12]!r}… appears in the logs"
    for exchange in history.select("SendMessage", "PutObject", PUT_RECEIPT, "CreateMultipartUpload"):
        shown, errors = _texts(exchange)
        exposed = [t for t in resources.secrets if any(t in s for s in shown)]
        exposed += [t for t in resources.private if any(t in s for s in errors)]
        yield from (f"{text[:12]!r}… was sent to {exchange.call} (call {exchange.seq})" for text in exposed)


def _texts(exchange: Exchange) -> tuple[list[str], list[str]]:
    """Return all texts of a message or an object, and those of them that describe errors."""
    facts = exchange.facts
    attributes = facts.get("attributes", {})
    shown = [*attributes.values(), *facts.get("metadata", {}).values(), facts.get("body", "")]
    return shown, [attributes.get("ErrorMessage", ""), json.dumps(answer_body(exchange).get("error"))]


PROMISES: tuple[Callable[[Observations], Findings], ...] = (
    deleted_only_after_its_outcome,
    never_both_outcomes,
    announced_archives_are_right,
    archives_are_absent_or_whole,
    nothing_is_left,
    archive_then_answer_then_delete,
    nothing_after_the_lease,
    only_allowed_buckets,
    no_secret_gets_out,
)


def check(observations: Observations) -> list[str]:
    """Return all violations, each with the name of its promise."""
    return [f"{promise.__name__}: {finding}" for promise in PROMISES for finding in promise(observations)]
