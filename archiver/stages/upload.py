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

from archiver.errors import ArchiveExists, TransientError
from archiver.ports import Hold, MultipartUpload, ObjectStore, StoredArchive, Target
from archiver.stages.retry import MIN_ATTEMPTS, Attempts, retry_transient

log = structlog.get_logger(__name__)

TOKEN = "archiver-token"  # noqa: S105 - the name of a metadata field
UPLOAD_RETRY_SECONDS = 60.0  # as long as reads: a network is away for half a minute now and then
PART_RETRY_SECONDS = 300.0  # as long as reads are throttled: behind one part stand hours of others


class ArchiveUpload:
    """One archive on its way to the store. Made by `open_upload`."""

    def __init__(self, store: ObjectStore, target: Target, hold: Hold) -> None:
        self._store = store
        self._target = target
        self._hold = hold
        self._multipart: MultipartUpload | None = None
        self._create_lock = asyncio.Lock()

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1), in any order, several at once; the first one begins the upload. Raises
        TransientError.
        """
        async with self._create_lock:
            if self._multipart is None:
                self._multipart = await retry_transient(
                    lambda: self._store.create_upload(self._target), seconds=UPLOAD_RETRY_SECONDS
                )
        multipart = self._multipart
        await retry_transient(lambda: multipart.upload_part(number, body, crc32), seconds=PART_RETRY_SECONDS)

    async def put(self, body: memoryview, crc32: int) -> StoredArchive:
        """Send the whole archive at once and make it appear. Raises ArchiveExists, TransientError, LeaseLost."""
        return await self._publish(lambda: self._store.put(self._target, body, crc32), len(body))

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """Make the archive of *size* bytes appear out of its parts. Raises ArchiveExists, TransientError, LeaseLost."""
        multipart = self._multipart
        if multipart is None:
            raise ValueError("no part was sent")
        stored = await self._publish(lambda: multipart.complete(size, crc32), size)
        self._multipart = None
        return stored

    async def _publish(self, write: Callable[[], Awaitable[StoredArchive]], size: int) -> StoredArchive:
        run = Attempts(MIN_ATTEMPTS, UPLOAD_RETRY_SECONDS)
        while True:
            self._hold.confirm()  # as late as can be: nothing may appear once the lease is lost
            try:
                return await write()
            except ArchiveExists:  # or our own write, whose answer was lost, standing in its own way
                return await self._find_own_write(size)
            except TransientError as error:
                wait = run.next_wait()
                log.warning("upload.unsettled", reason=str(error), attempt=run.tries)
                if await find(self._store, self._target.key) is not None:
                    return await self._find_own_write(size)
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _find_own_write(self, size: int) -> StoredArchive:
        """What stands at the key, if it is what we wrote."""
        found = await find(self._store, self._target.key)
        if found is None:
            raise TransientError("the archive's key is taken, but what stands there can't be seen")
        if found.metadata.get(TOKEN) != self._target.metadata[TOKEN] or found.size != size:
            raise ArchiveExists(self._target.key)
        return found

    async def abort(self) -> None:
        """Abort what was begun. Never raises: what stays behind is said in the log, and swept when the job settles."""
        if self._multipart is None:
            return
        try:
            await retry_transient(self._multipart.abort, tries=3, seconds=0)
        except Exception as error:  # noqa: BLE001 - the job's own failure must not be hidden behind this one
            log.warning("upload.orphaned", key=self._target.key, reason=str(error))


@asynccontextmanager
async def open_upload(store: ObjectStore, target: Target, hold: Hold) -> AsyncIterator[ArchiveUpload]:
    """
    An Upload that is aborted unless it was completed, whatever ends the block, cancellation included.
    *hold* is confirmed right before the archive is published.
    """
    upload = ArchiveUpload(store, target, hold)
    try:
        yield upload
    finally:
        aborting = asyncio.create_task(upload.abort(), name="upload.abort")
        cancelled = None
        while not aborting.done():  # bounded by its tries; a cancellation goes on afterwards
            try:
                await asyncio.wait([aborting])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled


async def find(store: ObjectStore, key: str) -> StoredArchive | None:
    """
    What stands at *key*, asked as patiently as all that an archive needs. Raises TransientError, ConfigurationError.
    """
    return await retry_transient(lambda: store.find(key), seconds=UPLOAD_RETRY_SECONDS)
