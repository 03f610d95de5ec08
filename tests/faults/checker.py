"""The promises, each a function of the evidence that returns the ways in which it was broken, as sentences."""

import json
from collections.abc import Callable, Iterator

from .archive import BadArchiveError, read_archive
from .history import Exchange
from .observations import Job, Observations, answer_body, executed
from .reference import differences

Findings = Iterator[str]


def deleted_only_after_its_outcome(observations: Observations) -> Findings:
    """1: a message is deleted only after its answer or its rejection was accepted; else it is still in a queue."""
    kept = 0
    for job in observations.jobs:
        for delete in observations.deletes(job):
            yield from _unsettled(observations, job, delete)
        kept += not executed(observations.deletes(job))
    known = {job.message for job in observations.jobs}
    for delete in executed(observations.history.select("DeleteMessage")):
        if delete.facts.get("message") not in known:
            yield f"a message that nobody sent was deleted (call {delete.seq})"
    moved = len(known & set(observations.final_state.dead))
    if kept != observations.final_state.waiting + moved:
        left = observations.final_state.waiting
        yield f"{kept} messages were not deleted, but {left} are waiting and {moved} were moved by the queue"


def _unsettled(observations: Observations, job: Job, delete: Exchange) -> Findings:
    resources = observations.resources
    done = executed(observations.successes(job), by=delete.began)
    if resources.answer_queue is None:
        done = executed(observations.writes(job.key), by=delete.began)
    rejected = executed(observations.rejections(job), by=delete.began)
    if not done and not rejected:
        yield f"{job.message} was deleted (call {delete.seq}) before any outcome of it was accepted"
    told = resources.failure_queue is None or executed(observations.failures(job), by=delete.began)
    if rejected and not done and not told:
        yield f"{job.message} was rejected and deleted (call {delete.seq}) without a failure answer"


def never_both_outcomes(observations: Observations) -> Findings:
    """2: never both outcomes for one job in an unchanged world."""
    for job in observations.jobs:
        done = executed(observations.successes(job))
        failed = executed(observations.rejections(job)) + executed(observations.failures(job))
        if done and failed and not job.changed:
            yield f"{job.message} both succeeded (call {done[0].seq}) and failed (call {failed[0].seq})"
        if done and job.members is None:
            yield f"{job.message} succeeded (call {done[0].seq}), though nothing should come of it"


def announced_archives_are_right(observations: Observations) -> Findings:
    """3: an announced archive exists, its bytes are those of its objects as planned, and every answer says the same."""
    told = set()
    for job in observations.jobs:
        answers = observations.successes(job)
        told |= {answer.seq for answer in answers}
        for answer in answers:
            yield from (
                f"{job.message}, call {answer.seq}: {fault}" for fault in differences(observations, job, answer)
            )
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
        if answer.seq not in told and not failure:
            yield f"an answer that is nobody's was sent (call {answer.seq})"


def archives_are_absent_or_whole(observations: Observations) -> Findings:
    """4: at every instant an archive is absent or whole and valid; and once there it stays as it is."""
    first: dict[str, bytes] = {}
    for sighting in observations.history.observed_archives:
        try:
            read_archive(sighting.body)
        except BadArchiveError as error:
            yield f"at {sighting.at:.3f} {sighting.key} was not a whole archive: {error}"
        if first.setdefault(sighting.key, sighting.body) != sighting.body:
            yield f"at {sighting.at:.3f} {sighting.key} was overwritten with something else"


def no_upload_is_left(observations: Observations) -> Findings:
    """5: after the dust settles no multipart upload is left."""
    yield from (f"an upload to {key} is still open" for key in observations.final_state.uploads)


def archive_then_answer_then_delete(observations: Observations) -> Findings:
    """6: Complete before answer before delete."""
    for job in observations.jobs:
        for answer in observations.successes(job):
            if not executed(observations.writes(job.key), by=answer.began):
                yield f"{job.message} was answered (call {answer.seq}) before its archive was there"
            for delete in observations.deletes(job):
                if delete.began < answer.began and delete.committed is not None and delete.client == answer.client:
                    yield f"{job.message} was answered (call {answer.seq}) after it was deleted (call {delete.seq})"


def nothing_after_the_lease(observations: Observations) -> Findings:
    """7: after its lease's deadline a worker begins no Complete, no answer, no rejection and no delete."""
    for job in observations.jobs:
        sent = observations.successes(job) + observations.failures(job) + observations.rejections(job)
        for act in (*observations.writes(job.key), *sent, *observations.deletes(job)):
            sharing = (other for other in observations.jobs if other.key == job.key)
            whose = [job] if act.op in ("SendMessage", "DeleteMessage") else list(sharing)
            deadline = max(_deadline(observations, other, act) for other in whose)
            if act.began > deadline:
                late = act.began - deadline
                yield f"{act.client} began {act.op} for {job.message} {late:.3f} s after its lease (call {act.seq})"


def _deadline(observations: Observations, job: Job, act: Exchange) -> float:
    """
    Until when *act*'s client held *job*'s message, as far as the queue had granted it when *act* began.

    A delete is held to its own receipt: another one that the client was given meanwhile is another attempt's.
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
    """8: no request goes to a bucket off the allow-list."""
    for exchange in observations.history.select():
        if exchange.call.bucket is not None and exchange.call.bucket not in observations.resources.allowed:
            yield f"{exchange.call} went to a bucket that is not allowed (call {exchange.seq})"


def no_secret_gets_out(observations: Observations) -> Findings:
    """9: no secret in logs, answers, errors or metadata; no receipt in logs; nothing private in logs or errors."""
    resources, history = observations.resources, observations.history
    receipts = {message["receipt"] for e in history.select("ReceiveMessage") for message in e.facts.get("messages", ())}
    for text in (*resources.secrets, *resources.private, *receipts):
        if text in observations.final_state.logs:
            yield f"{text[:12]!r}… appears in the logs"
    for exchange in history.select("SendMessage", "PutObject", "CreateMultipartUpload"):
        shown, errors = _texts(exchange)
        exposed = [t for t in resources.secrets if any(t in s for s in shown)]
        exposed += [t for t in resources.private if any(t in s for s in errors)]
        yield from (f"{text[:12]!r}… was sent to {exchange.call} (call {exchange.seq})" for text in exposed)


def _texts(exchange: Exchange) -> tuple[list[str], list[str]]:
    """All that a message or an object tells, and what of it speaks of errors."""
    facts = exchange.facts
    attributes = facts.get("attributes", {})
    shown = [*attributes.values(), *facts.get("metadata", {}).values(), facts.get("body", "")]
    return shown, [attributes.get("ErrorMessage", ""), json.dumps(answer_body(exchange).get("error"))]


PROMISES: tuple[Callable[[Observations], Findings], ...] = (
    deleted_only_after_its_outcome,
    never_both_outcomes,
    announced_archives_are_right,
    archives_are_absent_or_whole,
    no_upload_is_left,
    archive_then_answer_then_delete,
    nothing_after_the_lease,
    only_allowed_buckets,
    no_secret_gets_out,
)


def check(observations: Observations) -> list[str]:
    """Every way in which a promise was broken, with the promise's name."""
    return [f"{promise.__name__}: {finding}" for promise in PROMISES for finding in promise(observations)]
