"""The memory budget: nothing beyond it, and nobody waits for ever."""

import asyncio
import mmap
import weakref
from types import SimpleNamespace

import pytest

from archiver.stages.budget import MAX_IDLE_MAPPINGS, MIN_MAPPING_BYTES, BufferPool, mapping_size

MIB = 1024 * 1024
UNIT = 5 * MIB  # only mapped: no page of it is touched


async def test_a_share_beyond_the_total_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        async with BufferPool(100 * UNIT).reservation(51 * UNIT, 2):
            pass


async def test_reservations_are_whole_and_in_order_of_asking() -> None:
    """A small late one does not overtake a large early one: it would never have its turn."""
    budget, order = BufferPool(100 * UNIT), list[str]()

    async def job(name: str, size: int, count: int) -> None:
        async with budget.reservation(size, count):
            order.append(name)
            await asyncio.sleep(0)

    async with budget.reservation(30 * UNIT, 2):
        jobs = [asyncio.create_task(job("large", 30 * UNIT, 3)), asyncio.create_task(job("small", UNIT, 1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*jobs)

    assert order == ["large", "small"]
    assert budget.used == 0


async def test_extra_buffers_are_taken_only_while_nobody_waits_for_a_reservation() -> None:
    budget = BufferPool(100 * UNIT)
    async with budget.reservation(10 * UNIT, 2) as reservation:
        held = [await reservation.acquire() for _ in range(4)]
        assert budget.used == 40 * UNIT
        waiting = asyncio.create_task(budget.reservation(70 * UNIT, 1).__aenter__())
        await asyncio.sleep(0)
        fifth = asyncio.create_task(reservation.acquire())
        await asyncio.sleep(0)
        assert not fifth.done()
        reservation.release(held.pop())
        await asyncio.sleep(0)
        assert waiting.done(), "the buffer that came back lets the other job begin"
        reservation.release(held.pop())
        reservation.release(held.pop())
        assert len(await fifth) == 10 * UNIT


async def test_a_cancelled_reservation_leaves_its_place_to_the_next() -> None:
    budget = BufferPool(100 * UNIT)
    async with budget.reservation(60 * UNIT, 1):
        first = asyncio.create_task(budget.reservation(90 * UNIT, 1).__aenter__())
        await asyncio.sleep(0)
        second = asyncio.create_task(budget.reservation(40 * UNIT, 1).__aenter__())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(0)

        assert second.done()


async def test_a_reservation_cancelled_in_the_moment_it_is_granted_is_given_back() -> None:
    budget = BufferPool(100 * UNIT)
    async with budget.reservation(100 * UNIT, 1):
        waiting = asyncio.create_task(budget.reservation(100 * UNIT, 1).__aenter__())
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert budget.used == 0


async def test_memory_is_used_again_and_idle_memory_counts() -> None:
    """What is kept for the next user never adds to what is in use beyond the total."""
    budget = BufferPool(100 * UNIT)
    async with budget.reservation(50 * UNIT, 2) as reservation:
        first, second = await reservation.acquire(), await reservation.acquire()
        memory = {id(first.obj), id(second.obj)}
        reservation.release(first)
        reservation.release(second)
    async with budget.reservation(50 * UNIT, 1) as reservation:
        assert id((await reservation.acquire()).obj) in memory
    async with budget.reservation(70 * UNIT, 1) as reservation:
        await reservation.acquire()
        assert sum(len(idle) for idle in budget._idle) <= 30 * UNIT


async def test_what_a_job_still_holds_at_its_end_comes_back() -> None:
    budget = BufferPool(100 * UNIT)
    async with budget.reservation(10 * UNIT, 1) as reservation:
        for _ in range(3):
            await reservation.acquire()

    assert budget.used == 0


class Held:
    """What a job holds while it waits."""

    def __init__(self, budget: BufferPool, charged: int) -> None:
        assert budget.try_acquire_extra(charged)
        self.charged = charged

    def revoke(self, size: int) -> int:
        taken = min(size, self.charged)
        self.charged -= taken
        return taken


@pytest.mark.parametrize(
    ("needed", "left"), [(60, [10, 15]), (61, [10, 14]), (75, [10, 0]), (76, [9, 0]), (85, [0, 0]), (86, [10, 15])]
)
async def test_what_waiting_jobs_hold_is_taken_as_far_as_that_lets_the_first_one_begin(
    needed: int, left: list[int]
) -> None:
    """The last one loses it first. If it would not be enough, nobody loses anything."""
    budget = BufferPool(100 * UNIT)
    first, second = Held(budget, 10 * UNIT), Held(budget, 15 * UNIT)
    jobs = []
    async with budget.reservation(15 * UNIT, 1):
        async with budget.reservation(60 * UNIT, 1):
            for size, held in ((needed, first), (100, second)):
                jobs.append(asyncio.create_task(budget.reservation(size * UNIT, 1, held).__aenter__()))
                await asyncio.sleep(0)
            assert (first.charged, second.charged) == (10 * UNIT, 15 * UNIT)
        assert [first.charged, second.charged] == [size * UNIT for size in left]
        await asyncio.sleep(0)
        assert jobs[0].done() is (needed <= 85)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


async def test_a_job_that_waits_alone_has_what_it_holds_itself() -> None:
    budget = BufferPool(100 * UNIT)
    held = Held(budget, 10 * UNIT)
    async with asyncio.timeout(1), budget.reservation(100 * UNIT, 1, held):
        assert held.charged == 0
    assert budget.used == 0


@pytest.mark.parametrize("holder_first", [True, False])
async def test_jobs_that_are_cancelled_together_give_back_without_an_error(holder_first: bool) -> None:
    """One holds its share, the other waits for one: whichever is told first."""
    budget = BufferPool(100 * UNIT)

    async def job() -> None:
        async with budget.reservation(100 * UNIT, 1):
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(job()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks if holder_first else reversed(tasks):
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert budget.used == 0
    async with budget.reservation(100 * UNIT, 1):
        pass


class Mappings:
    """The maps that exist. The kernel's list does not tell: it merges neighbours."""

    def __init__(self) -> None:
        self._alive = weakref.WeakSet[mmap.mmap]()

    def make(self, *arguments: int) -> mmap.mmap:
        made = mmap.mmap(*arguments)
        self._alive.add(made)
        return made

    @property
    def sizes(self) -> list[int]:
        """The length of each."""
        return [len(one) for one in self._alive]


@pytest.fixture
def mappings(monkeypatch: pytest.MonkeyPatch) -> Mappings:
    """Watches those that the budget makes."""
    found = Mappings()
    flags = {"MAP_PRIVATE": mmap.MAP_PRIVATE, "MAP_ANONYMOUS": mmap.MAP_ANONYMOUS}
    monkeypatch.setattr("archiver.stages.budget.mmap", SimpleNamespace(mmap=found.make, **flags))
    return found


def test_sizes_are_few_and_never_too_small() -> None:
    sizes = {mapping_size(size) for size in range(1, 64 * MIB, 997)}

    assert sizes == {MIN_MAPPING_BYTES << shift for shift in range(7)} | {count * MIB for count in range(5, 65)}
    assert all(
        mapping_size(size) >= size
        for size in (1, MIN_MAPPING_BYTES, MIN_MAPPING_BYTES + 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 5 << 30)
    )


@pytest.mark.parametrize("total", [15 * MIB, 20 * MIB, 64 * MIB])
def test_three_buffers_of_any_part_fit(total: int) -> None:
    budget = BufferPool(total)

    for size in range(1, total // 3 + 1, 4099):
        assert size <= budget.charged_size(size) <= total // 3


async def test_archives_of_a_thousand_lengths_leave_few_mappings_within_the_total(mappings: Mappings) -> None:
    """Each used to leave one of its own, until the kernel gave no more. So it is enough to look now and then."""
    budget = BufferPool(64 * MIB)
    for number in range(1000):
        async with budget.reservation(1 + number * 4999, 1) as reservation:
            await reservation.acquire()
        if number % 20 != 19:
            continue
        assert 0 < len(mappings.sizes) <= MAX_IDLE_MAPPINGS
        assert sum(mappings.sizes) <= budget.total


async def test_many_jobs_at_once_map_no_more_than_the_total_and_fill_it_with_few_mappings(
    mappings: Mappings,
) -> None:
    budget = BufferPool(16 * MIB)

    async def job(size: int) -> None:
        async with budget.reservation(size, 2) as reservation:
            held = [await reservation.acquire() for _ in range(2)]
            await asyncio.sleep(0)
            assert sum(mappings.sizes) <= budget.total
            assert len(mappings.sizes) <= budget.total // MIN_MAPPING_BYTES + MAX_IDLE_MAPPINGS
            for view in held:
                reservation.release(view)

    for size in (100, 70_000, 300_000, 100, 2 * MIB):
        await asyncio.gather(*(job(size + number) for number in range(150)))

    assert budget.used == 0
    assert len(budget._idle) <= MAX_IDLE_MAPPINGS


async def test_a_buffer_has_the_length_that_was_asked_for_whatever_is_mapped() -> None:
    budget = BufferPool(15 * MIB)
    async with budget.reservation(100_001, 2) as reservation:
        view = await reservation.acquire()

        assert len(view) == 100_001
        assert budget.used == 2 * mapping_size(100_001)
