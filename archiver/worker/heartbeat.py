"""
The health of the process: the event loop runs, and receiving works.

The heartbeat file is empty. Its modification time is the event loop's last beat; its access time is the last time at
which receiving was not failing. `archiver health` and the health server apply the same rules.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

BEAT_INTERVAL = 5.0  # seconds between beats
MAX_BEAT_AGE = 30.0  # seconds without a beat: the event loop is blocked, or the process has ended
MAX_FAILING_SECONDS = 120.0  # seconds for which receiving has failed


class Heartbeat:
    """One for the process. *clock* is wall-clock time in seconds, as the times of the file are."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failing_since: float | None = None
        self._beaten_at = clock()

    def received(self) -> None:
        """Record a receive that succeeded, with or without messages."""
        self._failing_since = None

    def failed(self) -> None:
        """Record a receive that failed. Not receiving (no free slot, receiving is paused) is no failure."""
        if self._failing_since is None:
            self._failing_since = self._clock()

    @property
    def failing(self) -> bool:
        """Whether the last receive failed."""
        return self._failing_since is not None

    def beat(self) -> None:
        self._beaten_at = self._clock()

    @property
    def problem(self) -> str | None:
        """Why the process is unhealthy, or None."""
        return health_problem(self._clock(), self._beaten_at, self._receive_ok_at)

    @property
    def _receive_ok_at(self) -> float:
        return self._beaten_at if self._failing_since is None else self._failing_since

    async def run(self, file: Path | None) -> None:
        """Beat until cancelled, and touch *file* with each beat. The file is removed at the end."""
        try:
            while True:
                self.beat()
                if file is not None:
                    self._touch(file)
                await asyncio.sleep(BEAT_INTERVAL)
        finally:
            if file is not None:
                self._remove(file)

    def _remove(self, file: Path) -> None:
        with suppress(OSError):
            file.unlink(missing_ok=True)

    def _touch(self, file: Path) -> None:
        try:
            file.touch()
            os.utime(file, (self._receive_ok_at, self._beaten_at))
        except OSError as error:
            log.warning("heartbeat.failed", file=str(file), reason=str(error))


def health_problem(now: float, beaten_at: float, receive_ok_at: float) -> str | None:
    """
    Return why a process is unhealthy whose last beat was at *beaten_at*, and whose receiving worked until
    *receive_ok_at*; else None.
    """
    if now - beaten_at > MAX_BEAT_AGE:
        return f"the last heartbeat was {now - beaten_at:.0f} s ago: the worker is stuck or gone"
    if beaten_at - receive_ok_at > MAX_FAILING_SECONDS:
        return f"receiving has been failing for {beaten_at - receive_ok_at:.0f} s: the log says why"
    return None


def heartbeat_file_problem(file: Path, now: float) -> str | None:
    """Return why the process of the heartbeat *file* is unhealthy, or None."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return f"there is no heartbeat file {file}: no worker runs with this HEARTBEAT_FILE"
    except OSError as error:
        return f"the heartbeat file {file} can't be read: {error.strerror}"
    return health_problem(now, status.st_mtime, status.st_atime)
