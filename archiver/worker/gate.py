"""Whether to receive: shut while jobs are held, or for a rest."""

import asyncio
from time import monotonic


class Gate:
    """One for the process. *changed* is set when it may open."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.over = False  # the grace period has ended, and with it every job
        self.closed = False  # for good: what runs is the last
        self._held = 0
        self._rests_until = 0.0

    def rest(self, seconds: float) -> None:
        """Shut it for *seconds*."""
        self._rests_until = max(self._rests_until, monotonic() + seconds)

    def hold(self) -> None:
        """Shut it until as many `release`s as `hold`s have come."""
        self._held += 1

    def release(self) -> None:
        self._held -= 1
        self.changed.set()

    @property
    def held(self) -> int:
        """How many jobs, stores and queues hold it shut."""
        return self._held

    @property
    def shut_for(self) -> float | None:
        """Seconds until it opens by itself: 0 where it is open, None where that depends on a job, or never."""
        return None if self._held or self.closed else max(0.0, self._rests_until - monotonic())
