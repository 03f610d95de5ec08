"""How long a call that fails for a moment is tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from archiver.core.backoff import full_jitter
from archiver.errors import Temporary

TRIES = 6
SECONDS = 12.0  # more than twice the time after which a place that answers nobody counts as down
BASE, CAP = 0.2, 10.0  # seconds

T = TypeVar("T")


class Run:
    """Failures in a row, of which at least *least*, and for *seconds*, are put up with."""

    def __init__(self, least: int, seconds: float) -> None:
        self.tries = 0
        self._least = least
        self._seconds = seconds
        self._since: float | None = None

    def failed(self) -> float | None:
        """One more; the seconds to wait before the next try, None where there is none."""
        self.tries += 1
        now = monotonic()
        self._since = now if self._since is None else self._since
        left = self._seconds - (now - self._since)
        if self.tries >= self._least and left <= 0:
            return None
        wait = full_jitter(self.tries, BASE, CAP, random.uniform)
        return min(wait, left) if left > 0 else wait


async def patiently(call: Callable[[], Awaitable[T]], tries: int = TRIES, seconds: float | None = None) -> T:
    """
    Call until it works, on Temporary errors; given up after *tries* and *seconds* (SECONDS unless given), both.

    In the time that this takes at the least it is found out whether the other side answers anyone: a place that is
    down is no reason to give up here.
    """
    run = Run(tries, SECONDS if seconds is None else seconds)
    while True:
        try:
            return await call()
        except Temporary:
            wait = run.failed()
            if wait is None:
                raise
            await asyncio.sleep(wait)
