"""How long a call that fails for a moment is tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from archiver.core.backoff import full_jitter
from archiver.errors import TransientError

MIN_ATTEMPTS = 6
RETRY_SECONDS = 12.0  # more than twice the time after which a place that answers nobody counts as down
BACKOFF_BASE, BACKOFF_CAP = 0.2, 10.0  # seconds

T = TypeVar("T")


class Attempts:
    """Failures in a row, of which at least *least*, and for *seconds*, are put up with."""

    def __init__(self, least: int, seconds: float) -> None:
        self.tries = 0
        self._least = least
        self._seconds = seconds
        self._since: float | None = None

    def next_wait(self) -> float | None:
        """One more; the seconds to wait before the next try, None where there is none."""
        self.tries += 1
        now = monotonic()
        self._since = now if self._since is None else self._since
        left = self._seconds - (now - self._since)
        if self.tries >= self._least and left <= 0:
            return None
        wait = full_jitter(self.tries, BACKOFF_BASE, BACKOFF_CAP, random.uniform)
        return min(wait, left) if left > 0 else wait


async def retry_transient(
    call: Callable[[], Awaitable[T]], tries: int = MIN_ATTEMPTS, seconds: float | None = None
) -> T:
    """
    Call until it works, on TransientError errors; given up after *tries* and *seconds* (SECONDS unless given), both.

    In the time that this takes at the least it is found out whether the other side answers anyone: a place that is
    down is no reason to give up here.
    """
    run = Attempts(tries, RETRY_SECONDS if seconds is None else seconds)
    while True:
        try:
            return await call()
        except TransientError:
            wait = run.next_wait()
            if wait is None:
                raise
            await asyncio.sleep(wait)
