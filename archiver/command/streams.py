"""Standard input, output and error of a program, as streams: a program that prints for ever takes no more memory."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

CHUNK_BYTES = 64 * 1024
DRAIN_SECONDS = 5.0
"""For what is left in a pipe whose program has ended: its writers have ended, too."""

_PROGRESS = re.compile(rb"archiver-progress: *([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*")
_MAX_LINE = 64  # bytes of a line that may tell of progress


class Sink(Protocol):
    """Takes what a program writes."""

    async def write(self, data: bytes) -> None:
        """Take *data*. While it waits, the program waits."""


class Tail:
    """Keeps the last *limit* bytes, and counts all."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._kept = bytearray()

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        self._kept += data
        if len(self._kept) > self._limit + CHUNK_BYTES:
            del self._kept[: -self._limit or None]

    @property
    def truncated(self) -> bool:
        return self.size > self._limit

    def text(self) -> str:
        """The end of it; what is not UTF-8, and a character that was cut, becomes U+FFFD."""
        kept = self._kept[-self._limit :] if self._limit else b""
        return kept.decode(errors="replace")


class Meter:
    """Counts the bytes of all sinks that it stands before, at most *limit*. *exceeded*: there were more, now lost."""

    def __init__(self, limit: int) -> None:
        self.exceeded = False
        self._room = limit

    def take(self, data: bytes) -> bytes:
        """Return as much of *data* as there is room for."""
        taken = data[: self._room]
        self._room -= len(taken)
        self.exceeded |= len(taken) < len(data)
        return taken


class Metered:
    """Passes on what *meter* has room for."""

    def __init__(self, sink: Sink, meter: Meter) -> None:
        self._sink = sink
        self._meter = meter

    async def write(self, data: bytes) -> None:
        if taken := self._meter.take(data):
            await self._sink.write(taken)


class ProgressLines:
    """Passes everything on, and reports the fraction of each line such as `archiver-progress: 0.4`."""

    def __init__(self, sink: Sink, report: Callable[[float], None]) -> None:
        self._sink = sink
        self._report = report
        self._line = b""

    async def write(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            found = _PROGRESS.fullmatch(self._line + line[:_MAX_LINE])
            if found is not None and (fraction := float(found[1])) <= 1:
                self._report(fraction)
            self._line = b""
        self._line = (self._line + rest[:_MAX_LINE])[: 2 * _MAX_LINE]
        await self._sink.write(data)


@dataclass(frozen=True, slots=True)
class Streams:
    """What a program reads, and what takes what it writes. The program is ended when *meter* is exceeded."""

    stdin: AsyncIterator[bytes]
    stdout: Sink
    stderr: Sink
    meter: Meter


class Pump:
    """Moves what a program writes to a sink."""

    def __init__(self, reader: asyncio.StreamReader, sink: Sink) -> None:
        self._reader = reader
        self._sink = sink
        self.writing = False

    async def run(self) -> None:
        while data := await self._reader.read(CHUNK_BYTES):
            self.writing = True
            await self._sink.write(data)
            self.writing = False


async def feed(writer: asyncio.StreamWriter, data: AsyncIterator[bytes]) -> None:
    """Write *data* and close. A program may end without reading it."""
    with suppress(ConnectionError):
        async for piece in data:
            writer.write(piece)
            await writer.drain()
    writer.close()


async def text_pieces(text: str) -> AsyncIterator[bytes]:
    """*text* in UTF-8, in pieces."""
    data = text.encode()
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
