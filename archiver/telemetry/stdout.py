"""
Non-blocking standard output, or standard error.

If the file descriptor is writable, a line is written at once, so that it is not lost if the process is killed. If the
pipe is full (a log driver hangs), lines are buffered in memory and written by a thread. When the buffer is full, lines
are dropped until half of it is written; then a `log.dropped` line reports how many. Jobs are not delayed.
"""

import io
import json
import os
import select
import stat
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import TextIO

MAX_WAITING_BYTES = 4 * 1024 * 1024
ATOMIC_WRITE_BYTES = select.PIPE_BUF  # POSIX: a writable pipe accepts this many without blocking
DRAIN_TIMEOUT = 2.0  # seconds to write buffered lines at exit


def open_stdout() -> "NonBlockingWriter":
    """Return a writer to standard output; to standard error if there is none; to /dev/null if there is neither."""
    return _open(sys.stdout or sys.stderr)


def open_stderr() -> "NonBlockingWriter":
    """Return a writer to standard error, for a worker whose answers are on standard output; else to /dev/null."""
    return _open(sys.stderr)


def _open(stream: TextIO | None) -> "NonBlockingWriter":
    if stream is None:
        return NonBlockingWriter(os.open(os.devnull, os.O_WRONLY))
    stream.flush()
    return NonBlockingWriter(stream.fileno())


class NonBlockingWriter(io.TextIOBase):
    """
    Writes text to the file descriptor *fd*, one line per call. Writing neither blocks nor raises. *most*: maximum bytes
    of buffered lines.
    """

    def __init__(self, fd: int, most: int = MAX_WAITING_BYTES) -> None:
        self._fd = fd
        self._max_waiting_bytes = most
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        line = text.encode(errors="backslashreplace")
        with self._changed:
            if not self._waiting and self._has_room(len(line)):
                self._write_blocking(line)
            elif self._waiting and (self._dropped or self._waiting + len(line) > self._max_waiting_bytes):
                self._dropped += 1  # so are all further lines until half is written: one reported gap, not many
            else:
                self._enqueue(line)
        return len(text)

    def finish(self, seconds: float = DRAIN_TIMEOUT) -> None:
        """Wait at most *seconds* until all lines are written. Lines that are written afterwards may be lost."""
        deadline = monotonic() + seconds
        with self._changed:
            while self._waiting and self._changed.wait(deadline - monotonic()):
                pass

    def _has_room(self, size: int) -> bool:
        if self._regular:
            return True
        return size <= ATOMIC_WRITE_BYTES and any(ready & select.POLLOUT for _, ready in self._poll.poll(0))

    def _enqueue(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting += len(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_waiting, name="stdout-writer", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
            self._write_blocking(line)  # without the lock: it may block indefinitely
            with self._changed:
                self._waiting -= len(line)
                if self._dropped and self._waiting <= self._max_waiting_bytes // 2:
                    self._enqueue(_dropped_line(self._dropped))
                    self._dropped = 0
                self._changed.notify_all()

    def _write_blocking(self, line: bytes) -> None:
        remaining = memoryview(line)
        try:
            while remaining:
                try:
                    remaining = remaining[os.write(self._fd, remaining) :]
                except BlockingIOError:  # the parent process set the descriptor to non-blocking: wait here instead
                    self._poll.poll()
        except OSError:  # the reader has closed the pipe, or the disk is full: the error can't be logged
            pass


def _dropped_line(lines: int) -> bytes:
    fields = {
        "dropped": lines,
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat(),
        "message": "log.dropped",
    }
    return json.dumps(fields).encode() + b"\n"
