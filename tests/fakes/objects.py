"""In-memory S3 for reading: buckets of objects, and an ObjectReader on them."""

import asyncio
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from archiver.core.locations import Location
from archiver.core.messages import Tier
from archiver.core.objects import Listed, ListPage, ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import (
    ArchiverError,
    Code,
    SourceArchived,
    SourceChanged,
    SourceUnavailable,
    TransferInterrupted,
)
from archiver.ports import ReadQueue, Unanswered, WholeRead
from fakes.faults import Faults, InFlightGauge

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class StoredObject:
    """One object. *error_code*: the code of failing reads; *head_succeeds*: HEAD succeeds nevertheless."""

    data: bytes
    etag: str
    modified: datetime
    content_type: str = "binary/octet-stream"
    disposition: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    error_code: Code | None = None
    head_succeeds: bool = False
    restoring: bool = False
    tiered: bool = False

    @property
    def crc32(self) -> int:
        return zlib.crc32(self.data)


class FakeS3:
    """Buckets of objects, shared by readers and stores."""

    def __init__(self) -> None:
        self.objects: dict[Location, StoredObject] = {}
        self.buckets: set[str] = set()
        self.unlistable: dict[str, Code] = {}

    def put(
        self, bucket: str, key: str, data: bytes, *, content_type: str = "binary/octet-stream", role: str = ""
    ) -> Location:
        """Write or overwrite an object, which *role* alone can see. Its ETag depends on its bytes."""
        location = Location(bucket, key, role)
        self.buckets.add(bucket)
        modified = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
        self.objects[location] = StoredObject(data, etag_of(data), modified, content_type)
        return location

    def make_unavailable(self, location: Location, error_code: Code, *, head_succeeds: bool = False) -> None:
        """
        Make reads of *location* fail with *error_code* from now on. *head_succeeds*: HEAD still succeeds.

        A missing object needs no call: it is simply not written.
        """
        self.objects[location] = replace(self.objects[location], error_code=error_code, head_succeeds=head_succeeds)


class FakeReader:
    """
    An ObjectReader. Listings have pages of `page_size`; `on_list` is called before each. `on_read` is called with the
    location and offset of each piece before it is copied, for example to replace an object during a read. `cut`
    interrupts reads.
    """

    def __init__(self, s3: FakeS3) -> None:
        self.s3 = s3
        self.faults = Faults()
        self.gauge = InFlightGauge()
        self.reads: list[tuple[Location, int, int]] = []
        self.gets: list[Location] = []
        self._heads: list[Location] = []
        self.lists: list[tuple[Prefix, str]] = []
        self.page_size = 1000
        self.on_list: Callable[[Prefix, str], None] = lambda _prefix, _token: None
        self.on_read: Callable[[Location, int], None] = lambda _location, _offset: None
        self.at_once = 64
        """Bytes of a body that `serve` receives along with the head."""
        self._interruptions: dict[Location, list[int]] = {}

    @property
    def heads(self) -> list[Location]:
        """The HEADs that were no part of a GET."""
        gets, heads = Counter(self.gets), []
        for location in self._heads:
            if gets[location]:
                gets[location] -= 1
            else:
                heads.append(location)
        return heads

    def cut(self, location: Location, after: int, times: int = 1) -> None:
        """Interrupt the next *times* reads of *location* after *after* bytes."""
        self._interruptions.setdefault(location, []).extend([after] * times)

    async def head(self, location: Location) -> ObjectInfo:
        self._heads.append(location)
        async with self.faults("head"):
            blob = self.s3.objects.get(location)
            if blob is None:
                raise SourceUnavailable("source_missing", f"{location} does not exist")
            if blob.error_code == "source_archived" and not blob.head_succeeds:
                raise SourceArchived(f"{location} is archived", restoring=blob.restoring, tiered=blob.tiered)
            if blob.error_code is not None and not blob.head_succeeds:
                raise SourceUnavailable(blob.error_code, f"{location} can't be read")
            size, crc32 = len(blob.data), blob.crc32
            return ObjectInfo(size, blob.etag, blob.modified, blob.content_type, crc32, blob.metadata)

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        async with self.faults("list"):
            self.lists.append((prefix, token))
            self.on_list(prefix, token)
            bucket, begin = prefix.location.bucket, prefix.location.key
            if bucket in self.s3.unlistable:
                raise SourceUnavailable(self.s3.unlistable[bucket], f"{bucket} can't be listed")
            if bucket not in self.s3.buckets:
                raise SourceUnavailable("source_missing", "no such bucket")
            keys = sorted(
                location.key
                for location in self.s3.objects
                if (location.bucket, location.role) == (bucket, prefix.location.role)
                and location.key.startswith(begin)
                and location.key > token
            )
            found = [key for key in keys if prefix.recursive or "/" not in key[len(begin) :]]
            page = found[: self.page_size]
            return ListPage(
                [self._listed(Location(bucket, key, prefix.location.role)) for key in page],
                page[-1] if len(page) < len(found) else "",
            )

    def _listed(self, location: Location) -> Listed:
        blob = self.s3.objects[location]
        archived = blob.error_code == "source_archived" and not blob.tiered
        return Listed(location.key, len(blob.data), blob.etag, blob.modified, archived, blob.tiered)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        wanted = sum(len(view) for view in into)
        self.reads.append((location, start, wanted))
        cuts = self._interruptions.get(location)
        available = min(wanted, cuts.pop(0)) if cuts else wanted
        async with self.faults("read"):
            with self.gauge.holding(wanted):
                done = await self._copy(location, etag, start, into, available)
            if done < wanted:
                raise TransferInterrupted("the connection was lost", received=done)

    async def serve(self, queue: ReadQueue) -> Unanswered | None:
        """Here, a GET is a HEAD and a read in one: what fails for either fails for it."""
        while (read := queue.next()) is not None:
            try:
                if read.method == "GET":
                    self.gets.append(read.location)
                info = await self.head(read.location)
                body = await self._body(queue, read, info) if read.method == "GET" else None
            except ArchiverError as error:
                return Unanswered(read, str(error), isinstance(error, TransferInterrupted) and error.throttled)
            queue.arrived(read, info, body)
        return None

    async def _body(self, queue: ReadQueue, read: WholeRead, info: ObjectInfo) -> memoryview | None:
        at_once = info.size <= self.at_once
        body = memoryview(bytearray(info.size)) if at_once else queue.space(read, info.size)
        if body:
            await self.read(read.location, read.etag or info.etag, 0, [body])
        return body

    async def _copy(self, location: Location, etag: str, start: int, into: Sequence[memoryview], available: int) -> int:
        data = memoryview(self._object_version(location, etag).data)[start : start + available]
        done = 0
        for view in into:
            for begin in range(0, len(view), CHUNK_BYTES):
                self.on_read(location, start + done)
                piece = data[done : done + min(CHUNK_BYTES, len(view) - begin)]
                view[begin : begin + len(piece)] = piece
                done += len(piece)
                await asyncio.sleep(0)
        return done

    def _object_version(self, location: Location, etag: str) -> StoredObject:
        blob = self.s3.objects.get(location)
        if blob is None:
            raise SourceChanged("the object is gone", gone=True)
        if blob.error_code is not None:
            raise SourceUnavailable(blob.error_code, f"{location} may not be read")
        if blob.etag != etag:
            raise SourceChanged("another ETag than was planned")
        return blob


class FakeRestorer:
    """An ObjectRestorer. A restore runs until `finish` is called; `asked` has every call."""

    def __init__(self, s3: FakeS3) -> None:
        self.s3 = s3
        self.faults = Faults()
        self.asked: list[tuple[Location, Tier, int | None]] = []

    async def restore(self, location: Location, tier: Tier, days: int | None) -> None:
        async with self.faults("restore"):
            self.asked.append((location, tier, days))
            blob = self.s3.objects.get(location)
            if blob is None:
                raise SourceUnavailable("source_missing", f"{location} does not exist")
            if blob.error_code == "source_archived":
                self.s3.objects[location] = replace(blob, restoring=True)

    def finish(self, location: Location) -> None:
        """Make *location* readable, as S3 does hours later."""
        self.s3.objects[location] = replace(self.s3.objects[location], error_code=None, restoring=False)


def etag_of(data: bytes) -> str:
    """Return the ETag of an object written with a single PUT, with quotes."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
