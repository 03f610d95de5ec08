"""
Upload of one archive: completed, aborted, or left on purpose with a record of it.

An archive of one part is one conditional PutObject; a larger one is a multipart upload. Either way it appears complete
or not at all. If the response to a write is lost, a HEAD shows the result: the object's metadata contains the upload's
token.

Before that its seal is written, so that no archive appears without one. The seal of an archive that can't appear any
more is discarded. If that is not known (no response, and nothing at the key), the seal is kept.

An upload with a record is left where it is if the job ends for now, and another worker may go on: a shutdown, a lost
lease, an outage. It is aborted, and its record removed, if its archive is not wanted any more: an object has changed,
the job is rejected, or the store refused to complete it. Who has lost the lease aborts nothing, since another worker
may have gone on by then; what both send is the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from archiver.core.kept import NOTHING_KEPT, Checksums, Kept
from archiver.core.plan import ObjectVersion
from archiver.core.receipt import Contents
from archiver.errors import (
    ArchiveExists,
    ArchiverError,
    ConfigurationError,
    LeaseLost,
    RequestRefused,
    TransientError,
)
from archiver.ports import Hold, MultipartUpload, ObjectStore, StoredArchive, Target
from archiver.stages.retry import MIN_ATTEMPTS, Attempts, retry_transient
from archiver.stages.tracing import span
from archiver.stages.undo import run_to_its_end

log = structlog.get_logger(__name__)

TOKEN = "archiver-token"  # noqa: S105 - the name of a metadata field
UPLOAD_RETRY_SECONDS = 60.0  # as for reads: network outages of half a minute occur
PART_RETRY_SECONDS = 300.0  # as for throttled reads: a failed part would waste the hours spent on earlier parts


class Seal(Protocol):
    """What is written beside an archive before it appears: its receipt."""

    async def write(self, contents: Contents, size: int, crc32: int) -> None:
        """Write it, for an archive of *size* bytes. Raises LeaseLost, TransientError, ConfigurationError."""

    async def discard(self) -> None:
        """Delete it, if it may have been written. Never raises."""


class Record(Protocol):
    """What is written beside the key of an unfinished upload, for a worker that goes on with it."""

    async def begin(self, upload_id: str) -> None:
        """Write it, before any part is sent. Raises LeaseLost."""

    async def before_part(self, size: int) -> None:
        """Write it again if it is time, before a part of *size* bytes is sent. Raises LeaseLost."""

    async def leave(self) -> bool:
        """Write it for the last time. Return whether it is there; if not, the upload is aborted. Never raises."""

    async def remove(self) -> None:
        """Delete it: the upload is completed or aborted. Never raises."""


@dataclass(slots=True)
class Resumable:
    """
    What makes an upload one that can be left. *lease*: the job's. *multipart*: the upload of an earlier worker, with
    the parts that are *kept* of it; None: there is none yet. *sums*: the checksums of this build, for the *record*.
    """

    record: Record
    lease: Hold
    sums: Checksums = field(default_factory=Checksums)
    kept: Kept = NOTHING_KEPT
    multipart: MultipartUpload | None = None


class ArchiveUpload:
    """The upload of one archive. Created by `open_upload`."""

    def __init__(
        self, store: ObjectStore, target: Target, hold: Hold, seal: Seal | None, resumable: Resumable | None = None
    ) -> None:
        self._store = store
        self._target = target
        self._hold = hold
        self._seal = seal
        self._may_appear = False  # a write was sent, and was not certainly refused
        self._record = resumable.record if resumable else None
        self._lease = resumable.lease if resumable else hold
        self._is_trusted = True  # whether a worker that goes on could finish it
        self._multipart: MultipartUpload | None = resumable.multipart if resumable else None
        self._create_lock = asyncio.Lock()
        self.kept = resumable.kept if resumable else NOTHING_KEPT
        self.sums = resumable.sums if resumable else Checksums()

    def check_kept(self, index: int, crc: int) -> None:
        """Raise TransientError if the record tells another CRC-32 of a member, which its header may have."""
        if self.kept.crcs and self.kept.crcs.get(index, crc) != crc:
            self.distrust()
            raise TransientError(f"the member {index} has not the CRC-32 of the record")

    def distrust(self) -> None:
        """What was kept does not fit: the upload is not left, and the next worker begins anew."""
        self._is_trusted = False

    def set_part_size(self, size: int) -> None:
        """Decide the size of all parts but the last, before the first is sent."""
        self._target = replace(self._target, part_size=size)

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        """
        Send part *number* (from 1). Parts may be sent concurrently and in any order; the first one creates the upload.

        Raises TransientError.
        """
        multipart = await self._created()
        if self.kept.sent.get(number - 1) == crc32:
            return  # an earlier worker has sent the same bytes
        if self._record is not None:
            await self._record.before_part(len(body))
        await retry_transient(lambda: multipart.upload_part(number, body, crc32), seconds=PART_RETRY_SECONDS)

    async def copy(self, number: int, source: ObjectVersion, start: int, length: int, seconds: float) -> int:
        """
        Have the store copy *length* bytes of *source* from *start* as part *number*, in one attempt; return their
        CRC-32. Raises CopyRefused, SourceChanged, TransientError; TimeoutError if that takes more than *seconds*.
        """
        multipart = await self._created()
        if self._record is not None:
            await self._record.before_part(0)  # it costs no bytes to copy again: only the time counts
        async with asyncio.timeout(seconds):
            return await multipart.copy(number, source, start, length)

    async def _created(self) -> MultipartUpload:
        async with self._create_lock:
            if self._multipart is None:
                self._multipart = await retry_transient(
                    lambda: self._store.create_upload(self._target), seconds=UPLOAD_RETRY_SECONDS
                )
                if self._record is not None:
                    await self._record.begin(self._multipart.id)
        return self._multipart

    async def put(self, body: memoryview, crc32: int, contents: Contents) -> StoredArchive:
        """Send and publish the whole archive at once. Raises ArchiveExists, TransientError, LeaseLost."""
        await self._write_seal(contents, len(body), crc32)
        return await self._publish(lambda: self._store.put(self._target, body, crc32), len(body))

    async def complete(self, size: int, crc32: int, contents: Contents) -> StoredArchive:
        """Publish the archive of *size* bytes from its parts. Raises ArchiveExists, TransientError, LeaseLost."""
        multipart = self._multipart
        if multipart is None:
            raise ValueError("no part was sent")
        await self._write_seal(contents, size, crc32)
        stored = await self._publish(lambda: multipart.complete(size, crc32), size)
        self._multipart = None
        return stored

    async def _write_seal(self, contents: Contents, size: int, crc32: int) -> None:
        if self._seal is not None:
            await self._seal.write(contents, size, crc32)

    async def _publish(self, write: Callable[[], Awaitable[StoredArchive]], size: int) -> StoredArchive:
        run = Attempts(MIN_ATTEMPTS, UPLOAD_RETRY_SECONDS)
        while True:
            self._hold.confirm()  # as late as possible: no write may be published after the lease is lost
            appears_by_earlier_write, self._may_appear = self._may_appear, True
            try:
                return await write()
            except ArchiveExists:  # possibly our own earlier write, whose response was lost
                return await self._find_own_write(size)
            except TransientError as error:
                if isinstance(error, RequestRefused):
                    self._may_appear, self._is_trusted = appears_by_earlier_write, False
                wait = run.next_wait()
                log.warning("upload.unsettled", reason=str(error), attempt=run.tries)
                found = await find(self._store, self._target.key)
                if found is not None and not self._replaces(found):
                    return await self._find_own_write(size)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
            except ArchiverError:  # refused: this write has no effect
                self._may_appear, self._is_trusted = appears_by_earlier_write, False
                raise

    def _replaces(self, found: StoredArchive) -> bool:
        """Whether *found* is an object that is still to be replaced."""
        return not self._is_own(found) and self._target.overwrites in ("*", found.etag)

    def _is_own(self, found: StoredArchive) -> bool:
        return found.metadata.get(TOKEN) == self._target.metadata[TOKEN]

    async def _find_own_write(self, size: int) -> StoredArchive:
        """Return the archive at the key if this upload wrote it. Raises ArchiveExists, TransientError."""
        found = await find(self._store, self._target.key)
        if found is None:
            raise TransientError("the archive's key exists, but HEAD does not find the object")
        own = self._is_own(found)
        if not own or found.size != size:
            self._may_appear = own
            raise ArchiveExists(self._target.key)
        return found

    async def end(self, error: BaseException | None) -> None:
        """
        Leave the upload if it has a record and *error* may pass; else abort it, if one was created, and discard the
        seal unless the archive may appear. Never raises: an upload that remains is logged, and aborted when the job
        ends.
        """
        if self._multipart is not None:
            if self._record is not None and self._may_go_on(error) and await self._record.leave():
                return
            try:
                await retry_transient(self._multipart.abort, tries=3, seconds=0)
            except Exception as failure:  # noqa: BLE001 - it must not replace the failure of the job
                log.warning("upload.orphaned", key=self._target.key, reason=str(failure))
        if self._record is not None:
            await self._record.remove()
        if self._seal is not None and not self._may_appear:
            await self._seal.discard()

    def _may_go_on(self, error: BaseException | None) -> bool:
        """Whether another worker may go on with this upload, or does so already."""
        try:
            self._lease.confirm()
        except LeaseLost:
            return True
        passes = isinstance(error, asyncio.CancelledError | LeaseLost | TransientError | ConfigurationError)
        return passes and self._is_trusted


@asynccontextmanager
async def open_upload(
    store: ObjectStore, target: Target, hold: Hold, seal: Seal | None, resumable: Resumable | None = None
) -> AsyncIterator[ArchiveUpload]:
    """
    Yield an `ArchiveUpload` that is aborted unless it was completed, even if the block is cancelled. A *resumable* one
    may be left instead.

    *hold* is confirmed right before the archive is published. *seal*: None for an archive in a file.
    """
    upload, failure = ArchiveUpload(store, target, hold, seal, resumable), None
    try:
        with span("upload"):
            yield upload
    except BaseException as error:
        failure = error
        raise
    finally:
        ending, failure = upload.end(failure), None
        await run_to_its_end(ending, "upload.end")


async def find(store: ObjectStore, key: str) -> StoredArchive | None:
    """
    HEAD the archive at *key*, with retries for `UPLOAD_RETRY_SECONDS`; None if it does not exist.

    Raises TransientError, ConfigurationError.
    """
    return await retry_transient(lambda: store.find(key), seconds=UPLOAD_RETRY_SECONDS)
