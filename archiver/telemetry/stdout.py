"""
Standard output that can't hold the service up.

A line goes out at once where there is room for it, so that nothing is lost when the process is killed. Where nobody
reads (a log driver that hangs, a pipe that is full) lines wait in memory, a thread of their own writes them, and when
too many wait, further ones are dropped until half of what waited is written; there a line tells how many are missing.
The job goes on.
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

MAX_WAITING_BYTES = 4 * 1024 * 1024  # bytes
ATOMIC_WRITE_BYTES = (
    select.PIPE_BUF
)  # bytes; POSIX: a pipe that is ready to be written to takes so many without waiting
DRAIN_TIMEOUT = 2.0  # seconds for what still waits at the end


def open_stdout() -> "NonBlockingWriter":
    """Standard output; standard error where there is none, and nowhere where neither is."""
    stream = sys.stdout or sys.stderr
    if stream is None:
        return NonBlockingWriter(os.open(os.devnull, os.O_WRONLY))
    stream.flush()
    return NonBlockingWriter(stream.fileno())


class NonBlockingWriter(io.TextIOBase):
    """Text written to the file descriptor *fd*. Writing neither waits nor raises. One line a call."""

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
                self._dropped += 1  # and all that follow until half is written: one gap, told where it is, not many
            else:
                self._enqueue(line)
        return len(text)

    def finish(self, seconds: float = DRAIN_TIMEOUT) -> None:
        """Wait until all is written, for *seconds* at the most. What is written afterwards may be lost."""
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
            self._thread = threading.Thread(target=self._write_waiting, name="outlet", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
            self._write_blocking(line)  # without the lock: it may take for ever
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
                except BlockingIOError:  # whoever started us does not want writes to wait: then we do
                    self._poll.poll()
        except OSError:  # whoever read is gone, or the disk is full: there is nobody to tell
            pass


def _dropped_line(lines: int) -> bytes:
    fields = {
        "dropped": lines,
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat(),
        "message": "log.dropped",
    }
    return json.dumps(fields).encode() + b"\n"
