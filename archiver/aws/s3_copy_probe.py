"""
Whether a store copies parts as archives need it. It is observed, once, on two objects of the destination bucket.

Every check that asks the store to refuse something has a twin that asks it to accept the same thing, right: a store
that refuses everything proves nothing. The objects are named like receipts, so that a worker may write and delete them;
where it may not, nothing is proved. Each is deleted by its name, and the upload aborted by its id, which takes no right
to list; what could not be removed is logged. What a killed worker has left the next one removes. About 20 requests, and
10 MiB beside the memory budget while they run.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from time import monotonic

import structlog

from archiver.aws.endpoint import UnusableNameError
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_receipts import S3Receipts
from archiver.aws.s3_store import S3Store
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_upload import S3Upload
from archiver.aws.s3_uploads import S3Uploads
from archiver.core.layout import MIB
from archiver.core.locations import PROBE_KEY, Location
from archiver.core.plan import ObjectVersion
from archiver.errors import ArchiverError, SourceChanged, TransientError
from archiver.ports import Target
from archiver.stages.checksums import combine_crcs, crc32
from archiver.stages.undo import run_to_its_end

log = structlog.get_logger(__name__)

FIRST, SECOND = (7, 5 * MIB + 1), (0, 5 * MIB)  # (start, length) of the parts that are copied
SOURCE_BYTES = 5 * MIB + 64 * 1024
LAST = b"the last part, of any length"
SECONDS_UNTIL_NEXT_TRY = 3600.0  # after a store has shown that it does not
SECONDS_AFTER_FAILURE = 60.0  # after a failure that may pass
PROBE_SECONDS = 300.0
LEFT_OVER_AFTER = timedelta(hours=1)  # longer than any probe, for clocks that differ
_PREFIX = f"{PROBE_KEY} + & % é/receipt-"  # characters that need encoding
_OTHER_ETAG = '"00000000000000000000000000000000"'


class _Unproved(Exception):
    """One check has another outcome than it must have."""


@contextmanager
def _removing(left: str) -> Iterator[None]:
    """Go on if the block can't remove what is *left* of a probe, and log it."""
    try:
        yield
    except ArchiverError as error:
        log.warning("copies.probe_left", left=left, reason=str(error))


class S3CopyCapability:
    """The CopyCapability of S3, for archives in *bucket*. *reader*: reads with the same credentials."""

    def __init__(self, store: S3Store, calls: S3Calls, reader: S3Reader, bucket: str) -> None:
        self._store = store
        self._calls = calls
        self._reader = reader
        self._bucket = bucket
        self._proving = asyncio.Lock()
        self._proved = False
        self._next_try = float("-inf")
        self.reason = ""
        """Why the store has not shown it, when it was asked last; empty if it has."""

    def reaches(self, bucket: str) -> bool:
        resolve = self._reader.transport.endpoint.resolve
        try:
            return resolve(bucket).region == resolve(self._bucket).region
        except UnusableNameError:
            return False

    def refuted(self) -> bool:
        return not self._proved and monotonic() < self._next_try

    async def proved(self) -> bool:
        async with self._proving:
            if not self._proved and monotonic() >= self._next_try:
                await self._prove()
            return self._proved

    async def _prove(self) -> None:
        reason, seconds = "", SECONDS_UNTIL_NEXT_TRY
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._run()
        except (_Unproved, ArchiverError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            if isinstance(error, TransientError | TimeoutError):
                seconds = SECONDS_AFTER_FAILURE
        self._proved, self._next_try, self.reason = not reason, monotonic() + seconds, reason
        if reason:
            log.info("copies.unproved", bucket=self._bucket, reason=reason)
        else:
            log.info("copies.proved", bucket=self._bucket)

    async def _run(self) -> None:
        """Raises _Unproved, ArchiverError."""
        scratch = [Location(self._bucket, f"{_PREFIX}{token_hex(16)}.json.gz") for _ in range(2)]
        await self._delete(scratch[0])  # before anything is written
        await self._remove_leftovers(datetime.now(UTC) - LEFT_OVER_AFTER)
        try:
            await _Probe(self._store, self._calls, self._reader, *scratch).run()
        finally:  # also if the job that asks is cancelled meanwhile
            await run_to_its_end(self._remove(scratch), "copies.probe.end")

    async def _remove(self, scratch: Sequence[Location]) -> None:
        for location in scratch:
            with _removing(str(location)):
                await self._delete(location)
        await self._abort_uploads(scratch[1].key)  # a repeated request may have begun one more

    async def _remove_leftovers(self, before: datetime) -> None:
        """Remove what probes of other workers wrote *before*, and did not live to delete."""
        await self._abort_uploads(_PREFIX, before)
        with _removing(str(Location(self._bucket, _PREFIX))):
            for listed in await S3Receipts(self._calls, self._bucket).list(_PREFIX):
                if listed.modified < before:
                    location = Location(self._bucket, listed.key)
                    with _removing(str(location)):
                        await self._delete(location)

    async def _abort_uploads(self, prefix: str, before: datetime | None = None) -> None:
        uploads = S3Uploads(self._calls, self._bucket)
        with _removing(f"uploads of {Location(self._bucket, prefix)}"):
            for upload in await uploads.list(prefix):
                if before is None or upload.begun < before:
                    with _removing(f"upload {upload.id} of {Location(self._bucket, upload.key)}"):
                        await uploads.abort(upload.key, upload.id)

    async def _delete(self, location: Location) -> None:
        await self._calls.call(f"DeleteObject {location}", S3Request("DELETE", location))


@dataclass(frozen=True, slots=True)
class _Probe:
    store: S3Store
    calls: S3Calls
    reader: S3Reader
    source: Location
    target: Location

    async def run(self) -> None:
        body = memoryview(random.Random(1).randbytes(SOURCE_BYTES))  # noqa: S311 - any bytes that do not repeat
        put = S3Request("PUT", self.source, body=body)
        etag = await self.calls.send_body(f"PutObject {self.source}", put, crc32(body))
        pinned = ObjectVersion(self.source, etag)
        await self._check_pinned_read(pinned)
        upload = await self.store.create_upload(Target(self.target.key, "attachment"))
        try:
            await self._check_upload(upload, pinned, body)
        except BaseException:
            with _removing(f"upload {upload.id} of {self.target}"):
                await upload.abort()
            raise

    async def _check_upload(self, upload: S3Upload, pinned: ObjectVersion, body: memoryview) -> None:
        crcs = await self._check_copies(upload, pinned, body)
        await self._check_part(upload)
        length = FIRST[1] + SECOND[1] + len(LAST)
        whole = combine_crcs(
            [(0, FIRST[1], crcs[0]), (FIRST[1], SECOND[1], crcs[1]), (length - len(LAST), len(LAST), crc32(LAST))]
        )
        await self._check_completion(upload, length, whole)
        await self._check_content(body, length)

    async def _check_pinned_read(self, pinned: ObjectVersion) -> None:
        """GET obeys If-Match."""
        view = memoryview(bytearray(100))
        try:
            await self.reader.read(pinned.location, _OTHER_ETAG, 0, [view])
        except SourceChanged:
            await self.reader.read(pinned.location, pinned.etag, 0, [view])
        else:
            raise _Unproved("GetObject ignores If-Match")

    async def _check_copies(self, upload: S3Upload, pinned: ObjectVersion, body: memoryview) -> tuple[int, int]:
        """Ranges are copied in any order, with their CRC-32, and only of the version that the condition names."""
        second = await upload.copy(2, pinned, *SECOND)
        try:
            await upload.copy(1, pinned._replace(etag=_OTHER_ETAG), *FIRST)
        except SourceChanged:
            first = await upload.copy(1, pinned, *FIRST)
        else:
            raise _Unproved("UploadPartCopy ignores x-amz-copy-source-if-match")
        for crc, (start, length) in ((first, FIRST), (second, SECOND)):
            if crc != crc32(body[start : start + length]):
                raise _Unproved("the CRC-32 of a copied part is not that of its bytes")
        return first, second

    async def _check_part(self, upload: S3Upload) -> None:
        """The store verifies parts."""
        try:
            await upload.upload_part(3, memoryview(LAST), crc32(LAST) ^ 1)
        except ArchiverError:
            await upload.upload_part(3, memoryview(LAST), crc32(LAST))
        else:
            raise _Unproved("UploadPart accepts a wrong CRC-32")

    async def _check_completion(self, upload: S3Upload, length: int, whole: int) -> None:
        """The store verifies the whole, copied parts too, and the upload survives a refusal."""
        try:
            await upload.complete(length, whole ^ 1)
        except ArchiverError:
            await upload.complete(length, whole)
        else:
            raise _Unproved("CompleteMultipartUpload accepts a wrong CRC-32")

    async def _check_content(self, body: memoryview, length: int) -> None:
        """Parts of different lengths are where they belong."""
        found = await self.store.find(self.target.key)
        if found is None or found.size != length:
            raise _Unproved("the object has another size than its parts")
        copied = memoryview(bytearray(5 * MIB + 1))
        wanted = ((0, body[7 : 8 + 5 * MIB]), (FIRST[1], body[: 5 * MIB]), (length - len(LAST), memoryview(LAST)))
        for start, expected in wanted:
            view = copied[: len(expected)]
            await self.reader.read(self.target, found.etag, start, [view])
            if view != expected:
                raise _Unproved("the parts of the object are not where they belong")
