"""Orders one after the other; what tests/contract says of every source is not repeated here."""

import asyncio

import pytest
from fakes import ManualClock

from archiver.doors.order_source import Order, OrderSource
from archiver.errors import LeaseLost
from archiver.ports import Message


def of(*bodies: str, clock: ManualClock | None = None) -> tuple[OrderSource, asyncio.Event]:
    """A source of orders, and what is set at its end."""
    end = asyncio.Event()
    orders = [Order(f"id-{body}", body) for body in bodies]
    return OrderSource(orders, on_end=end.set, clock=clock or ManualClock()), end


async def next_order(source: OrderSource) -> Message:
    (message,) = await source.receive(10)
    return message


async def test_the_next_order_comes_when_the_last_one_has_ended() -> None:
    source, end = of("a", "b")
    first = await next_order(source)
    receiving = asyncio.create_task(source.receive(10))
    await asyncio.sleep(0)
    assert not receiving.done()

    await source.delete(first)

    (second,) = await receiving
    assert (first.body, second.body) == ("a", "b")
    assert (source.unfinished, end.is_set()) == (1, False)
    await source.delete(second)
    assert (source.unfinished, end.is_set()) == (0, True)


async def test_an_order_that_is_tried_again_comes_after_the_others_with_its_count() -> None:
    clock = ManualClock()
    source, end = of("a", "b", clock=clock)
    await source.release(await next_order(source), 5)
    await source.delete(await next_order(source))
    clock.advance(6)

    again = await next_order(source)

    assert (again.body, again.receive_count, end.is_set()) == ("a", 2, False)


async def test_an_order_whose_lease_was_lost_is_not_lost() -> None:
    """A process that was suspended for a minute."""
    clock = ManualClock()
    source, _ = of("a", clock=clock)
    first = await next_order(source)
    clock.advance(61)

    with pytest.raises(LeaseLost):
        await source.delete(first)
    assert (await next_order(source)).body == "a"
