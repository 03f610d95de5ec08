"""Reads an archive from its start to its end, in windows that are requested ahead of their use."""

import asyncio
from typing import Protocol, Self

from archiver.stages.checksums import crc32, crc32_combine
from archiver.stages.progress import Progress

WINDOW_BYTES = 4 * 1024 * 1024
READ_AHEAD_WINDOWS = 4


class ByteSource(Protocol):
    """Random access to the bytes of an archive."""

    @property
    def size(self) -> int: ...

    async def read(self, start: int, into: memoryview) -> None:
        """Fill *into* with the bytes from *start* on. Raises TransientError, SourceChanged."""


class ReadAheadStream:
    """The archive as a stream, read ahead, with the CRC-32 of the bytes read so far."""

    def __init__(self, archive: ByteSource, progress: Progress) -> None:
        self.at = 0
        self.crc32 = 0
        self._archive = archive
        self._progress = progress
        self._window = memoryview(b"")
        self._next = 0
        self._pending: list[asyncio.Task[memoryview]] = []

    async def __aenter__(self) -> Self:
        self._fill()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _fill(self) -> None:
        while len(self._pending) < READ_AHEAD_WINDOWS and self._next < self._archive.size:
            length = min(WINDOW_BYTES, self._archive.size - self._next)
            self._pending.append(
                asyncio.create_task(_read_window(self._archive, self._next, length), name="verify.read")
            )
            self._next += length

    async def take(self, count: int) -> bytes:
        """Return the next *count* bytes; fewer only at the end."""
        taken = bytearray()
        while len(taken) < count:
            if not self._window and not await self._advance():
                break
            piece = self._window[: count - len(taken)]
            taken += piece
            self._window = self._window[len(piece) :]
        self.at += len(taken)
        return bytes(taken)

    async def skip(self, count: int) -> None:
        while count > 0 and (taken := len(await self.take(min(count, WINDOW_BYTES)))):
            count -= taken

    async def _advance(self) -> bool:
        if not self._pending:
            return False
        window = await self._pending[0]
        del self._pending[0]
        self._fill()
        self.crc32 = crc32_combine(self.crc32, crc32(window), len(window))
        self._window = window
        self._progress.bytes += len(window)
        return True


async def _read_window(archive: ByteSource, start: int, length: int) -> memoryview:
    data = memoryview(bytearray(length))
    if length:
        await archive.read(start, data)
    return data


async def read_bytes(archive: ByteSource, start: int, length: int) -> bytes:
    return bytes(await _read_window(archive, start, length))
