"""Parts out, undone on any failure; outcomes settled by looking."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from fakes import FakeHold

from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ConfigurationError, LeaseLost, TransientError
from archiver.stages import retry, upload
from archiver.stages.checksums import crc32
from archiver.stages.retry import retry_transient
from archiver.stages.upload import open_upload
from stages.builders import CONTENTS, TARGET, StageEnv

PART = memoryview(b"p" * 100)
AT = Location("archives", TARGET.key)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between tries, and no more of them than have to be."""
    monkeypatch.setattr(retry, "BACKOFF_CAP", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "PART_RETRY_SECONDS", 0.0)


async def send(stage: StageEnv, parts: int = 2) -> None:
    async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
        for number in range(1, parts + 1):
            await upload.upload_part(number, PART, crc32(PART))
        await upload.complete(100 * parts, crc32(b"p" * 100 * parts), CONTENTS)


async def test_parts_that_are_sent_at_once_begin_one_upload() -> None:
    stage = StageEnv()
    async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
        await asyncio.gather(*(upload.upload_part(number, PART, crc32(PART)) for number in range(1, 9)))
        await upload.complete(800, crc32(b"p" * 800), CONTENTS)

    assert stage.store.events.count("begin") == 1
    assert stage.archive() == b"p" * 800


async def test_completing_without_a_part_is_a_defect() -> None:
    async with open_upload(StageEnv().store, TARGET, FakeHold(), None) as upload:
        with pytest.raises(ValueError):
            await upload.complete(0, 0, CONTENTS)


@pytest.mark.parametrize("verb", ["begin", "part", "complete"])
async def test_a_call_that_fails_now_and_then_is_made_again(verb: str) -> None:
    stage = StageEnv()
    stage.store.faults.plan(verb, TransientError("500"), times=2)

    await send(stage)

    assert stage.archive() == b"p" * 200
    assert not stage.store.pending


@pytest.mark.parametrize("verb", ["put", "complete"])
async def test_a_lost_answer_to_the_last_write_is_settled_by_looking(verb: str) -> None:
    """The archive is there with our token: nothing is written again."""
    stage = StageEnv()
    stage.store.faults.plan(verb, TransientError("connection lost"), after=True)

    if verb == "put":
        async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
            stored = await upload.put(PART, crc32(PART), CONTENTS)
        assert stored.size == 100
    else:
        await send(stage)

    assert stage.store.faults.calls[verb] == 1
    assert stage.store.events.count("abort") == 0


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("overwrites", ["*", "its ETag"])
async def test_a_lost_answer_while_an_object_is_replaced_is_settled_as_well(overwrites: str, *, after: bool) -> None:
    """The object that is to be replaced is not taken for another's that came first."""
    stage = StageEnv()
    stage.s3.put("archives", TARGET.key, b"old")
    etag = stage.s3.objects[AT].etag if overwrites != "*" else "*"
    stage.store.faults.plan("put", TransientError("connection lost"), after=after)

    async with open_upload(stage.store, replace(TARGET, overwrites=etag), FakeHold(), None) as upload:
        await upload.put(PART, crc32(PART), CONTENTS)

    assert stage.archive() == bytes(PART)
    assert stage.store.faults.calls["put"] == (1 if after else 2)


@pytest.mark.parametrize(("token", "size"), [("other", 200), ("token", 199)])
async def test_another_archive_at_the_key_is_not_taken_for_ours(token: str, size: int) -> None:
    """Same key, other token or other size: someone else's; ours is undone."""
    stage = StageEnv()
    stage.s3.put("archives", TARGET.key, b"x" * size)
    blob = stage.s3.objects[AT]
    stage.s3.objects[AT] = type(blob)(blob.data, blob.etag, blob.modified, metadata={"archiver-token": token})

    with pytest.raises(ArchiveExists):
        await send(stage)

    assert not stage.store.pending
    assert stage.s3.objects[AT].data == b"x" * size


async def test_an_archive_that_vanished_behind_a_conflict_is_temporary() -> None:
    stage = StageEnv()
    stage.store.faults.plan("complete", ArchiveExists("taken"), times=0)

    with pytest.raises(TransientError, match="HEAD does not find"):
        await send(stage)


async def test_a_write_that_never_works_is_given_up_and_undone() -> None:
    stage = StageEnv()
    stage.store.faults.plan("complete", TransientError("503"), times=0)

    with pytest.raises(TransientError, match="503"):
        await send(stage)

    assert stage.store.faults.calls["complete"] == 6
    assert not stage.store.pending


async def test_nothing_appears_once_the_lease_is_lost() -> None:
    """The check stands right before the write, and before each further try."""
    stage = StageEnv()
    stage.store.faults.plan("put", TransientError("503"), times=0)
    checks = 0

    def confirm() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        async with open_upload(stage.store, TARGET, FakeHold(confirm), None) as upload:
            await upload.put(PART, crc32(PART), CONTENTS)

    assert stage.store.faults.calls["put"] == 2


async def test_an_abort_that_fails_does_not_hide_the_jobs_own_failure() -> None:
    stage = StageEnv()
    stage.store.faults.plan("abort", TransientError("500"), times=0)
    stage.store.faults.plan("part", ConfigurationError("denied"), nth=2)

    with pytest.raises(ConfigurationError):
        await send(stage)

    assert stage.store.faults.calls["abort"] == 3


async def test_an_abort_goes_on_when_its_job_is_cancelled_again() -> None:
    """A shutdown may cancel a job that is undoing already."""
    stage = StageEnv()
    stage.store.faults.plan("abort", delay=0.05)

    async def job() -> None:
        async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
            await upload.upload_part(1, PART, crc32(PART))
            await asyncio.sleep(60)

    task = asyncio.create_task(job())
    while not stage.store.pending:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert not stage.store.pending


@pytest.mark.parametrize("verb", ["begin", "part", "complete", "find"])
async def test_a_store_that_is_away_for_a_while_ends_no_upload(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """It is time that counts, not tries: what fails at once is tried again for a minute, a part for five."""
    for name in ("UPLOAD_RETRY_SECONDS", "PART_RETRY_SECONDS"):
        monkeypatch.setattr(upload, name, 60.0)
    stage = StageEnv()
    stage.store.faults.plan(verb, TransientError("connection refused"), times=50)
    if verb == "find":  # which is asked where a write was not clearly a success
        stage.store.faults.plan("complete", TransientError("connection refused"))

    await send(stage)

    assert stage.store.faults.calls[verb] > 50
    assert stage.archive() == b"p" * 200


async def test_a_last_wait_ends_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one that was drawn in the last moment could be hours long, with these numbers."""
    monkeypatch.setattr(retry, "BACKOFF_BASE", 1e6)
    monkeypatch.setattr(retry, "BACKOFF_CAP", 1e6)
    stage = StageEnv()
    stage.store.faults.plan("find", TransientError("connection refused"), times=0)

    with pytest.raises(TransientError):
        await asyncio.wait_for(retry_transient(lambda: stage.store.find("k"), tries=1, seconds=0.05), 30)

    assert stage.store.faults.calls["find"] >= 2


@pytest.mark.parametrize(("tries", "seconds", "calls"), [(2, 0.0, 2), (5, 0.0, 5), (1, 3.0, 4)])
async def test_patience_ends_when_both_the_tries_and_the_time_are_over(
    monkeypatch: pytest.MonkeyPatch, tries: int, seconds: float, calls: int
) -> None:
    times = itertools.count()
    monkeypatch.setattr(retry, "monotonic", lambda: float(next(times)))  # a second passes with each look
    made = 0

    async def never() -> None:
        nonlocal made
        made += 1
        raise TransientError("no")

    with pytest.raises(TransientError):
        await retry_transient(never, tries=tries, seconds=seconds)

    assert made == calls
