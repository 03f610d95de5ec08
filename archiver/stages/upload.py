"""
Parts out, undone on any failure.

An archive of one part is one conditional PutObject; a larger one a multipart upload. Either way it appears whole or
not at all. A write whose answer was lost is settled by looking, never by guessing: the upload's token stands in the
object's metadata.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

import structlog

from archiver.core.backoff import full_jitter
from archiver.errors import ArchiveExists, Temporary
from archiver.ports import MultipartUpload, ObjectStore, StoredArchive, Target

log = structlog.get_logger(__name__)

TOKEN = "archiver-token"  # noqa: S105 - the name of a metadata field
TRIES = 6
PART_TRIES = 20
PART_SECONDS = 60.0
SECONDS = 12.0  # more than twice the time after which a place that answers nobody counts as down
BASE, CAP = 0.2, 10.0  # seconds

T = TypeVar("T")


class Upload:
    """One archive on its way to the store. Made by `uploading`."""

    def __init__(self, store: ObjectStore, target: Target, confirm: Callable[[], None]) -> None:
        self._store = store
        self._target = target
        self._confirm = confirm
        self._multipart: MultipartUpload | None = None
        self._beginning = asyncio.Lock()

    async def part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1), in any order, several at once; the first one begins the upload. Raises Temporary.
        """
        async with self._beginning:
            if self._multipart is None:
                self._multipart = await patiently(lambda: self._store.begin(self._target))
        multipart = self._multipart
        # Patient, as reads are: behind one part stand hours of others. The lease and the time limit bound it.
        await patiently(lambda: multipart.part(number, body, crc32), tries=PART_TRIES, seconds=PART_SECONDS)

    async def put(self, body: memoryview, crc32: int) -> StoredArchive:
        """Send the whole archive at once and make it appear. Raises ArchiveExists, Temporary, LeaseLost."""
        return await self._finish(lambda: self._store.put(self._target, body, crc32), len(body))

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """Make the archive of *size* bytes appear out of its parts. Raises ArchiveExists, Temporary, LeaseLost."""
        multipart = self._multipart
        if multipart is None:
            raise ValueError("no part was sent")
        stored = await self._finish(lambda: multipart.complete(size, crc32), size)
        self._multipart = None
        return stored

    async def _finish(self, write: Callable[[], Awaitable[StoredArchive]], size: int) -> StoredArchive:
        begun = monotonic()
        for attempt in itertools.count(1):
            self._confirm()  # as late as can be: nothing may appear once the lease is lost
            try:
                return await write()
            except ArchiveExists:  # or our own write, whose answer was lost, standing in its own way
                return await self._ours(size)
            except Temporary as error:
                log.warning("upload.unsettled", reason=str(error), attempt=attempt)
                if await patiently(lambda: self._store.find(self._target.key)) is not None:
                    return await self._ours(size)
                if attempt >= TRIES and monotonic() - begun >= SECONDS:
                    raise
                await asyncio.sleep(full_jitter(attempt, BASE, CAP, random.uniform))
        raise AssertionError

    async def _ours(self, size: int) -> StoredArchive:
        """What stands at the key, if it is what we wrote."""
        found = await patiently(lambda: self._store.find(self._target.key))
        if found is None:
            raise Temporary("the archive's key is taken, but what stands there can't be seen")
        if found.metadata.get(TOKEN) != self._target.metadata[TOKEN] or found.size != size:
            raise ArchiveExists(self._target.key)
        return found

    async def undo(self) -> None:
        """Abort what was begun. Never raises: what stays behind is said in the log, and swept when the job settles."""
        if self._multipart is None:
            return
        try:
            await patiently(self._multipart.abort, tries=3, seconds=0)
        except Exception as error:  # noqa: BLE001 - the job's own failure must not be hidden behind this one
            log.warning("upload.orphaned", key=self._target.key, reason=str(error))


@asynccontextmanager
async def uploading(store: ObjectStore, target: Target, confirm: Callable[[], None]) -> AsyncIterator[Upload]:
    """
    An Upload that is aborted unless it was completed, whatever ends the block, cancellation included.
    *confirm* is called right before the archive appears and raises LeaseLost where we may not write any more.
    """
    upload = Upload(store, target, confirm)
    try:
        yield upload
    finally:
        undoing = asyncio.create_task(upload.undo(), name="upload.undo")
        cancelled = None
        while not undoing.done():  # bounded by its tries; a cancellation goes on afterwards
            try:
                await asyncio.wait([undoing])
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled


async def patiently(call: Callable[[], Awaitable[T]], tries: int = TRIES, seconds: float | None = None) -> T:
    """
    Call until it works, on Temporary errors; given up after *tries* and *seconds* (SECONDS unless given), both.

    In the time that this takes at the least it is found out whether the other side answers anyone: a place that is
    down is no reason to give up here.
    """
    begun = monotonic()
    for attempt in itertools.count(1):
        try:
            return await call()
        except Temporary:
            if attempt >= tries and monotonic() - begun >= (SECONDS if seconds is None else seconds):
                raise
            await asyncio.sleep(full_jitter(attempt, BASE, CAP, random.uniform))
    raise AssertionError
