"""Jobs that share a small budget, end in every way: no byte stays charged, none is charged beyond, nobody waits."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable

import pytest
from fakes import FakeHold

from archiver.core.draft import DraftFile
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import Member
from archiver.errors import TransferInterrupted
from archiver.ports import Target
from archiver.stages.budget import BufferPool
from archiver.stages.stored import StoredBuild
from archiver.stages.upload import open_upload
from stages.builders import TARGET, StageEnv, random_bytes, read_zip

PART = 128  # longer than any header of these tests
SEEDS_EACH = 25


class CheckedPool(BufferPool):
    """A pool that never charges more than it has."""

    charged = 0

    @property
    def used(self) -> int:
        return self.charged

    @used.setter
    def used(self, value: int) -> None:
        assert 0 <= value <= self.total
        self.charged = value


class Model:
    """
    Jobs of objects of known and unknown size, whose responses come in any order and get lost, beside others that only
    hold buffers. Some of all are cancelled at any moment.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        total = (3 + self.random.randrange(6)) * PART * self.random.choice([1, 1, 4])
        self.stage = StageEnv(total=total, most=self.random.randrange(1, 6))
        self.stage.budget = CheckedPool(total)
        self.part_size = self.random.choice([PART, PART, total // 3])
        self.stage.reader.at_once = self.random.choice([0, 30, 1000])
        self._lost, self._head = Counter[Location](), self.stage.reader.head
        self.stage.reader.head = self._late_head  # type: ignore[method-assign]

    async def _late_head(self, location: Location) -> ObjectInfo:
        await self._some_turns(12)
        if self._lost[location] < 2 and not self.random.randrange(8):
            self._lost[location] += 1
            raise TransferInterrupted("the connection was lost")
        return await self._head(location)

    async def _some_turns(self, most: int) -> None:
        for _ in range(self.random.randrange(most)):
            await asyncio.sleep(0)

    def _files(self, job: int) -> dict[str, bytes]:
        sizes = [0, self.random.randrange(1, 60), PART - 1, PART, PART + 1, self.random.randrange(500), 20]
        count = self.random.randrange(1, 20)
        return {f"{job}/{number:04}": random_bytes(self.random.choice(sizes), number) for number in range(count)}

    async def _build(self, job: int, files: dict[str, bytes]) -> None:
        asked: list[DraftFile | Member] = [
            DraftFile(path, self.stage.s3.put("source", path, data), path)
            if self.random.random() < 0.8
            else self.stage.member(path, data)
            for path, data in files.items()
        ]
        await self._some_turns(30)
        target = Target(f"job-{job}", "attachment", TARGET.metadata)
        async with open_upload(self.stage.store, target, FakeHold(), None) as upload:
            stage = self.stage
            build = StoredBuild(asked, stage.budget, stage.fetcher, upload, part_size=self.part_size)
            await build.run(stage.progress)

    async def _hold_buffers(self) -> None:
        await self._some_turns(40)
        count, most = self.random.randrange(1, 4), self.stage.budget.total // 3
        async with self.stage.budget.reservation(self.random.randrange(1, most + 1), count) as reservation:
            for _ in range(count):
                await reservation.acquire()
            await self._some_turns(60)

    async def _cancel_some(self, tasks: list[asyncio.Task[None]]) -> None:
        for _ in range(len(tasks) // 2):
            await self._some_turns(100)
            self.random.choice(tasks).cancel()

    async def run(self) -> None:
        """Let all jobs end, and look at what they leave."""
        wanted = [self._files(job) for job in range(self.random.randrange(1, 6))]
        jobs: list[Awaitable[None]] = [self._build(job, files) for job, files in enumerate(wanted)]
        jobs += [self._hold_buffers() for _ in range(self.random.randrange(5))]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        async with asyncio.timeout(5):
            await self._cancel_some(tasks)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for job, (files, result) in enumerate(zip(wanted, results, strict=False)):
            if not isinstance(result, asyncio.CancelledError):
                assert result is None, result
                assert read_zip(self.stage.archive(f"job-{job}")) == files
        assert self.stage.budget.used == 0
        assert self.stage.limiter.running == 0
        assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("first", range(0, 200, SEEDS_EACH))
async def test_jobs_that_are_cancelled_at_any_moment_leave_nothing_to_others(first: int) -> None:
    for seed in range(first, first + SEEDS_EACH):
        try:
            await Model(seed).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
