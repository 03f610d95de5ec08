"""The memory budget: nothing beyond it, and nobody waits for ever."""

import asyncio

import pytest

from archiver.stages.budget import Budget


async def test_a_share_beyond_the_total_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        async with Budget(100).share(51, 2):
            pass


async def test_reservations_are_whole_and_in_order_of_asking() -> None:
    """A small late one does not overtake a large early one: it would never have its turn."""
    budget, order = Budget(100), list[str]()

    async def job(name: str, size: int, count: int) -> None:
        async with budget.share(size, count):
            order.append(name)
            await asyncio.sleep(0)

    async with budget.share(30, 2):
        jobs = [asyncio.create_task(job("large", 30, 3)), asyncio.create_task(job("small", 1, 1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*jobs)

    assert order == ["large", "small"]
    assert budget.used == 0


async def test_extra_buffers_are_taken_only_while_nobody_waits_for_a_reservation() -> None:
    budget = Budget(100)
    async with budget.share(10, 2) as share:
        held = [await share.take() for _ in range(4)]
        assert budget.used == 40
        waiting = asyncio.create_task(budget.share(70, 1).__aenter__())
        await asyncio.sleep(0)
        fifth = asyncio.create_task(share.take())
        await asyncio.sleep(0)
        assert not fifth.done()
        share.give(held.pop())
        await asyncio.sleep(0)
        assert waiting.done(), "the buffer that came back lets the other job begin"
        share.give(held.pop())
        share.give(held.pop())
        assert len(await fifth) == 10


async def test_a_cancelled_reservation_leaves_its_place_to_the_next() -> None:
    budget = Budget(100)
    async with budget.share(60, 1):
        first = asyncio.create_task(budget.share(90, 1).__aenter__())
        await asyncio.sleep(0)
        second = asyncio.create_task(budget.share(40, 1).__aenter__())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(0)

        assert second.done()


async def test_a_reservation_cancelled_in_the_moment_it_is_granted_is_given_back() -> None:
    budget = Budget(100)
    async with budget.share(100, 1):
        waiting = asyncio.create_task(budget.share(100, 1).__aenter__())
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert budget.used == 0


async def test_memory_is_used_again_and_idle_memory_counts() -> None:
    """What is kept for the next user never adds to what is in use beyond the total."""
    budget = Budget(100)
    async with budget.share(50, 2) as share:
        first, second = await share.take(), await share.take()
        memory = {id(first.obj), id(second.obj)}
        share.give(first)
        share.give(second)
    async with budget.share(50, 1) as share:
        assert id((await share.take()).obj) in memory
    async with budget.share(70, 1) as share:
        await share.take()
        assert sum(len(idle) for idle in budget._idle) <= 30


async def test_what_a_job_still_holds_at_its_end_comes_back() -> None:
    budget = Budget(100)
    async with budget.share(10, 1) as share:
        for _ in range(3):
            await share.take()

    assert budget.used == 0


@pytest.mark.parametrize("holder_first", [True, False])
async def test_jobs_that_are_cancelled_together_give_back_without_an_error(holder_first: bool) -> None:
    """One holds its share, the other waits for one: whichever is told first."""
    budget = Budget(100)

    async def job() -> None:
        async with budget.share(100, 1):
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(job()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks if holder_first else reversed(tasks):
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert budget.used == 0
    async with budget.share(100, 1):
        pass
