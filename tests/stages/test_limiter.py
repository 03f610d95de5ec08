"""How many reads run at once."""

import asyncio

from fakes import ManualClock

from archiver.stages.limiter import AdaptiveLimiter


async def test_the_limit_halves_once_for_a_burst_and_comes_back_step_by_step() -> None:
    clock = ManualClock()
    limiter = AdaptiveLimiter(16, decrease_interval=1.0, clock=clock)
    for _ in range(10):
        limiter.throttled()
    assert limiter.limit == 8
    clock.advance(1.0)
    limiter.throttled()
    assert limiter.limit == 4

    for _ in range(4):
        limiter.succeeded()
    assert 4.5 < limiter.limit < 5.5
    for _ in range(500):
        limiter.succeeded()
    assert limiter.limit == 16


async def test_no_more_than_the_limit_hold_it_and_waiters_come_in_order() -> None:
    limiter, order, running, most = AdaptiveLimiter(2), list[int](), 0, 0

    async def hold(number: int) -> None:
        nonlocal running, most
        async with limiter:
            order.append(number)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(hold(number) for number in range(7)))

    assert order == list(range(7))
    assert most == 2
    assert limiter.running == 0


async def test_a_waiter_that_is_cancelled_leaves_no_gap() -> None:
    """Also in the very moment that it is let in."""
    limiter = AdaptiveLimiter(1)
    async with limiter:
        gone, granted = asyncio.create_task(limiter.__aenter__()), asyncio.create_task(limiter.__aenter__())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    granted.cancel()
    await asyncio.gather(granted, return_exceptions=True)

    assert limiter.running == 0
    async with limiter:
        pass


async def test_holders_and_waiters_that_are_cancelled_together_leave_no_gap_and_no_error() -> None:
    """A whole job is cancelled in one pass, readers that hold the limit before those that wait for it."""
    limiter = AdaptiveLimiter(2)

    async def hold() -> None:
        async with limiter:
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(hold()) for _ in range(8)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert limiter.running == 0
    async with limiter:
        pass
