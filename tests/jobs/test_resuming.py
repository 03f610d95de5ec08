"""Builds that resume, on fakes: a worker ends anywhere, and the next one goes on where it stopped."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from fakes import FakeHold, Faults
from structlog.testing import capture_logs
from worker.pipeline_env import PipelineEnv

from archiver.core import layout
from archiver.core.build_record import encode_record
from archiver.core.dialects import native
from archiver.core.draft import Draft, draft_archive
from archiver.core.kept import Checksums
from archiver.core.layout import Layout
from archiver.core.locations import Location
from archiver.core.receipt import is_record
from archiver.errors import ConfigurationError, LeaseLost, Rejected, RequestRefused, TransientError
from archiver.jobs import record_keeper
from archiver.jobs.records import Records
from archiver.ports import Message
from stages.builders import StageEnv, random_bytes, read_zip

MIB = 1024 * 1024
SIZES = (300_000, 10, 2_500_000, 0, 400_000, 700_000, 3_300_000, 5_000, 900_000)
PARTS = 8


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MIN_PART_SIZE", 1)


cached_bytes = cache(random_bytes)


class Ends(Faults):
    """Ends the worker at the *nth* call of a *verb*, before or *after* it, and keeps what is in the store then."""

    def __init__(self, env: "Job", verb: str, nth: int, *, after: bool) -> None:
        super().__init__()
        self.env, self.verb, self.nth, self.after = env, verb, nth, after

    @asynccontextmanager
    async def __call__(self, verb: str) -> AsyncIterator[None]:
        hit = verb == self.verb and self.calls[verb] + 1 == self.nth
        if hit and not self.after:
            await self._end()
        async with super().__call__(verb):
            yield
        if hit and self.after:
            await self._end()

    async def _end(self) -> None:
        self.env.remember()
        self.env.ended.set()
        await asyncio.Event().wait()


class Job:
    """One job of `SIZES`, whose workers share one S3 in memory."""

    def __init__(
        self, *, lists_crcs: bool = True, sizes: tuple[int, ...] = SIZES, resume_from: int = MIB, total: int = 3 * MIB
    ) -> None:
        self.env = PipelineEnv(StageEnv(total=total), resume_from=resume_from, lists_crcs=lists_crcs)
        self.files = []
        for number, size in enumerate(sizes):
            self.env.put(**{f"{number}_bin": cached_bytes(size, number)})
            self.files.append({"source": f"{number}.bin"})
        self.message: Message | None = None
        self.memory: Any = None
        self.ended = asyncio.Event()

    @property
    def store(self) -> Any:
        return self.env.stage.store

    def remember(self) -> None:
        """Note what is in the store, of the worker that ends now."""
        self.memory = dict(self.env.stage.s3.objects), copy.deepcopy(self.store.pending)

    def restore(self) -> None:
        """Undo whatever happened since: a killed worker does nothing any more."""
        self.env.stage.s3.objects, self.store.pending = self.memory

    @property
    def records(self) -> list[str]:
        return [at.key for at in self.env.stage.s3.objects if is_record(at.key)]

    async def run(self, hold: FakeHold | None = None, **request: Any) -> None:
        if self.message is None:
            self.message = await self.env.message(files=self.files, job_id="j", **request)
        else:
            self.message = replace(self.message, receive_count=self.message.receive_count + 1)
        await self.env.pipeline.run(self.message, hold or FakeHold())

    async def run_until(self, verb: str, nth: int, *, after: bool = False, kill: bool = True) -> None:
        """Run until the *nth* call of *verb* of the store, which ends the worker."""
        self.store.faults = Ends(self, verb, nth, after=after)
        self.ended.clear()
        running = asyncio.create_task(self.run())
        async with asyncio.timeout(20):
            await self.ended.wait()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        self.store.faults = Faults()
        if kill:
            self.restore()
        self.store.events.clear()

    @property
    def sent(self) -> list[int]:
        """The parts that were sent since the last worker ended."""
        return [int(event[5:]) for event in self.store.events if event.startswith("part ")]

    @property
    def archive(self) -> bytes:
        return self.env.stage.s3.objects[self.env.at].data


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The archive of a job that nothing happened to."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layout, "MIN_PART_SIZE", 1)
        job = Job()
        asyncio.run(job.run())
    assert len(job.sent) == PARTS
    return job.archive


def check_ended(job: Job, whole: bytes) -> None:
    assert job.archive == whole
    assert (job.store.pending, job.records) == ({}, [])
    assert len(job.env.stage.receipts.keys) == 1


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("nth", range(1, PARTS + 1))
async def test_a_worker_killed_at_any_part_is_followed_by_one_that_sends_no_finished_part_again(
    whole: bytes, nth: int, *, after: bool
) -> None:
    job = Job()
    await job.run_until("part", nth, after=after)
    (upload,) = job.store.pending.values()
    finished = set(upload.parts)

    await job.run()

    assert "begin" not in job.store.events
    assert finished.isdisjoint(job.sent) and finished | {*job.sent} == set(range(1, PARTS + 1))
    check_ended(job, whole)


@pytest.fixture
def _recorded_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is written before every part."""
    monkeypatch.setattr(record_keeper, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(record_keeper, "MAX_SHARE", 0)


@pytest.mark.usefixtures("_recorded_often")
@pytest.mark.parametrize("nth", [2, 4, 7, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 5, 6, PARTS))])
async def test_a_store_that_lists_no_crcs_is_gone_on_with_by_what_the_record_tells(whole: bytes, nth: int) -> None:
    job = Job(lists_crcs=False)
    await job.run_until("part", nth)
    (upload,) = job.store.pending.values()
    finished = set(upload.parts)

    await job.run()

    assert "begin" not in job.store.events
    # of parts that end members whose CRC-32 was not known, nothing tells the CRC-32 of these members
    assert len(finished & {*job.sent}) <= 1
    check_ended(job, whole)


@pytest.mark.parametrize("nth", [2, PARTS])
async def test_what_nobody_tells_the_crc_of_is_sent_again_to_the_same_upload(whole: bytes, nth: int) -> None:
    job = Job(lists_crcs=False)
    await job.run_until("part", nth)

    await job.run()

    assert "begin" not in job.store.events and len(job.sent) >= PARTS - 3
    check_ended(job, whole)


async def test_a_worker_killed_again_and_again_ends_at_last(whole: bytes) -> None:
    job = Job()
    for _ in range(PARTS - 1):
        await job.run_until("part", 2)

    await job.run()

    assert job.store.faults.calls["begin"] == 0
    check_ended(job, whole)


@pytest.mark.usefixtures("_recorded_often")
async def test_what_is_kept_is_not_read_again(whole: bytes) -> None:
    job = Job()
    await job.run_until("complete", 1)
    reader = job.env.stage.reader
    reader.reads.clear()
    reader.gets.clear()

    await job.run()

    assert job.sent == []
    read = sum(length for _, _, length in reader.reads) + sum(SIZES[int(at.key[0])] for at in reader.gets)
    assert read <= 2 * MIB < sum(SIZES) / 3  # of the last part, which has the directory, and of what touches it
    check_ended(job, whole)


async def test_a_worker_that_is_stopped_leaves_its_upload_with_a_record_of_all_parts(whole: bytes) -> None:
    job = Job(lists_crcs=False)
    await job.run_until("part", 6, kill=False)
    assert len(job.records) == len(job.store.pending) == 1 and not job.env.stage.receipts.keys
    finished = {*next(iter(job.store.pending.values())).parts}

    await job.run()

    assert len(finished & {*job.sent}) <= 1
    check_ended(job, whole)


async def test_a_store_that_fails_for_a_while_costs_no_part(whole: bytes) -> None:
    job = Job()
    job.store.faults.plan("part", TransientError("503"), nth=4, times=0)
    with pytest.raises(TransientError):
        await job.run()
    job.store.faults = Faults()
    finished = {*next(iter(job.store.pending.values())).parts}
    job.store.events.clear()

    await job.run()

    assert finished and finished.isdisjoint(job.sent)
    check_ended(job, whole)


async def test_an_object_that_is_replaced_between_two_workers_is_never_half_old_and_half_new() -> None:
    """The torn member: each ETag is true in its time, and each CRC-32 is that of the bytes."""
    job = Job(sizes=(6 * MIB,))
    await job.run_until("part", 4)
    (old,) = job.store.pending
    other = random_bytes(6 * MIB, 77)
    job.env.put(**{"0_bin": other})

    await job.run()

    assert old not in job.store.pending and job.store.events.count("begin") == 1
    assert job.store.events.index("abort") < job.store.events.index("begin")
    assert read_zip(job.archive) == {"0.bin": other}
    assert (job.store.pending, job.records) == ({}, [])


async def test_two_workers_on_one_upload_make_one_right_archive(whole: bytes) -> None:
    """The first one was suspended, and wakes up without its lease while the second one works."""
    job = Job()
    first, asleep = FakeHold(), Asleep(job)
    job.store.faults = asleep
    running = asyncio.create_task(job.run(first))
    await asleep.fallen.wait()

    second = asyncio.create_task(job.run())
    await asleep.half.wait()
    first.confirm = lose
    asleep.wakes.set()
    running.cancel()
    await asyncio.wait([running])
    assert len(job.store.pending) == len(job.records) == 1, "it is the second one's now"
    asleep.goes_on.set()
    await second

    assert job.store.events.count("abort") == 0 and job.store.events.count("begin") == 1
    check_ended(job, whole)


def lose() -> None:
    raise LeaseLost("suspended")


class Asleep(Faults):
    """The part *fallen_at* of the first worker hangs, after it was stored; so does one of the second worker."""

    def __init__(self, job: Job, fallen_at: int = 3) -> None:
        super().__init__()
        self.fallen_at = fallen_at
        self.job = job
        self.fallen, self.half, self.wakes, self.goes_on = (asyncio.Event() for _ in range(4))

    @asynccontextmanager
    async def __call__(self, verb: str) -> AsyncIterator[None]:
        async with super().__call__(verb):
            yield
        if (
            verb == "part"
            and self.calls["part"] >= self.fallen_at
            and not self.wakes.is_set()
            and not self.fallen.is_set()
        ):
            self.fallen.set()
            await self.wakes.wait()
        elif verb == "part" and self.fallen.is_set() and not self.half.is_set():
            self.half.set()
            await self.goes_on.wait()


async def test_an_upload_that_a_lifecycle_rule_aborted_is_begun_anew(whole: bytes) -> None:
    job = Job()
    await job.run_until("part", 5)
    job.store.pending.clear()

    await job.run()

    assert job.store.events.count("begin") == 1 and len(job.sent) == PARTS
    check_ended(job, whole)


@pytest.mark.parametrize("body", [b"", b"no record", b"\x1f\x8b"])
async def test_a_record_that_can_not_be_read_is_no_record(whole: bytes, body: bytes) -> None:
    job = Job()
    await job.run_until("part", 5)
    job.env.stage.s3.put("archives", job.records[0], body)

    await job.run()

    assert job.store.events.count("begin") == 1
    check_ended(job, whole)


async def test_a_record_that_lies_costs_an_attempt_and_no_wrong_archive(whole: bytes) -> None:
    job = Job()
    await job.run_until("part", PARTS, after=True)
    (key,) = job.records
    record = await Records(job.env.bucket).read(key, len(SIZES))
    assert record is not None
    plan = await job.env.work().plan(await draft_of(job))
    false = replace(record, crcs=dict.fromkeys(range(len(SIZES)), 1), parts={})
    body = encode_record(false, Layout(plan.members, record.part_size), Checksums())
    job.env.stage.s3.put("archives", key, body)

    with pytest.raises((TransientError, Rejected)):
        await job.run()
    assert (job.records, job.store.pending) == ([], {})
    await job.run()

    check_ended(job, whole)


async def draft_of(job: Job) -> Draft:
    request = native.parse_request(json.dumps({"files": job.files}))
    return draft_archive(request, job.env.rules, datetime.now(UTC))


async def test_what_the_store_refused_to_complete_is_not_gone_on_with(whole: bytes) -> None:
    job = Job()
    job.store.faults.plan("complete", RequestRefused("BadDigest"), times=0)
    with pytest.raises(TransientError):
        await job.run()
    assert (job.records, job.store.pending, job.env.stage.receipts.keys) == ([], {}, [])

    job.store.faults = Faults()
    await job.run()
    check_ended(job, whole)


async def test_a_build_whose_record_can_not_be_written_is_aborted_as_before(whole: bytes) -> None:
    job = Job()
    job.env.stage.receipts.faults.plan("receipt", ConfigurationError("denied"), times=0)
    await job.run_until("part", 4, kill=False)
    assert job.store.pending == {}

    job.env.stage.receipts.faults = Faults()
    await job.run()
    check_ended(job, whole)


@pytest.mark.parametrize("verb", ["list", "resume"])
async def test_a_store_that_can_not_tell_what_is_there_begins_anew(whole: bytes, verb: str) -> None:
    job = Job()
    await job.run_until("part", 4)
    if verb == "list":
        job.env.stage.receipts.faults.plan("list", ConfigurationError("denied"))
    else:
        job.env.uploads.faults.plan("resume", ConfigurationError("501"), times=0)

    await job.run()

    assert job.store.events.count("begin") == 1
    check_ended(job, whole)


async def test_smaller_parts_than_the_record_has_begin_anew() -> None:
    """The next worker has less memory."""
    job = Job(total=6 * MIB)
    await job.run_until("part", 2)
    job.env.stage.total = job.env.stage.budget.total = 3 * MIB
    job.env.pipeline = job.env.make()

    await job.run()

    assert job.store.events.count("begin") == 1
    assert sorted(read_zip(job.archive)) == [f"{number}.bin" for number in range(len(SIZES))]


async def test_a_small_archive_leaves_nothing() -> None:
    job = Job(resume_from=sum(SIZES) + 1)
    await job.run_until("part", 4, kill=False)
    assert (job.store.pending, job.records) == ({}, [])
    assert job.env.stage.receipts.events == []


async def test_a_compressed_archive_leaves_nothing() -> None:
    job = Job()
    job.store.faults = Ends(job, "part", 1, after=False)
    running = asyncio.create_task(job.run(compression="deflate"))
    await job.ended.wait()
    running.cancel()
    await asyncio.wait([running])
    assert (job.store.pending, job.records) == ({}, [])


async def test_a_large_archive_is_planned_before_much_of_it_was_read() -> None:
    """Only what is planned can be gone on with; the sizes of the first objects tell how much there is."""
    job = Job(sizes=(200_000,) * 40, resume_from=5 * MIB)
    await job.run()
    reader = job.env.stage.reader
    assert len(reader.heads) >= 40 and len(job.store.events) > 2
    assert job.store.events.count("begin") == 1
    assert len(reader.gets) < 60


async def test_a_message_that_comes_again_is_planned_at_once(whole: bytes) -> None:
    job = Job()
    await job.run_until("part", 4)
    with capture_logs() as logged:
        await job.run()
    assert [one["event"] for one in logged] == ["build.resumed"]
    check_ended(job, whole)


async def test_a_rejected_message_leaves_no_build() -> None:
    job = Job()
    await job.run_until("part", 4)
    missing = Location("source", "8.bin")
    del job.env.stage.s3.objects[missing]

    with pytest.raises(Rejected) as rejected:
        await job.run()
    assert job.message is not None
    await job.env.pipeline.send_failure(job.message, rejected.value, FakeHold())

    assert (job.store.pending, job.records) == ({}, [])


async def test_a_rejected_message_spares_the_build_that_another_one_of_its_job_goes_on_with() -> None:
    job = Job()
    await job.run_until("part", 4)
    assert job.message is not None
    for upload in job.store.pending.values():  # begun before any lease, and worked on since
        upload.created_at = datetime(2001, 1, 1, tzinfo=UTC)
    other = replace(job.message, id="another")

    await job.env.pipeline.send_failure(other, Rejected("source_changed", "x"), FakeHold())

    assert len(job.store.pending) == len(job.records) == 1


@pytest.mark.slow
async def test_a_build_of_nearly_ten_thousand_parts_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most that an upload has. Members of many parts, and of less than one."""
    monkeypatch.setattr(layout, "MIB", 1)
    sizes = (900_000, 10, 150, 1_000_000, *(99,) * 300)
    job = Job(sizes=sizes, total=600, resume_from=1)
    await job.run_until("part", 9_700)
    (upload,) = job.store.pending.values()
    finished = {*upload.parts}
    assert len(finished) > 9_000

    await job.run()

    assert "begin" not in job.store.events and finished.isdisjoint(job.sent)
    assert len(finished) + len(job.sent) > 9_700
    assert read_zip(job.archive) == {f"{n}.bin": cached_bytes(size, n) for n, size in enumerate(sizes)}
    assert (job.store.pending, job.records) == ({}, [])
