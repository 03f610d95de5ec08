"""Adaptive limit of concurrent reads: additive increase, multiplicative decrease, as in TCP congestion control."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

CALLS_PER_TURN = 16


class AdaptiveLimiter:
    """
    A semaphore for up to *max_concurrency* holders, first in, first out. Each throttled response halves the limit, at
    most once in *decrease_interval* seconds, since responses to one burst arrive together. Each success raises it by
    1/limit.
    """

    def __init__(
        self, max_concurrency: int, *, decrease_interval: float = 0.5, clock: Callable[[], float] = monotonic
    ) -> None:
        self.max_concurrency = max_concurrency
        self.limit = float(max_concurrency)
        self.running = 0
        self._decrease_interval = decrease_interval
        self._clock = clock
        self._decreased_at = float("-inf")
        self._calls = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.running < int(self.limit) and not self._waiters:
            self.running += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._release()  # granted in the same moment: pass it on
            else:
                with suppress(ValueError):  # `_admit_waiters` ran in the same moment and has removed it
                    self._waiters.remove(waiter)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        self.running -= 1
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        while self._waiters and self.running < int(self.limit):
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self.running += 1

    @property
    def has_free_place(self) -> bool:
        """Whether another holder would not wait."""
        return self.running < int(self.limit) and not self._waiters

    def should_yield(self) -> bool:
        """
        Whether a holder with more to do should let go and enter again: after throttling there may be too many, and one
        call in `CALLS_PER_TURN` gives its place to whoever waits.
        """
        if self.running > self.limit:
            return True
        if not self._waiters:
            return False
        self._calls += 1
        return self._calls % CALLS_PER_TURN == 0

    def succeeded(self) -> None:
        """Raise the limit after a successful call."""
        if self.limit < self.max_concurrency:
            self.limit = min(float(self.max_concurrency), self.limit + 1.0 / self.limit)
            self._admit_waiters()

    def throttled(self) -> None:
        """Halve the limit after a response that asks for a lower request rate."""
        now = self._clock()
        if now - self._decreased_at >= self._decrease_interval:
            self._decreased_at = now
            self.limit = max(1.0, self.limit / 2.0)
