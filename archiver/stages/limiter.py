"""How many reads run at once: additive increase, multiplicative decrease, as TCP finds its share of a link."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic


class AdaptiveLimiter:
    """
    Up to *max_concurrency* holders at once, first come, first served. Each throttled answer halves the limit (at most
    once in *decrease_interval* seconds, since answers to one burst arrive together); each good one raises it by
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
                with suppress(ValueError):  # whoever left in the same moment has dropped it
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

    def succeeded(self) -> None:
        """A good answer came."""
        if self.limit < self.max_concurrency:
            self.limit = min(float(self.max_concurrency), self.limit + 1.0 / self.limit)
            self._admit_waiters()

    def throttled(self) -> None:
        """The other side asked us to slow down."""
        now = self._clock()
        if now - self._decreased_at >= self._decrease_interval:
            self._decreased_at = now
            self.limit = max(1.0, self.limit / 2.0)
