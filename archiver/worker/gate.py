"""Whether the worker may receive: closed while jobs or calls are paused, and for pauses of fixed length."""

import asyncio
from time import monotonic


class ReceiveGate:
    """One for the process. `changed` is set when it may open."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.grace_expired = False  # the grace period is over: every job is cancelled
        self.draining = False  # no job will start any more
        self._pause_count = 0
        self._paused_until = 0.0

    def pause_for(self, seconds: float) -> None:
        """Close it for *seconds*."""
        self._paused_until = max(self._paused_until, monotonic() + seconds)

    def pause_receiving(self) -> None:
        """Close it until `resume_receiving` was called as often as `pause_receiving`."""
        self._pause_count += 1

    def resume_receiving(self) -> None:
        self._pause_count -= 1
        self.changed.set()

    @property
    def pause_count(self) -> int:
        """How many jobs, stores and queues keep it closed."""
        return self._pause_count

    @property
    def reopens_in(self) -> float | None:
        """Seconds until it opens by itself: 0 if it is open, None if that depends on a job, or never happens."""
        return None if self._pause_count or self.draining else max(0.0, self._paused_until - monotonic())
