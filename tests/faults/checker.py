"""The promises, each a function of the evidence that returns the ways in which it was broken, as sentences."""

import json
from collections.abc import Callable, Iterator

from .archive import BadArchiveError, read_archive
from .evidence import Evidence, Job, carried_out, said
from .history import Exchange
from .reference import wrong_with

Findings = Iterator[str]


def deleted_only_after_its_outcome(evidence: Evidence) -> Findings:
    """1: a message is deleted only after its answer or its rejection was accepted; else it is still in a queue."""
    kept = 0
    for job in evidence.jobs:
        for delete in evidence.deletes(job):
            yield from _unsettled(evidence, job, delete)
        kept += not carried_out(evidence.deletes(job))
    known = {job.message for job in evidence.jobs}
    for delete in carried_out(evidence.history.of("DeleteMessage")):
        if delete.facts.get("message") not in known:
            yield f"a message that nobody sent was deleted (call {delete.seq})"
    moved = len(known & set(evidence.remains.dead))
    if kept != evidence.remains.waiting + moved:
        left = evidence.remains.waiting
        yield f"{kept} messages were not deleted, but {left} are waiting and {moved} were moved by the queue"


def _unsettled(evidence: Evidence, job: Job, delete: Exchange) -> Findings:
    world = evidence.world
    done = carried_out(evidence.successes(job), by=delete.began)
    if world.answer_queue is None:
        done = carried_out(evidence.writes(job.key), by=delete.began)
    rejected = carried_out(evidence.rejections(job), by=delete.began)
    if not done and not rejected:
        yield f"{job.message} was deleted (call {delete.seq}) before any outcome of it was accepted"
    told = world.failure_queue is None or carried_out(evidence.failures(job), by=delete.began)
    if rejected and not done and not told:
        yield f"{job.message} was rejected and deleted (call {delete.seq}) without a failure answer"


def never_both_outcomes(evidence: Evidence) -> Findings:
    """2: never both outcomes for one job in an unchanged world."""
    for job in evidence.jobs:
        done = carried_out(evidence.successes(job))
        failed = carried_out(evidence.rejections(job)) + carried_out(evidence.failures(job))
        if done and failed and not job.changed:
            yield f"{job.message} both succeeded (call {done[0].seq}) and failed (call {failed[0].seq})"
        if done and job.members is None:
            yield f"{job.message} succeeded (call {done[0].seq}), though nothing should come of it"


def announced_archives_are_right(evidence: Evidence) -> Findings:
    """3: an announced archive exists, its bytes are those of its objects as planned, and every answer says the same."""
    told = set()
    for job in evidence.jobs:
        answers = evidence.successes(job)
        told |= {answer.seq for answer in answers}
        for answer in answers:
            yield from (f"{job.message}, call {answer.seq}: {fault}" for fault in wrong_with(evidence, job, answer))
        if len({(said(answer).get("status"), said(answer).get("notification_id")) for answer in answers}) > 1:
            yield f"{job.message} was answered under several notification ids"
    for answer in evidence.messages(evidence.world.answer_queue):
        failure = evidence.world.failure_queue == evidence.world.answer_queue and said(answer).get("status") == "failed"
        if answer.seq not in told and not failure:
            yield f"an answer that is nobody's was sent (call {answer.seq})"


def archives_are_absent_or_whole(evidence: Evidence) -> Findings:
    """4: at every instant an archive is absent or whole and valid; and once there it stays as it is."""
    first: dict[str, bytes] = {}
    for sighting in evidence.history.sightings:
        try:
            read_archive(sighting.body)
        except BadArchiveError as error:
            yield f"at {sighting.at:.3f} {sighting.key} was not a whole archive: {error}"
        if first.setdefault(sighting.key, sighting.body) != sighting.body:
            yield f"at {sighting.at:.3f} {sighting.key} was overwritten with something else"


def no_upload_is_left(evidence: Evidence) -> Findings:
    """5: after the dust settles no multipart upload is left."""
    yield from (f"an upload to {key} is still open" for key in evidence.remains.uploads)


def archive_then_answer_then_delete(evidence: Evidence) -> Findings:
    """6: Complete before answer before delete."""
    for job in evidence.jobs:
        for answer in evidence.successes(job):
            if not carried_out(evidence.writes(job.key), by=answer.began):
                yield f"{job.message} was answered (call {answer.seq}) before its archive was there"
            for delete in evidence.deletes(job):
                if delete.began < answer.began and delete.committed is not None and delete.client == answer.client:
                    yield f"{job.message} was answered (call {answer.seq}) after it was deleted (call {delete.seq})"


def nothing_after_the_lease(evidence: Evidence) -> Findings:
    """7: after its lease's deadline a worker begins no Complete, no answer, no rejection and no delete."""
    for job in evidence.jobs:
        sent = evidence.successes(job) + evidence.failures(job) + evidence.rejections(job)
        for act in (*evidence.writes(job.key), *sent, *evidence.deletes(job)):
            sharing = (other for other in evidence.jobs if other.key == job.key)
            whose = [job] if act.op in ("SendMessage", "DeleteMessage") else list(sharing)
            deadline = max(_deadline(evidence, other, act) for other in whose)
            if act.began > deadline:
                late = act.began - deadline
                yield f"{act.client} began {act.op} for {job.message} {late:.3f} s after its lease (call {act.seq})"


def _deadline(evidence: Evidence, job: Job, act: Exchange) -> float:
    """
    Until when *act*'s client held *job*'s message, as far as the queue had granted it when *act* began.

    A delete is held to its own receipt: another one that the client was given meanwhile is another attempt's.
    """
    receipt = act.facts.get("receipt")
    deadline = float("-inf")
    for grant in carried_out(evidence.history.of("ReceiveMessage", "ChangeMessageVisibility"), by=act.began):
        granted = {m["receipt"] for m in grant.facts.get("messages", ()) if m["id"] == job.message}
        if grant.facts.get("message") == job.message:
            granted.add(grant.facts["receipt"])
        if grant.client == act.client and granted and (receipt is None or receipt in granted):
            assert grant.committed is not None
            deadline = grant.committed + grant.facts.get("visibility", evidence.world.visibility)
    return deadline


def only_allowed_buckets(evidence: Evidence) -> Findings:
    """8: no request goes to a bucket off the allow-list."""
    for exchange in evidence.history.of():
        if exchange.call.bucket is not None and exchange.call.bucket not in evidence.world.allowed:
            yield f"{exchange.call} went to a bucket that is not allowed (call {exchange.seq})"


def no_secret_gets_out(evidence: Evidence) -> Findings:
    """9: no secret in logs, answers, errors or metadata; no receipt in logs; nothing private in logs or errors."""
    world, history = evidence.world, evidence.history
    receipts = {message["receipt"] for e in history.of("ReceiveMessage") for message in e.facts.get("messages", ())}
    for text in (*world.secrets, *world.private, *receipts):
        if text in evidence.remains.logs:
            yield f"{text[:12]!r}… appears in the logs"
    for exchange in history.of("SendMessage", "PutObject", "CreateMultipartUpload"):
        shown, errors = _texts(exchange)
        exposed = [t for t in world.secrets if any(t in s for s in shown)]
        exposed += [t for t in world.private if any(t in s for s in errors)]
        yield from (f"{text[:12]!r}… was sent to {exchange.call} (call {exchange.seq})" for text in exposed)


def _texts(exchange: Exchange) -> tuple[list[str], list[str]]:
    """All that a message or an object tells, and what of it speaks of errors."""
    facts = exchange.facts
    attributes = facts.get("attributes", {})
    shown = [*attributes.values(), *facts.get("metadata", {}).values(), facts.get("body", "")]
    return shown, [attributes.get("ErrorMessage", ""), json.dumps(said(exchange).get("error"))]


PROMISES: tuple[Callable[[Evidence], Findings], ...] = (
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


def check(evidence: Evidence) -> list[str]:
    """Every way in which a promise was broken, with the promise's name."""
    return [f"{promise.__name__}: {finding}" for promise in PROMISES for finding in promise(evidence)]
