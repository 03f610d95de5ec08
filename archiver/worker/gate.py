"""Whether to receive: shut while jobs are held, or for a rest."""

import asyncio
from time import monotonic


class ReceiveGate:
    """One for the process. *changed* is set when it may open."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.grace_expired = False  # the grace period has ended, and with it every job
        self.draining = False  # for good: what runs is the last
        self._pause_count = 0
        self._paused_until = 0.0

    def pause_for(self, seconds: float) -> None:
        """Shut it for *seconds*."""
        self._paused_until = max(self._paused_until, monotonic() + seconds)

    def pause_receiving(self) -> None:
        """Shut it until as many `resume_receiving`s as `pause_receiving`s have come."""
        self._pause_count += 1

    def resume_receiving(self) -> None:
        self._pause_count -= 1
        self.changed.set()

    @property
    def pause_count(self) -> int:
        """How many jobs, stores and queues hold it shut."""
        return self._pause_count

    @property
    def reopens_in(self) -> float | None:
        """Seconds until it opens by itself: 0 where it is open, None where that depends on a job, or never."""
        return None if self._pause_count or self.draining else max(0.0, self._paused_until - monotonic())
