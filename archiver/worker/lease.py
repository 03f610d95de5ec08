"""
The lease: a message stays ours while we keep it invisible, and the job ends before that can lapse.

All times are fractions of the queue's visibility, since queues of two seconds exist. A lease runs from *before* the
call that began it: renewed at a third of the visibility, tried again quickly on failure, and given up as lost at 80 %
of it, while the message is certainly still invisible to others. The clock is monotonic: a frozen process that wakes
up late finds its lease lost.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import monotonic
from types import TracebackType
from typing import Self

import structlog

from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.ports import Message

log = structlog.get_logger(__name__)

CONFIRM: ContextVar[Callable[[], None]] = ContextVar("CONFIRM", default=lambda: None)
"""`confirm` of the lease that the current task, or the one that began it, works under."""

MAX_IN_FLIGHT_SECONDS = 43_200  # seconds that SQS keeps a message in flight, counted from its receive
RENEWAL_FRACTION = 1 / 3  # of the visibility
EXPIRY_FRACTION = 0.8
RENEWAL_TIMEOUT_FRACTION = 0.15  # how long one renewal may take
RETRY_PAUSE_FRACTION = 0.05  # pause between failed renewals


class Lease:
    """
    `async with Lease(...)`: the block runs while the message is ours. A lost lease cancels the block, and leaving it
    raises LeaseLost. The heartbeat has ended, its last call answered or timed out, when the block is left. While the
    message is still ours, it can be entered again.
    """

    def __init__(
        self,
        message: Message,
        visibility: int,
        hide: Callable[[Message, int], Awaitable[None]],
        *,
        clock: Callable[[], float] = monotonic,
        max_seconds: float = MAX_IN_FLIGHT_SECONDS,
    ) -> None:
        self._message = message
        self._visibility = visibility
        self._hide = hide
        self._clock = clock
        self._max_seconds = max_seconds
        self._received_at = message.received_at
        self._renewed_at = message.received_at
        self._term = float(visibility)
        self.renewal_refused = False  # the last renewal: SQS does not let us
        self._lost_reason: str | None = None
        self._min_margin = 1.0
        self._stop = asyncio.Event()
        self._job: asyncio.Task[object] | None = None
        self._heartbeat: asyncio.Task[None] | None = None

    @property
    def job_time_left(self) -> float:
        """
        Seconds until the work must end, so that its rejection can still be sent while SQS lets us keep the message.
        """
        return self._received_at + self._max_seconds - min(2 * self._visibility, self._max_seconds / 4) - self._clock()

    @property
    def expires_at(self) -> float:
        return self._renewed_at + self._term * EXPIRY_FRACTION

    @property
    def expires_in(self) -> float:
        """Seconds until the lease is lost, unless it is renewed."""
        return max(0.0, self.expires_at - self._clock())

    @property
    def margin(self) -> float:
        """The smallest fraction of the visibility that was ever left before the lease would have been lost."""
        return max(0.0, min(self._min_margin, self._margin_left()))

    def _margin_left(self) -> float:
        return (self.expires_at - self._clock()) / self._visibility

    def confirm(self) -> None:
        """
        Raise LeaseLost unless the message is certainly still ours. Called right before everything that others see.
        """
        if self._lost_reason is None and self._clock() >= self.expires_at:
            self._lost_reason = "not renewed in time"
        if self._lost_reason is not None:
            raise LeaseLost(self._lost_reason)

    async def __aenter__(self) -> Self:
        self._job = asyncio.current_task()
        self._stop.clear()
        CONFIRM.set(self.confirm)  # for this task and those that it begins: each job is a task of its own
        self._heartbeat = asyncio.create_task(self._renew_loop(), name=f"lease.{self._message.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._heartbeat is None:
            return
        cancelled = None
        while not self._heartbeat.done():
            # A renewal under way must have ended: landing later, it would undo the delay of a message given back.
            try:
                await asyncio.wait([self._heartbeat])
            except asyncio.CancelledError as again:
                cancelled = again
        if self._lost_reason is not None and not isinstance(error, LeaseLost):
            if self._job is not None and isinstance(error, asyncio.CancelledError):
                self._job.uncancel()
            raise LeaseLost(self._lost_reason) from error
        if cancelled is not None and error is None:
            raise cancelled

    async def _renew_loop(self) -> None:
        while not self._stop.is_set():
            await self._sleep(max(0.0, self._renewed_at + self._visibility * RENEWAL_FRACTION - self._clock()))
            if self._stop.is_set():
                return
            if not await self._renew():
                self._expire()
                return

    async def _renew(self) -> bool:
        """Renew, trying again until it works or the lease is lost. False: it is lost."""
        while self._clock() < self.expires_at:
            before = self._clock()
            seconds = min(self._visibility, int(self._received_at + self._max_seconds - before) - 1)
            if seconds < 1:
                self._lost_reason = "SQS keeps no message in flight for longer than 12 hours"
                return False
            try:
                async with asyncio.timeout(min(self._visibility * RENEWAL_TIMEOUT_FRACTION, self.expires_at - before)):
                    await self._hide(self._message, seconds)
            except LeaseLost as error:
                self._lost_reason = str(error)
                return False
            except (TransientError, ConfigurationError, TimeoutError) as error:
                self.renewal_refused = isinstance(error, ConfigurationError)
                log.warning("lease.renewal_failed", reason=str(error) or "no answer in time")
                await self._sleep(self._visibility * RETRY_PAUSE_FRACTION * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
                if self._stop.is_set():
                    return True
            else:
                self._min_margin = min(self._min_margin, self._margin_left())
                self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False
                return True
        return False

    def _expire(self) -> None:
        if self._stop.is_set():
            return
        self._lost_reason = self._lost_reason or "not renewed in time"
        if self._job is not None:
            self._job.cancel()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
