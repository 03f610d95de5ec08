"""
Files into objects, and streams of unknown length into objects: as parts are sent of archives, never over another's
object, and visible only when they are complete.

Memory: part buffers of the pool. A stream has one, which is sent when it is full: whoever writes to it waits meanwhile.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from archiver.core.layout import DEFAULT_PART_SIZE, MAX_PARTS, part_size_for
from archiver.core.receipt import Contents
from archiver.errors import ArchiveExists, Rejected, TransientError, root_cause
from archiver.ports import Hold, ObjectStore, StoredArchive, Target
from archiver.stages.budget import BufferPool, Reservation
from archiver.stages.checksums import crc32, crc32_combine
from archiver.stages.upload import TOKEN, ArchiveUpload, find, open_upload

OWNER = "archiver-job"
"""The name of the metadata field that says which job wrote an object."""

NOTHING = Contents((), ())


@dataclass(frozen=True, slots=True)
class Writer:
    """How a job writes objects to *store*: as *job*, whose own earlier objects it replaces; *overwrite*: any object."""

    store: ObjectStore
    budget: BufferPool
    hold: Hold
    job: str
    overwrite: bool = False

    async def check(self, key: str) -> str:
        """
        Return what a write to *key* overwrites (see `Target`). Raises Rejected (`name_conflict`) for another's object;
        TransientError, ConfigurationError.
        """
        if self.overwrite:
            return "*"
        found = await find(self.store, key)
        if found is None:
            return ""
        if found.metadata.get(OWNER) != self.job:
            raise taken(key)
        return found.etag

    async def write_file(self, target: Target, descriptor: int) -> StoredArchive:
        """
        Store the file as *target* says. Raises Rejected (`name_conflict`, `too_large`), TransientError,
        ConfigurationError, LeaseLost.
        """
        size = os.fstat(descriptor).st_size
        part_size = part_size_for(size, self.budget.total // 3)
        async with self.budget.reservation(max(1, min(size, part_size)), 1) as buffers:
            try:
                return await self._write(target, descriptor, size, buffers)
            except ArchiveExists:  # an earlier run of this job has written it meanwhile, or another has
                again = await self.check(target.key)
            try:
                return await self._write(replace(target, overwrites=again), descriptor, size, buffers)
            except ArchiveExists:
                raise taken(target.key) from None

    async def _write(self, target: Target, descriptor: int, size: int, buffers: Reservation) -> StoredArchive:
        async with open_upload(self.store, self._signed(target, buffers.size), self.hold, None) as upload:
            if size <= buffers.size:
                view = (await buffers.acquire())[:size]
                await _read(descriptor, view, 0)
                try:
                    return await upload.put(view, crc32(view), NOTHING)
                finally:
                    buffers.release(view)
            return await self._write_parts(upload, descriptor, size, buffers)

    async def _write_parts(
        self, upload: ArchiveUpload, descriptor: int, size: int, buffers: Reservation
    ) -> StoredArchive:
        crcs: dict[int, int] = {}

        async def send(number: int, start: int, view: memoryview) -> None:
            part = view[: min(len(view), size - start)]
            try:
                await _read(descriptor, part, start)
                crcs[number] = crc32(part)
                await upload.upload_part(number, part, crcs[number])
            finally:
                buffers.release(view)

        try:
            async with asyncio.TaskGroup() as tasks:
                for number, start in enumerate(range(0, size, buffers.size), start=1):
                    view = await buffers.acquire()
                    tasks.create_task(send(number, start, view), name=f"output.part.{number}")
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        whole = 0
        for number, start in enumerate(range(0, size, buffers.size), start=1):
            whole = crc32_combine(whole, crcs[number], min(buffers.size, size - start))
        return await upload.complete(size, whole, NOTHING)

    @asynccontextmanager
    async def stream(self, target: Target, buffers: Reservation) -> AsyncIterator["StreamedObject"]:
        """
        Yield what takes the bytes of *target*; `finish` makes it visible, else nothing is left of it. *buffers* has one
        guaranteed for it.
        """
        async with open_upload(self.store, self._signed(target, buffers.size), self.hold, None) as upload:
            view = await buffers.acquire()
            try:
                yield StreamedObject(target.key, upload, view)
            finally:
                buffers.release(view)

    def stream_part_size(self) -> int:
        """Return the size of the buffer of a stream."""
        return min(DEFAULT_PART_SIZE, self.budget.total // 3)

    def _signed(self, target: Target, part_size: int) -> Target:
        metadata: Mapping[str, str] = {**target.metadata, TOKEN: secrets.token_hex(16), OWNER: self.job}
        return replace(target, metadata=metadata, part_size=part_size)


class StreamedObject:
    """An object whose bytes come one after the other. *size*: so far."""

    def __init__(self, key: str, upload: ArchiveUpload, view: memoryview) -> None:
        self.size = 0
        self._key = key
        self._upload = upload
        self._view = view
        self._filled = self._parts = self._crc = 0

    async def write(self, data: bytes) -> None:
        """
        Take *data*; returns when there is room for more. Raises Rejected (`too_large`), TransientError,
        ConfigurationError.
        """
        rest = memoryview(data)
        while rest:
            if self._filled == len(self._view):
                await self._send()
            taken = min(len(rest), len(self._view) - self._filled)
            self._view[self._filled : self._filled + taken] = rest[:taken]
            self._filled, self.size, rest = self._filled + taken, self.size + taken, rest[taken:]

    async def _send(self) -> None:
        if self._parts == MAX_PARTS:
            raise Rejected("too_large", f"{self._key} would have more than {MAX_PARTS:,} parts of {len(self._view):,}")
        part = self._view[: self._filled]
        crc = crc32(part)
        self._parts += 1
        await self._upload.upload_part(self._parts, part, crc)
        self._crc, self._filled = crc32_combine(self._crc, crc, len(part)), 0

    async def finish(self) -> StoredArchive:
        """Make the object visible. Raises as `write` does; Rejected (`name_conflict`), LeaseLost."""
        try:
            if not self._parts:
                part = self._view[: self._filled]
                return await self._upload.put(part, crc32(part), NOTHING)
            if self._filled:
                await self._send()
            return await self._upload.complete(self.size, self._crc, NOTHING)
        except ArchiveExists:
            raise taken(self._key) from None


def taken(key: str) -> Rejected:
    """The rejection of a request whose output would replace another's object."""
    return Rejected("name_conflict", f"an output, {key[:200]}, exists already and is not this job's: name another one")


async def _read(descriptor: int, into: memoryview, start: int) -> None:
    """Fill *into* with the file's bytes from *start* on."""
    filled = 0
    while filled < len(into):
        count = await asyncio.to_thread(os.preadv, descriptor, [into[filled:]], start + filled)
        if not count:
            raise TransientError("a file became shorter while it was read")
        filled += count
