"""The contract of Hold, on the fake, on the one without a lease, and on a job's own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from fakes import FakeHold

from archiver.errors import LeaseLost
from archiver.jobs.work import Unleased
from archiver.ports import Hold, Message, QueueFacts
from archiver.worker.hold import JobHold
from archiver.worker.lease import Lease
from archiver.worker.slots import Slots


async def extend(_message: Message, _seconds: int) -> None:
    """The source takes every renewal."""


def lease(*, lost: bool = False) -> Lease:
    received_at = time.monotonic() - (100 if lost else 0)
    return Lease(Message("id", "{}", "receipt", received_at, 1, datetime.now(UTC)), QueueFacts("q", 30, 43_200), extend)


@asynccontextmanager
async def job_hold(*, lost: bool = False) -> AsyncIterator[JobHold]:
    slots = Slots(1, lambda _: None)
    claim = slots.claim()
    yield JobHold(lease(lost=lost), claim)
    slots.give_back(claim)
    assert (slots.free, slots.parked, slots.working) == (1, 0, 0)


@pytest.fixture(params=["fake", "unleased", "job"])
async def hold(request: pytest.FixtureRequest) -> AsyncIterator[Hold]:
    if request.param == "job":
        async with job_hold() as held:
            yield held
    else:
        yield FakeHold() if request.param == "fake" else Unleased()


async def test_a_held_message_is_confirmed_any_number_of_times(hold: Hold) -> None:
    hold.confirm()
    hold.confirm()


async def test_parking_may_be_repeated_nested_and_left_by_an_error(hold: Hold) -> None:
    async with hold.parked():
        hold.confirm()
        async with hold.parked():
            await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with hold.parked():
            raise KeyError
    async with hold.parked():
        hold.confirm()


@pytest.mark.parametrize("which", ["fake", "job"])
async def test_a_lost_lease_is_never_confirmed(which: str) -> None:
    def lost() -> None:
        raise LeaseLost("lost")

    async with job_hold(lost=True) as held:
        hold: Hold = held if which == "job" else FakeHold(lost)
        with pytest.raises(LeaseLost):
            hold.confirm()
        async with hold.parked():
            with pytest.raises(LeaseLost):
                hold.confirm()


async def test_a_parked_job_that_ends_waits_for_no_slot() -> None:
    slots = Slots(1, lambda _: None)
    claim = slots.claim()
    hold = JobHold(lease(), claim)
    async with hold.parked():
        other = slots.claim()
        assert other.has_slot
        hold.end()
    assert not claim.has_slot
    slots.give_back(claim)
    slots.give_back(other)
    assert slots.free == 1
