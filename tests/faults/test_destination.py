"""Group E: whatever the destination does, an archive is absent or whole, and nothing is left behind."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .archive import read_archive
from .evidence import Job
from .flows import Bandwidth
from .rules import Action, Canned, Do, DropAnswer, Hangup, OkWithError, Status
from .setting import MIB
from .stage import Stage
from .worker import until

HALF_AN_ANSWER = b'<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult><Buck'


def each(stage: Stage, size: int, plans: Sequence[Callable[[Job], object]]) -> list[Job]:
    """One job of *size* bytes for each plan, which breaks calls for its archive's key; all end in one answer each."""
    sources = stage.photos(size)
    jobs = []
    for plan in plans:
        jobs.append(job := stage.ask(sources))
        plan(job)
    stage.worker()
    stage.wait_deleted(*jobs)
    assert [len(stage.answers(job)) for job in jobs] == [1] * len(plans)
    stage.finish()
    return jobs


def broken(stage: Stage, action: Action, op: str, **where: Any) -> Callable[[Job], object]:
    """A plan for `each`."""
    return lambda job: stage.break_(action, op, key=job.key, **where)


def test_an_upload_that_does_not_begin_is_begun_again(stage: Stage) -> None:
    """E1: one whose beginning was not acknowledged is swept away in the end."""
    actions = (Status(500, "InternalError"), Hangup(), DropAnswer())
    each(stage, 6 * MIB, [broken(stage, action, "CreateMultipartUpload") for action in actions])


def test_a_part_that_fails_is_sent_again_from_the_same_bytes(stage: Stage) -> None:
    """E2: the first part, and the last one twice."""
    actions: tuple[Action, ...] = (
        Status(500, "InternalError"),
        Status(503, "SlowDown"),
        Status(400, "BadDigest"),
        Hangup(),
        DropAnswer(),
    )

    def plan(action: Action) -> Callable[[Job], object]:
        first = broken(stage, action, "UploadPart", part=1)
        last = broken(stage, action, "UploadPart", part=2, times=2)
        return lambda job: (first(job), last(job))

    jobs = each(stage, 6 * MIB, [plan(action) for action in actions])
    for job, number, tries in ((job, *tried) for job in jobs for tried in ((1, 2), (2, 3))):
        sent = (e for e in stage.history.of("UploadPart") if (e.call.key, e.call.part) == (job.key, number))
        digests = [e.facts["sha256"] for e in sent]
        assert (len(digests), len(set(digests))) == (tries, 1)


@pytest.mark.parametrize(("size", "op"), [(1000, "PutObject"), (6 * MIB, "CompleteMultipartUpload")])
def test_a_write_whose_answer_was_lost_is_settled_by_looking(stage: Stage, size: int, op: str) -> None:
    """E4: no second archive, no second answer; whatever the write is told when it is tried again."""
    tried_again = (Status(404, "NoSuchUpload"), Status(412, "PreconditionFailed"))

    def plan(again: Action) -> Callable[[Job], object]:
        lost, told = broken(stage, DropAnswer(), op), broken(stage, again, op, nth=2)
        return lambda job: (lost(job), told(job))

    jobs = each(stage, size, [broken(stage, DropAnswer(), op), *map(plan, tried_again)])
    assert len({(seen.key, seen.body) for seen in stage.history.sightings}) == len(jobs)


def test_a_completion_that_is_not_clearly_a_success_is_settled_by_looking(stage: Stage) -> None:
    """E5: status 200 is not enough, and an error need not mean that it wasn't done."""
    answers = (
        OkWithError("InternalError"),
        Canned(200, [], HALF_AN_ANSWER),
        Canned(200, [], HALF_AN_ANSWER, forward=True),
        Canned(200, [], b" " * 1000),
        Canned(404, [], b"<Error><Code>NoSuchUpload</Code></Error>", forward=True),
    )
    each(stage, 6 * MIB, [broken(stage, answer, "CompleteMultipartUpload") for answer in answers])


@pytest.mark.parametrize("size", [1000, 9 * MIB])
def test_a_key_that_is_taken_by_the_same_request_is_answered_from_what_is_there(stage: Stage, size: int) -> None:
    """E7: two messages of one job at once; the second write finds the first one's archive."""
    sources = stage.photos(size)
    op = "PutObject" if size < MIB else "CompleteMultipartUpload"
    stage.break_(Do(before_it=lambda: until(lambda: len(stage.history.of(op)) == 2, "both writes")), op)
    jobs = [stage.ask(sources, job_id="order-4711") for _ in range(2)]
    stage.worker(MEMORY_BUDGET_MIB="64")
    stage.wait_deleted(*jobs)
    assert sorted(call.status or 0 for call in stage.history.of(op)) == [200, 412]
    (one,), (other,) = (stage.answers(job) for job in jobs)
    assert one["archive"] == other["archive"]
    stage.finish()


def test_a_key_that_is_taken_by_another_request_rejects_the_job(stage: Stage) -> None:
    """E7: the first archive is not touched."""
    one, two = stage.photos(1000, 2000)
    first = stage.ask([one], job_id="order-4711")
    stage.worker()
    stage.wait_deleted(first)
    before = stage.archive(first)
    other = stage.send([{"source": two.key}], None, job_id="order-4711")
    stage.wait_deleted(other)
    assert stage.failure(other)["code"] == "job_conflict"
    assert stage.archive(first) == before
    stage.finish()


def test_of_two_requests_under_one_job_id_at_once_one_is_rejected(stage: Stage) -> None:
    """E7: their archives are equally large, so that only the upload's token tells whose stands there."""
    sources = stage.photos(1000, 1000)
    stage.break_(Do(before_it=lambda: until(lambda: len(stage.history.of("PutObject")) == 2, "both")), "PutObject")
    jobs = [
        stage.send([{"source": source.key, "name": "photo.jpg"}], {"photo.jpg": source}, job_id="order-4711")
        for source in sources
    ]
    stage.worker()
    stage.wait_deleted(*jobs)
    (lost,) = (job for job in jobs if not stage.answers(job))
    assert stage.failure(lost)["code"] == "job_conflict"
    stage.finish()


def test_a_conflict_of_conditional_writes_is_tried_anew(stage: Stage) -> None:
    """E8"""
    conflict = Status(409, "ConditionalRequestConflict")
    each(stage, 6 * MIB, [broken(stage, conflict, "CompleteMultipartUpload")])


@pytest.mark.parametrize("op", ["CreateMultipartUpload", "CompleteMultipartUpload"])
def test_a_destination_that_denies_us_holds_messages_back_and_rejects_none(stage: Stage, op: str) -> None:
    """E10: a bad deploy must not empty the queue into the dead-letter queue."""
    stage.break_(Status(403, "AccessDenied"), op)
    job = stage.ask(stage.photos(6 * MIB))
    worker = stage.worker()
    worker.wait_for("worker.paused")
    until(lambda: not _polling(stage), "the last poll")
    seen = len(stage.history.of("ReceiveMessage"))
    worker.wait_for("worker.resumed")
    assert len(stage.history.of("ReceiveMessage")) <= seen + 1
    stage.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    stage.finish()


def _polling(stage: Stage) -> bool:
    return stage.history.of("ReceiveMessage")[-1].ended is None


def test_an_abort_that_fails_is_tried_again(stage: Stage) -> None:
    """E11: the upload of a job that can't go on is gone in the end."""
    *others, last = stage.photos(*[MIB] * 7)
    abort = stage.break_(Status(500, "InternalError"), "AbortMultipartUpload", times=2)

    def change() -> None:
        stage.wait_call("UploadPart")
        stage.put(last.key, b"changed")

    stage.break_(Do(before_it=change), "GetObject", key=last.key)
    job = stage.changed(stage.ask([*others, last]))
    stage.worker()
    stage.wait_deleted(job)
    assert abort.fired == 2
    stage.finish()


@pytest.mark.stage(visibility=4)
def test_a_slow_destination_slows_the_job_and_keeps_its_lease(stage: Stage) -> None:
    """E12"""
    stage.break_(Bandwidth(2 * MIB, upward=True), "UploadPart", times=None)
    job = stage.ask(stage.photos(*[MIB] * 12))
    worker = stage.worker()
    stage.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    stage.finish()


@contextmanager
def watching(stage: Stage, key: str) -> Iterator[set[bytes | None]]:
    """Look at *key* all the time, from outside; what was seen there, None for nothing."""
    seen: set[bytes | None] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            try:
                seen.add(stage.direct.s3.get_object(Bucket=stage.archives, Key=key)["Body"].read())
            except ClientError:
                seen.add(None)

    watcher = threading.Thread(target=look, name="watcher")
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_whoever_looks_sees_nothing_or_the_whole_archive(stage: Stage) -> None:
    """E14: at every instant."""
    job = stage.ask(stage.photos(*[MIB] * 8))
    with watching(stage, job.key) as seen:
        stage.worker()
        stage.wait_deleted(job)
        until(lambda: len(seen) > 1, "the archive to be seen")
    (whole,) = seen - {None}
    assert whole is not None and len(read_archive(whole)) == 8
    assert None in seen
    stage.finish()
