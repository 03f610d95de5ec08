"""
Objects into files: read concurrently, in pieces, at the versions that were planned, and compared with the store's
CRC-32 where there is one.

Memory: the bytes on their way are buffers of the pool, of at most `PIECE_BYTES` each: one that is reserved, and others
while the pool has any.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.core.plan import ObjectVersion
from archiver.errors import TransientError, root_cause
from archiver.stages.budget import BufferPool, Reservation
from archiver.stages.checksums import combine_crcs, crc32
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress

PIECE_BYTES = 8 * 1024 * 1024
MAX_OPEN = 64
"""Files that are open at once."""

TRIES = 3
"""How often an object is read whose bytes do not have the store's CRC-32."""


class FileToFill(NamedTuple):
    """An object of *size* bytes, and the *path* of the file that it goes to."""

    path: str
    version: ObjectVersion
    size: int


@dataclass(slots=True)
class _Open:
    file: FileToFill
    descriptor: int
    remaining: int
    crcs: list[tuple[int, int, int]] = field(default_factory=list)


class FileReader:
    """Reads the objects of one job. *create* makes a file, with its folders, and returns a descriptor to write to."""

    def __init__(self, fetcher: Fetcher, budget: BufferPool, create: Callable[[str], int], progress: Progress) -> None:
        self._fetcher = fetcher
        self._budget = budget
        self._create = create
        self._progress = progress
        self._damaged: list[FileToFill] = []
        self._descriptors: set[int] = set()
        self._slots = asyncio.Semaphore(min(MAX_OPEN, fetcher.concurrency))

    async def read(self, files: Sequence[FileToFill]) -> None:
        """
        Fill all *files*. Raises SourceChanged, SourceUnavailable, CredentialsRefused, each with its *location*;
        TransientError; OSError.
        """
        pending = list(files)
        for _ in range(TRIES):
            if not pending:
                return
            self._damaged = []
            size = min(PIECE_BYTES, self._budget.total // 3, max(1, *(file.size for file in pending)))
            async with self._budget.reservation(size, 1) as buffers:
                await self._read_all(pending, buffers)
            pending = self._damaged
        if pending:
            raise TransientError(f"{pending[0].version.location}: its bytes do not have the CRC-32 that the store has")

    async def _read_all(self, files: Sequence[FileToFill], buffers: Reservation) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for file in files:
                    opened = _Open(file, self._create(file.path), file.size)
                    self._descriptors.add(opened.descriptor)
                    if not file.size:
                        self._end(opened)
                    for start in range(0, file.size, buffers.size):
                        await self._slots.acquire()
                        view = await buffers.acquire()
                        tasks.create_task(
                            self._read_piece(opened, start, view, buffers), name=f"file.{file.version.location.key}"
                        )
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors.clear()

    async def _read_piece(self, opened: _Open, start: int, view: memoryview, buffers: Reservation) -> None:
        file = opened.file
        piece = view[: min(len(view), file.size - start)]
        try:
            await self._fetcher.read(file.version, start, [piece])
            opened.crcs.append((start, len(piece), crc32(piece)))
            await asyncio.to_thread(_write, opened.descriptor, piece, start)
            self._progress.bytes += len(piece)
        finally:
            buffers.release(view)
            self._slots.release()
        opened.remaining -= len(piece)
        if not opened.remaining:
            self._end(opened)

    def _end(self, opened: _Open) -> None:
        """All bytes have arrived: whether they are the right ones shows now."""
        self._descriptors.remove(opened.descriptor)
        os.close(opened.descriptor)
        file = opened.file
        if file.version.crc32 in (None, combine_crcs(opened.crcs)):
            self._progress.files += 1
        else:
            self._progress.bytes -= file.size
            self._damaged.append(file)


def _write(descriptor: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, start)
        data, start = data[written:], start + written
