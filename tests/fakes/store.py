"""In-memory S3 for writing: conditional writes and multipart uploads to one bucket."""

import asyncio
import hashlib
import itertools
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from archiver.core.attributes import Attributes
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ArchiveExists,
    ArchiverError,
    ConfigurationError,
    CopyRefused,
    Rejected,
    SourceChanged,
    TransientError,
)
from archiver.ports import StoredArchive, Target
from fakes.faults import Faults, InFlightGauge
from fakes.objects import FakeS3, StoredObject, etag_of

MIN_PART_BYTES = 5 * 1024 * 1024
MAX_PARTS = 10_000


@dataclass
class _Pending:
    """One multipart upload in progress."""

    target: Target
    created_at: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


class FakeStore:
    """
    An ObjectStore on one bucket of *s3*. *min_part_bytes*: minimum size of each part except the last (0: any).

    `gone`: the bucket does not exist. `events`: the writes in order. `pending`: multipart uploads that are neither
    completed nor aborted. `attributes`: of each key that was written. `gauge` counts the bytes of bodies being sent.
    """

    def __init__(self, s3: FakeS3, bucket: str = "archives", *, min_part_bytes: int = MIN_PART_BYTES) -> None:
        self.s3 = s3
        self.bucket = bucket
        self.min_part_bytes = min_part_bytes
        self.gone = False
        self.faults = Faults()
        self.gauge = InFlightGauge()
        self.events: list[str] = []
        self.pending: dict[str, _Pending] = {}
        self.attributes: dict[str, Attributes] = {}
        self._numbers = itertools.count(1)

    async def find(self, key: str) -> StoredArchive | None:
        async with self.faults("find"):
            blob = self.s3.objects.get(Location(self.bucket, key))
            if blob is None or self.gone:
                return None
            return StoredArchive(len(blob.data), blob.etag, blob.crc32, blob.metadata)

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        async with self.faults("put"):
            self._there()
            with self.gauge.holding(len(body)):
                data = _checked(body, crc32)
            stored = self._write(target, data, etag_of(data))
            self.events.append("put")
            return stored

    async def create_upload(self, target: Target) -> "FakeUpload":
        async with self.faults("begin"):
            self._there()
            name = f"upload-{next(self._numbers)}"
            self.pending[name] = _Pending(target, datetime.now(UTC))
            self.events.append("begin")
            return FakeUpload(self, name)

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        async with self.faults("sweep"):
            for name, pending in list(self.pending.items()):
                if pending.target.key == key and (before is None or pending.created_at < before):
                    del self.pending[name]

    def _there(self) -> None:
        if self.gone:
            raise ConfigurationError(f"the bucket {self.bucket} does not exist")

    def _write(self, target: Target, data: bytes, etag: str) -> StoredArchive:
        location = Location(self.bucket, target.key)
        there = self.s3.objects.get(location)
        if (there is not None or target.overwrites) and target.overwrites not in ("*", there and there.etag):
            raise ArchiveExists(f"{location} is taken")
        self.attributes[target.key] = target.attributes
        modified = datetime.now(UTC).replace(microsecond=0)
        self.s3.objects[location] = StoredObject(
            data, etag, modified, target.content_type, target.disposition, dict(target.metadata)
        )
        return StoredArchive(len(data), etag, zlib.crc32(data), target.metadata)


class FakeUpload:
    """A MultipartUpload of a `FakeStore`. A second part with the same number replaces the first."""

    def __init__(self, store: FakeStore, name: str) -> None:
        self.name = self.id = name
        self._store = store

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        async with self._store.faults("part"):
            if not 1 <= number <= MAX_PARTS:
                raise TransientError(f"part {number}: part numbers go from 1 to {MAX_PARTS}")
            with self._store.gauge.holding(len(body)):
                await asyncio.sleep(0)
                self._pending(ArchiveExists).parts[number] = _checked(body, crc32)
            self._store.events.append(f"part {number}")

    async def copy(self, number: int, source: ObjectVersion, start: int, length: int) -> int:
        async with self._store.faults("copy"):
            parts = self._pending(ArchiveExists).parts
            blob = self._store.s3.objects.get(source.location)
            if blob is None or blob.etag != source.etag:
                raise SourceChanged("the object is no longer this version", gone=blob is None)
            if source.location.role or len(blob.data) <= MIN_PART_BYTES or start + length > len(blob.data):
                raise CopyRefused("no such range of this object is copied", source.location)
            parts[number] = blob.data[start : start + length]
            self._store.events.append(f"copy {number}")
            return zlib.crc32(parts[number])

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        async with self._store.faults("complete"):
            pending = self._pending(ArchiveExists)  # an earlier complete may have succeeded and its response been lost
            parts = [pending.parts[number] for number in sorted(pending.parts)]
            if any(len(part) < self._store.min_part_bytes for part in parts[:-1]):
                raise Rejected("internal", "a part that is not the last is too small")
            data = b"".join(parts)
            if len(data) != size:
                raise Rejected("internal", f"{size} bytes announced, {len(data)} sent")
            _checked(memoryview(data), crc32)
            stored = self._store._write(pending.target, data, _multipart_etag(parts))
            del self._store.pending[self.name]
            self._store.events.append("complete")
            return stored

    async def abort(self) -> None:
        async with self._store.faults("abort"):
            self._store.pending.pop(self.name, None)
            self._store.events.append("abort")

    def _pending(self, gone: type[ArchiverError]) -> _Pending:
        if self.name not in self._store.pending:
            raise gone("NoSuchUpload: the upload was completed or aborted")
        return self._store.pending[self.name]


def _checked(body: memoryview, crc32: int) -> bytes:
    if zlib.crc32(body) != crc32:
        raise TransientError("BadDigest: the CRC-32 is not that of the bytes that arrived")
    return bytes(body)


def _multipart_etag(parts: list[bytes]) -> str:
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'
