"""
Parts out, undone on any failure.

An archive of one part is one conditional PutObject; a larger one a multipart upload. Either way it appears whole or
not at all. A write whose answer was lost is settled by looking, never by guessing: the upload's token stands in the
object's metadata.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from archiver.errors import ArchiveExists, Temporary
from archiver.ports import MultipartUpload, ObjectStore, StoredArchive, Target
from archiver.stages.retry import TRIES, Run, patiently

log = structlog.get_logger(__name__)

TOKEN = "archiver-token"  # noqa: S105 - the name of a metadata field
UPLOAD_SECONDS = 60.0  # as long as reads: a network is away for half a minute now and then
PART_SECONDS = 300.0  # as long as reads are throttled: behind one part stand hours of others


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
                self._multipart = await patiently(lambda: self._store.begin(self._target), seconds=UPLOAD_SECONDS)
        multipart = self._multipart
        await patiently(lambda: multipart.part(number, body, crc32), seconds=PART_SECONDS)

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
        run = Run(TRIES, UPLOAD_SECONDS)
        while True:
            self._confirm()  # as late as can be: nothing may appear once the lease is lost
            try:
                return await write()
            except ArchiveExists:  # or our own write, whose answer was lost, standing in its own way
                return await self._ours(size)
            except Temporary as error:
                wait = run.failed()
                log.warning("upload.unsettled", reason=str(error), attempt=run.tries)
                if await find(self._store, self._target.key) is not None:
                    return await self._ours(size)
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _ours(self, size: int) -> StoredArchive:
        """What stands at the key, if it is what we wrote."""
        found = await find(self._store, self._target.key)
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


async def find(store: ObjectStore, key: str) -> StoredArchive | None:
    """What stands at *key*, asked as patiently as all that an archive needs. Raises Temporary, ConfigurationFault."""
    return await patiently(lambda: store.find(key), seconds=UPLOAD_SECONDS)
