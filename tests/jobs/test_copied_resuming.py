"""Builds that resume, of which the store copies some parts: no finished part is made again, and none is mixed."""

import asyncio
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from fakes import FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.copies import CopyPlan, limits_of, plan_copies
from archiver.core.layout import MIB, MIN_PART_SIZE
from archiver.core.locations import Location
from archiver.core.plan import Plan
from archiver.errors import CopyRefused
from archiver.jobs import record_keeper
from archiver.jobs.copies import Copies
from jobs.test_resuming import Asleep, Job, lose
from stages.builders import StageEnv, random_bytes, read_zip

SIZES = (22 * MIB, 100_000, 16 * MIB)
FILLED, COPIED = {1, 4, 7}, {2, 3, 5, 6}  # parts of the archive, as the first worker cuts it
SLOW = pytest.mark.slow

cached_bytes = cache(random_bytes)


class Capability:
    async def proved(self) -> bool:
        return True

    def refuted(self) -> bool:
        return False

    def reaches(self, bucket: str) -> bool:
        return bool(bucket)


class SmallCopies(Copies):
    """Copies of at most 10 MiB each: not those that another worker would make."""

    async def plan(self, plan: Plan) -> CopyPlan | None:
        return plan_copies(plan.members, replace(limits_of(10 * MIB, frozenset(), everything=False), copied=10 * MIB))


class CopiedJob(Job):
    """One job of `SIZES`. Its first worker makes `SmallCopies`, the others don't."""

    def __init__(self, *, lists_crcs: bool = True) -> None:
        super().__init__(lists_crcs=lists_crcs, sizes=())
        stage = StageEnv(total=30 * MIB)
        stage.store.min_part_bytes = MIN_PART_SIZE
        self.lists_crcs = lists_crcs
        self.use(stage, SmallCopies(Capability(), 10 * MIB), "auto")
        for number, size in enumerate(SIZES):
            self.env.put(**{f"{number}_bin": cached_bytes(size, number)})
            self.files.append({"source": f"{number}.bin"})

    def use(self, stage: StageEnv, copies: Copies, strategy: Any) -> None:
        rules = replace(RULES, strategy=strategy)
        self.env = PipelineEnv(stage, rules=rules, resume_from=MIB, lists_crcs=self.lists_crcs, copies=lambda: copies)

    def next_worker(self, strategy: Any = "auto") -> None:
        self.use(self.env.stage, Copies(Capability(), 10 * MIB), strategy)
        self.env.stage.reader.reads.clear()
        self.env.stage.reader.gets.clear()

    def parts(self, kind: str) -> set[int]:
        """The parts that were made since the last worker ended, by `part` or `copy`."""
        return {int(event.split()[1]) for event in self.store.events if event.startswith(kind)}

    @property
    def finished(self) -> set[int]:
        (upload,) = self.store.pending.values()
        return {*upload.parts}

    def check_ended(self) -> None:
        assert read_zip(self.archive) == {f"{n}.bin": cached_bytes(size, n) for n, size in enumerate(SIZES)}
        assert (self.store.pending, self.records) == ({}, [])
        assert len(self.env.stage.receipts.keys) == 1


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The archive of a job that nothing happened to."""
    job = CopiedJob()
    asyncio.run(job.run())
    assert (job.parts("part"), job.parts("copy")) == (FILLED, COPIED)
    return job.archive


ENDS = [
    *(pytest.param("copy", nth, after, marks=SLOW) for nth in range(1, 5) for after in (False, True)),
    *(pytest.param("part", nth, after, marks=SLOW) for nth in range(1, 4) for after in (False, True)),
]


@pytest.mark.parametrize("strategy", ["auto", pytest.param("stream", marks=SLOW), pytest.param(None, marks=SLOW)])
@pytest.mark.parametrize(("verb", "nth", "after"), [("copy", 3, True), *ENDS])
async def test_a_worker_killed_at_any_part_is_followed_by_one_that_makes_no_finished_part_again(
    whole: bytes,
    verb: str,
    nth: int,
    after: bool,
    strategy: str | None,
) -> None:
    """Whatever the next worker would copy by its own settings."""
    job = CopiedJob()
    await job.run_until(verb, nth, after=after)
    finished = job.finished

    job.next_worker(strategy)
    await job.run()

    assert "begin" not in job.store.events
    assert finished.isdisjoint(job.parts("part")) and finished.isdisjoint(job.parts("copy"))
    assert job.parts("copy") == COPIED - finished
    assert job.archive == whole
    job.check_ended()


@pytest.mark.parametrize("nth", [3, *(pytest.param(nth, marks=SLOW) for nth in (1, 2))])
@pytest.mark.parametrize("recorded", [True, pytest.param(False, marks=SLOW)])
async def test_what_nobody_tells_the_crc_of_is_copied_again_by_the_store(
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
    recorded: bool,
) -> None:
    """As on SeaweedFS. Nothing of a copied part is read, and what the record tells is not copied again."""
    if recorded:
        monkeypatch.setattr(record_keeper, "WRITE_SECONDS", 0.0)
        monkeypatch.setattr(record_keeper, "MAX_SHARE", 0)
    job = CopiedJob(lists_crcs=False)
    await job.run_until("part", nth)
    finished = job.finished

    job.next_worker()
    await job.run()

    assert "begin" not in job.store.events
    assert job.parts("copy") <= COPIED and (not recorded or not finished & job.parts("copy"))
    read = sum(length for _, _, length in job.env.stage.reader.reads)
    assert read + SIZES[1] <= 2 * MIN_PART_SIZE + 200_000
    assert job.archive == whole
    job.check_ended()


@pytest.mark.parametrize(("verb", "nth"), [("copy", 3), pytest.param("part", 2, marks=SLOW)])
async def test_an_object_that_is_replaced_between_two_workers_is_never_half_old_and_half_new(
    verb: str, nth: int
) -> None:
    """The torn member: some of its parts were copied, and the condition of each copy was true in its time."""
    job = CopiedJob()
    await job.run_until(verb, nth, after=True)
    (old,) = job.store.pending
    other = random_bytes(SIZES[0], 77)
    job.env.put(**{"0_bin": other})

    job.next_worker()
    await job.run()

    assert old not in job.store.pending and job.store.events.count("begin") == 1
    assert read_zip(job.archive)["0.bin"] == other
    assert (job.store.pending, job.records) == ({}, [])


async def test_a_copy_that_is_refused_to_the_worker_that_goes_on_is_made_up_for_by_streaming() -> None:
    """The upload with the copied parts is aborted, and another one begun."""
    job = CopiedJob()
    await job.run_until("copy", 2)
    job.next_worker()
    job.store.faults.plan("copy", CopyRefused("S3 returned 403 AccessDenied", Location("source", "2.bin")), times=0)

    await job.run()

    assert job.parts("copy") == set() and job.store.events.count("begin") == 1
    assert job.env.answer["archive"]["bytes_copied"] == 0
    job.check_ended()


@SLOW
async def test_a_refused_upload_that_can_not_be_aborted_is_not_gone_on_with_again() -> None:
    job = CopiedJob()
    await job.run_until("copy", 2)
    job.next_worker()
    job.store.faults.plan("copy", CopyRefused("S3 returned 501", Location("source", "2.bin")), times=0)
    job.store.faults.plan("abort", CopyRefused("denied", None), times=3)
    job.env.stage.receipts.faults.plan("delete", CopyRefused("denied", None), times=3)

    await job.run()

    assert job.env.answer["archive"]["bytes_copied"] == 0
    assert read_zip(job.archive)["2.bin"] == cached_bytes(SIZES[2], 2)


@SLOW
async def test_two_workers_on_one_upload_make_one_right_archive(whole: bytes) -> None:
    """The first one was suspended, and wakes up without its lease while the second one works."""
    job = CopiedJob()
    first, asleep = FakeHold(), Asleep(job, fallen_at=1)
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
    assert job.archive == whole
    job.check_ended()
