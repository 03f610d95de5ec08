"""
Whether this process is well: the event loop turns, and receiving works.

A file tells it to others, without a byte written: its modification time is the loop's last beat, its access time the
last moment at which receiving had not been failing. `archiver health` and the health server ask the same questions.
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
MAX_BEAT_AGE = 30.0  # seconds without a beat: the loop is stuck, or the process gone
MAX_FAILING_SECONDS = 120.0  # seconds for which receiving has failed


class Heartbeat:
    """One for the process. *clock* is the time of the wall, in seconds: the file's times are, too."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failing_since: float | None = None
        self._beaten_at = clock()

    def received(self) -> None:
        """SQS answered a receive, with messages or without."""
        self._failing_since = None

    def failed(self) -> None:
        """A receive failed. Not asking (all slots are taken, a job is held) is no failure."""
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
        """What is wrong, in a sentence; None where all is well."""
        return health_problem(self._clock(), self._beaten_at, self._receive_ok_at)

    @property
    def _receive_ok_at(self) -> float:
        return self._beaten_at if self._failing_since is None else self._failing_since

    async def run(self, file: Path | None) -> None:
        """Beat until cancelled, and touch *file* with each beat; it is removed at the end."""
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
    What is wrong with a process that beat last at *beaten_at*, and whose receiving was good until *receive_ok_at*.
    """
    if now - beaten_at > MAX_BEAT_AGE:
        return f"the last heartbeat was {now - beaten_at:.0f} s ago: the worker is stuck or gone"
    if beaten_at - receive_ok_at > MAX_FAILING_SECONDS:
        return f"receiving from SQS has been failing for {beaten_at - receive_ok_at:.0f} s: the log says why"
    return None


def heartbeat_file_problem(file: Path, now: float) -> str | None:
    """What the heartbeat *file* says is wrong; None where all is well."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return f"there is no heartbeat file {file}: no worker runs with this HEARTBEAT_FILE"
    except OSError as error:
        return f"the heartbeat file {file} can't be looked at: {error.strerror}"
    return health_problem(now, status.st_mtime, status.st_atime)
