"""Retry a call on transient errors."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from archiver.core.backoff import full_jitter
from archiver.errors import TransientError

MIN_ATTEMPTS = 6
RETRY_SECONDS = 12.0  # more than twice the time after which an endpoint that does not respond counts as down
BACKOFF_BASE, BACKOFF_CAP = 0.2, 10.0  # seconds

T = TypeVar("T")


class Attempts:
    """Counts consecutive failures. They are retried for *seconds* and at least until there are *min_tries* of them."""

    def __init__(self, min_tries: int, seconds: float) -> None:
        self.tries = 0
        self._min_tries = min_tries
        self._seconds = seconds
        self._since: float | None = None

    def next_wait(self) -> float | None:
        """Count one more failure. Return the seconds to wait before the next try; None if there is no further try."""
        self.tries += 1
        now = monotonic()
        self._since = now if self._since is None else self._since
        left = self._seconds - (now - self._since)
        if self.tries >= self._min_tries and left <= 0:
            return None
        wait = full_jitter(self.tries, BACKOFF_BASE, BACKOFF_CAP, random.uniform)
        return min(wait, left) if left > 0 else wait


async def retry_transient(
    call: Callable[[], Awaitable[T]], tries: int = MIN_ATTEMPTS, seconds: float | None = None
) -> T:
    """
    Call until there is no TransientError. Raises the last one after *tries* and *seconds* (default `RETRY_SECONDS`),
    both.

    This takes long enough to detect an endpoint that is down. Calls to it are then paused, so this function does not
    fail because of it.
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
