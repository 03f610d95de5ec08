"""Answers to orders: one line of JSON each, on a file descriptor."""

import asyncio
import os
import select
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from archiver.core.printable import printable_json
from archiver.errors import TransientError
from archiver.ports import Attribute, OutgoingMessage

PAUSE_SECONDS = 0.05
FAILURES = ("failed", "cancelled")


class AnswerLines:
    """
    A notifier that writes to the file descriptor *fd*. It never blocks the event loop: while the reader is busy, it
    waits. Answers that were written are not written again. *on_closed* is called when the reader is gone.
    """

    def __init__(self, fd: int, *, on_closed: Callable[[], None]) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._on_closed = on_closed
        self._written: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self.failed = 0  # how many answers told of failures

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002 - any answer fits
        return sys.maxsize

    async def send(self, note: OutgoingMessage) -> None:
        async with self._one_at_a_time:
            if note.id in self._written:
                return
            try:
                await self._write(f"{printable_json(note.body)}\n".encode())
            except OSError as error:
                self._on_closed()
                raise TransientError(f"standard output can't be written: {error.strerror}") from None
            self._written.add(note.id)
            self.failed += note.status in FAILURES

    async def _write(self, line: bytes) -> None:
        remaining = memoryview(line)
        while remaining:
            if not self._poll.poll(0):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            # A pipe or terminal that is ready takes this many bytes without blocking; a file is always ready.
            with suppress(BlockingIOError):
                remaining = remaining[os.write(self._fd, remaining[: select.PIPE_BUF]) :]
