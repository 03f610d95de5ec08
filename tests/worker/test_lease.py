"""The lease: renewed in time, lost before it lapses, and over when the block is left."""

import asyncio
import math
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes import ManualClock
from instant_loop import run_instantly

from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.ports import Message, QueueFacts
from archiver.worker.lease import Lease

VISIBILITY = 1  # second: SQS knows no shorter one


def message(received_at: float | None = None) -> Message:
    at = time.monotonic() if received_at is None else received_at
    return Message("id", "{}", "receipt", at, 1, datetime.now(UTC))


def facts(visibility: int, longest: float = 43_200) -> QueueFacts:
    return QueueFacts("queue", visibility, longest)


class Hides:
    """ChangeMessageVisibility, recorded; *failures* come first, then *delay* seconds a call."""

    def __init__(self, *failures: Exception, delay: float = 0.0) -> None:
        self.calls: list[int] = []
        self.failures = list(failures)
        self.delay = delay
        self.running = 0

    async def __call__(self, _message: Message, seconds: int) -> None:
        self.calls.append(seconds)
        self.running += 1
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.running -= 1
        if self.failures:
            raise self.failures.pop(0)


async def test_a_lease_is_renewed_while_its_block_runs_and_not_after() -> None:
    hides = Hides()
    async with Lease(message(), facts(VISIBILITY), hides) as lease:
        await asyncio.sleep(1.2)
        lease.confirm()
    count = len(hides.calls)
    await asyncio.sleep(0.5)

    assert 2 <= count == len(hides.calls)
    assert set(hides.calls) == {VISIBILITY}


async def test_a_renewed_lease_counts_from_before_the_call_that_renewed_it() -> None:
    """SQS hides the message from the moment at which it took the call, however late its answer comes."""
    clock, renewed = ManualClock(1000.0), asyncio.Event()

    async def hide(_message: Message, _seconds: int) -> None:
        clock.advance(5.0)
        renewed.set()

    async with Lease(message(989.0), facts(30), hide, clock=clock) as lease:
        await renewed.wait()
        await asyncio.sleep(0)

        assert lease.expires_at == 1000.0 + 0.8 * 30


async def test_the_last_renewal_asks_for_what_is_left_and_is_believed_for_no_longer() -> None:
    """Of the twelve hours (a hundred seconds here), less the second that SQS may be ahead of us."""
    clock, asked = ManualClock(1000.0), asyncio.Queue[int]()

    async def hide(_message: Message, seconds: int) -> None:
        asked.put_nowait(seconds)

    async with Lease(message(924.5), facts(30, 100), hide, clock=clock) as lease:
        lease._renewed_at = 985.0  # by the renewals before this one
        assert await asked.get() == 23
        await asyncio.sleep(0)

        assert lease.expires_at == 1000.0 + 0.8 * 23


async def test_a_renewal_that_hangs_outlasts_no_lease() -> None:
    """However much of the visibility one attempt may take when there is time."""
    begun = time.monotonic()

    with pytest.raises(LeaseLost):
        async with Lease(message(begun - 23.9), facts(30), Hides(delay=60)):
            await asyncio.sleep(60)

    assert time.monotonic() - begun < 30 * 0.15


async def test_the_margin_is_what_was_left_when_the_renewals_answer_came() -> None:
    clock, renewed = ManualClock(1000.0), asyncio.Event()

    async def hide(_message: Message, _seconds: int) -> None:
        clock.advance(6.0)
        renewed.set()

    async with Lease(message(989.0), facts(30), hide, clock=clock) as lease:
        await renewed.wait()
        await asyncio.sleep(0)

    assert lease.margin == pytest.approx((989.0 + 24 - 1006.0) / 30)


@pytest.mark.parametrize("error", [TransientError("500"), ConfigurationError("expired")])
async def test_one_failed_renewal_is_tried_again_in_time(error: Exception) -> None:
    hides = Hides(error)
    async with Lease(message(), facts(VISIBILITY), hides) as lease:
        await asyncio.sleep(1.0)
        lease.confirm()

    assert len(hides.calls) >= 3


async def test_a_lease_that_cannot_be_renewed_is_lost_before_its_deadline_and_cancels_the_job() -> None:
    """At 80 % of the visibility, counted from before the receive: nobody else can have the message yet."""
    begun = time.monotonic()
    hides = Hides(*[TransientError("500")] * 1000)
    cancelled_at = 0.0

    with pytest.raises(LeaseLost, match="not renewed"):
        async with Lease(message(begun), facts(VISIBILITY), hides):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled_at = time.monotonic()
                raise

    assert 0.7 < cancelled_at - begun < VISIBILITY
    await asyncio.sleep(0)  # the task itself goes on: it was not cancelled by anyone else


async def test_renewals_that_hang_are_given_up_in_time() -> None:
    begun = time.monotonic()

    with pytest.raises(LeaseLost):
        async with Lease(message(begun), facts(VISIBILITY), Hides(delay=60)):
            await asyncio.sleep(60)

    assert time.monotonic() - begun < VISIBILITY


async def test_a_stale_receipt_loses_the_lease_at_once() -> None:
    hides = Hides(LeaseLost("ReceiptHandleIsInvalid"))

    with pytest.raises(LeaseLost, match="ReceiptHandleIsInvalid"):
        async with Lease(message(), facts(VISIBILITY), hides):
            await asyncio.sleep(60)

    assert len(hides.calls) == 1


async def test_a_frozen_process_finds_its_lease_lost_when_it_wakes_up() -> None:
    """`confirm` looks at the clock, not at what the heartbeat has found out so far."""
    now = 100.0
    async with Lease(message(100.0), facts(30), Hides(), clock=lambda: now) as lease:
        now += 23.9
        lease.confirm()
        now = 124.0

        with pytest.raises(LeaseLost):
            lease.confirm()
        with pytest.raises(LeaseLost):
            lease.confirm()
        lease._lost_reason = None  # the block ends here for the test's sake


async def test_a_renewal_under_way_is_awaited_before_the_block_is_left() -> None:
    """Landing after the message was given back, it would undo the delay."""
    hides = Hides(delay=0.1)
    async with Lease(message(time.monotonic() - 0.4), facts(VISIBILITY), hides):
        while not hides.running:
            await asyncio.sleep(0)

    assert hides.running == 0
    assert hides.calls == [VISIBILITY]


async def test_a_renewal_under_way_is_awaited_when_the_job_is_cancelled_too() -> None:
    hides = Hides(delay=0.1)

    async def job() -> None:
        async with Lease(message(time.monotonic() - 0.4), facts(VISIBILITY), hides):
            await asyncio.sleep(60)

    task = asyncio.create_task(job())
    while not hides.running:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert hides.running == 0


async def test_a_cancellation_that_comes_while_the_heartbeat_ends_is_not_swallowed() -> None:
    hides = Hides(delay=0.1)

    async def job() -> None:
        async with Lease(message(time.monotonic() - 0.4), facts(VISIBILITY), hides):
            while not hides.running:
                await asyncio.sleep(0)

    task = asyncio.create_task(job())
    while not hides.running:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()


async def test_the_jobs_own_error_comes_through() -> None:
    with pytest.raises(KeyError):
        async with Lease(message(), facts(VISIBILITY), Hides()):
            raise KeyError


async def test_no_renewal_goes_beyond_the_twelve_hours() -> None:
    """SQS counts them from the receive; the last renewals ask for what is left, and then the lease is lost."""
    hides, now = Hides(), time.monotonic()
    begun = now - 97.5

    with pytest.raises(LeaseLost, match="100 seconds"):
        async with Lease(message(begun), facts(VISIBILITY, 100), hides) as lease:
            lease._renewed_at = now
            await asyncio.sleep(60)

    assert set(hides.calls) == {1}


async def test_the_time_for_the_work_ends_before_the_time_for_the_message() -> None:
    """So that a rejection can still be sent under the lease."""
    now = 0.0
    async with Lease(message(0.0), facts(30, 1000), Hides(), clock=lambda: now) as lease:
        assert lease.job_time_left == 940


@pytest.mark.parametrize("longest", [3.0, 4.5, 6.0, 9.0, 15.0])
def test_a_source_that_holds_messages_for_seconds_still_has_the_rejection_under_the_lease(longest: float) -> None:
    """RabbitMQ with an acknowledgement timeout of 4 s is the least: renewals are for whole seconds."""
    confirmed = []

    async def outlast() -> None:
        clock = asyncio.get_running_loop().time
        visibility = max(2, int(longest / 3))
        async with Lease(message(0.0), facts(visibility, longest), Hides(delay=0.01), clock=clock) as lease:
            await asyncio.sleep(lease.job_time_left + longest / 15)
            lease.confirm()
            confirmed.append(clock())
            await asyncio.sleep(longest - clock())

    with pytest.raises(LeaseLost, match="holds no message for longer"):
        run_instantly(outlast())
    assert len(confirmed) == 1


async def test_a_queue_that_hides_its_messages_for_hours_leaves_time_for_the_work() -> None:
    """Twice a visibility of six hours is all that SQS allows: nothing could ever be done."""
    now = 0.0
    for visibility in (6 * 3600, 12 * 3600):
        async with Lease(message(0.0), facts(visibility), Hides(), clock=lambda: now) as lease:
            assert lease.job_time_left == 43_200 * 3 / 4


async def test_a_message_that_its_source_knows_to_be_gone_ends_the_job_at_once() -> None:
    """A closed connection: another consumer has the message within milliseconds, long before a renewal."""
    gone = asyncio.Event()
    taken = replace(message(), gone=gone)
    began = time.monotonic()

    with pytest.raises(LeaseLost, match="closed"):
        async with Lease(taken, facts(3600), Hides()):
            asyncio.get_running_loop().call_later(0.01, gone.set)
            await asyncio.sleep(60)

    assert time.monotonic() - began < 5


async def test_a_lost_message_cancels_its_job_once() -> None:
    """A second cancellation would interrupt the clean-up."""
    gone, cancels = asyncio.Event(), 0
    taken = replace(message(time.monotonic() - 0.4), gone=gone)

    async def job() -> None:
        nonlocal cancels
        async with Lease(taken, facts(VISIBILITY), Hides(*[LeaseLost("closed")] * 5, delay=0.02)):
            gone.set()
            for _ in range(2):
                try:
                    await asyncio.sleep(0.3)
                except asyncio.CancelledError:
                    cancels += 1

    with pytest.raises(LeaseLost):
        await job()
    assert cancels == 1


async def test_a_message_that_is_gone_is_never_confirmed() -> None:
    """Asked before the event loop has had a turn: nothing may be written then."""
    gone = asyncio.Event()
    taken = replace(message(), gone=gone)

    with pytest.raises(LeaseLost):
        async with Lease(taken, facts(30), Hides()) as lease:
            lease.confirm()
            gone.set()
            lease.confirm()


async def test_a_source_without_a_limit_holds_messages_for_ever() -> None:
    hides, now = Hides(), time.monotonic()
    async with Lease(message(now - 1e9), facts(VISIBILITY, math.inf), hides) as lease:
        lease._renewed_at = now
        await asyncio.sleep(0.5)
        assert lease.job_time_left == math.inf
    assert set(hides.calls) == {VISIBILITY}
