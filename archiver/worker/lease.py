"""
The lease: the message's visibility timeout is extended while its job runs, and the job ends before it can lapse.

All times are fractions of the visibility timeout, since queues with 2 seconds exist. A lease counts from *before* the
call that started or renewed it. It is renewed at a third of the visibility timeout, retried quickly after a failure,
and expires at 80 % of it, while the message is certainly still hidden from other consumers. The clock is monotonic: a
process that was suspended finds its lease expired. A source that knows at once that a message is lost sets
`Message.gone`; the lease expires then.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import monotonic
from types import TracebackType
from typing import Self

import structlog

from archiver.core.durations import format_seconds
from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.ports import Message, QueueFacts

log = structlog.get_logger(__name__)

GONE = "the source redelivered the message: the connection that brought it was closed"

CONFIRM: ContextVar[Callable[[], None]] = ContextVar("CONFIRM", default=lambda: None)
"""`confirm` of the lease that the current task, or the task that started it, runs under."""

RENEWAL_FRACTION = 1 / 3  # of the visibility timeout
EXPIRY_FRACTION = 0.8
RENEWAL_TIMEOUT_FRACTION = 0.15  # how long one renewal may take
RETRY_PAUSE_FRACTION = 0.05  # pause between failed renewals
LIMIT_MARGIN = 1.0  # seconds before the source's limit, at most: its clock began at another moment
LIMIT_MARGIN_FRACTION = 1 / 20  # of the limit


class Lease:
    """
    `async with Lease(...)`: the block runs while the message is held. A lost lease cancels the block, and leaving it
    raises LeaseLost. When the block is left, no renewal is in flight. A lease that is not lost can be entered again.
    """

    def __init__(
        self,
        message: Message,
        facts: QueueFacts,
        extend: Callable[[Message, int], Awaitable[None]],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._message = message
        self._visibility = facts.visibility
        self._longest = facts.longest
        self._extend = extend
        self._clock = clock
        self._received_at = message.received_at
        self._renewed_at = message.received_at
        self._term = float(facts.visibility)
        self.renewal_refused = False  # by the source, at the last renewal: permissions
        self._lost_reason: str | None = None
        self._min_margin = 1.0
        self._stop = asyncio.Event()
        self._job: asyncio.Task[object] | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._gone_watch: asyncio.Task[None] | None = None
        self._job_cancelled = False

    @property
    def is_lost(self) -> bool:
        """Whether the message may belong to another consumer."""
        return self._lost_reason is not None or self._is_gone() or self._clock() >= self.expires_at

    @property
    def job_time_left(self) -> float:
        """
        Seconds until the job must end, so that its rejection can still be sent while the source holds the message.
        """
        return self._received_at + self._longest - min(2 * self._visibility, self._longest / 4) - self._clock()

    @property
    def expires_at(self) -> float:
        return self._renewed_at + self._term * EXPIRY_FRACTION

    @property
    def expires_in(self) -> float:
        """Seconds until the lease expires, unless it is renewed."""
        return max(0.0, self.expires_at - self._clock())

    @property
    def margin(self) -> float:
        """The smallest fraction of the visibility timeout that was ever left before expiry."""
        return max(0.0, min(self._min_margin, self._margin_left()))

    def _margin_left(self) -> float:
        return (self.expires_at - self._clock()) / self._visibility

    def confirm(self) -> None:
        """
        Raise LeaseLost unless the message is certainly still held. Called before every externally visible write.
        """
        if self._lost_reason is None and self._is_gone():
            self._lost_reason = GONE
        if self._lost_reason is None and self._clock() >= self.expires_at:
            self._lost_reason = "not renewed in time"
        if self._lost_reason is not None:
            raise LeaseLost(self._lost_reason)

    async def __aenter__(self) -> Self:
        self._job = asyncio.current_task()
        self._stop.clear()
        CONFIRM.set(self.confirm)  # for this task and those that it starts: each job has a task of its own
        self._heartbeat = asyncio.create_task(self._renew_loop(), name=f"lease.{self._message.id}")
        if self._message.gone is not None:
            watch = self._expire_when_gone(self._message.gone)
            self._gone_watch = asyncio.create_task(watch, name=f"lease.gone.{self._message.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._gone_watch is not None:
            self._gone_watch.cancel()
        tasks = {task for task in (self._heartbeat, self._gone_watch) if task is not None}
        cancelled = None
        while not all(task.done() for task in tasks):
            # A renewal in flight must have ended: if it arrived later, it would undo the delay of a released message.
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError as again:
                cancelled = again
        if self._lost_reason is not None and not isinstance(error, LeaseLost):
            if self._job is not None and isinstance(error, asyncio.CancelledError):
                self._job.uncancel()
            raise LeaseLost(self._lost_reason) from error
        if cancelled is not None and error is None:
            raise cancelled

    def _is_gone(self) -> bool:
        return self._message.gone is not None and self._message.gone.is_set()

    async def _expire_when_gone(self, gone: asyncio.Event) -> None:
        await gone.wait()
        self._lost_reason = self._lost_reason or GONE
        self._expire()

    async def _renew_loop(self) -> None:
        while not self._stop.is_set() and self._lost_reason is None:
            await self._sleep(max(0.0, self._renewed_at + self._term * RENEWAL_FRACTION - self._clock()))
            if self._stop.is_set() or self._lost_reason is not None:
                return
            if not await self._renew():
                self._expire()
                return

    async def _renew(self) -> bool:
        """Renew, with retries until the lease expires. False: it is lost."""
        while self._clock() < self.expires_at:
            before = self._clock()
            margin = min(LIMIT_MARGIN, self._longest * LIMIT_MARGIN_FRACTION)
            seconds = int(min(self._visibility, self._received_at + self._longest - before - margin))
            if seconds < 1:  # sources know whole seconds; what is left of the lease is still used
                await self._sleep(self.expires_at - before)
                if self._stop.is_set():
                    return True
                self._lost_reason = self._lost_reason or (
                    f"the source holds no message for longer than {format_seconds(self._longest)}"
                )
                return False
            try:
                async with asyncio.timeout(min(self._visibility * RENEWAL_TIMEOUT_FRACTION, self.expires_at - before)):
                    await self._extend(self._message, seconds)
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
        """Cancel the job, once: a second cancellation would interrupt its clean-up."""
        if self._stop.is_set() or self._job_cancelled:
            return
        self._lost_reason = self._lost_reason or "not renewed in time"
        self._job_cancelled = True
        if self._job is not None:
            self._job.cancel()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
