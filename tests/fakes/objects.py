"""S3 in memory, read: buckets of objects, and the ObjectReader on them."""

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.errors import Code, Interrupted, SourceChanged, SourceUnavailable
from fakes.faults import Faults, Gauge

PIECE = 64 * 1024


@dataclass(frozen=True)
class Blob:
    """One object. *trouble*: why it can't be had, as S3 would say it; *unseen*: which HEAD does not know."""

    data: bytes
    etag: str
    modified: datetime
    content_type: str = "binary/octet-stream"
    disposition: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    trouble: Code | None = None
    unseen: bool = False

    @property
    def crc32(self) -> int:
        return zlib.crc32(self.data)


class MemoryS3:
    """Buckets of objects, shared by readers and stores."""

    def __init__(self) -> None:
        self.blobs: dict[Location, Blob] = {}

    def put(self, bucket: str, key: str, data: bytes, *, content_type: str = "binary/octet-stream") -> Location:
        """Write an object, or write over it: its ETag changes with its bytes."""
        location = Location(bucket, key)
        modified = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
        self.blobs[location] = Blob(data, etag_of(data), modified, content_type)
        return location

    def spoil(self, location: Location, trouble: Code, *, unseen: bool = False) -> None:
        """
        From now on *location* is denied or archived; missing objects are simply not there. *unseen*: reads are refused,
        HEAD is answered.
        """
        self.blobs[location] = replace(self.blobs[location], trouble=trouble, unseen=unseen)


class MemoryReader:
    """
    An ObjectReader. `on_read` is called with every piece's location and offset, before it is copied: the place to
    replace an object under a read. `cut` breaks reads off.
    """

    def __init__(self, s3: MemoryS3) -> None:
        self.s3 = s3
        self.faults = Faults()
        self.gauge = Gauge()
        self.reads: list[tuple[Location, int, int]] = []
        self.on_read: Callable[[Location, int], None] = lambda _location, _offset: None
        self._cuts: dict[Location, list[int]] = {}

    def cut(self, location: Location, after: int, times: int = 1) -> None:
        """The next *times* reads of *location* break off after *after* bytes."""
        self._cuts.setdefault(location, []).extend([after] * times)

    async def head(self, location: Location) -> ObjectInfo:
        async with self.faults("head"):
            blob = self.s3.blobs.get(location)
            if blob is None:
                raise SourceUnavailable("source_missing", f"{location} does not exist")
            if blob.trouble is not None and not blob.unseen:
                raise SourceUnavailable(blob.trouble, f"{location} can't be read")
            size, crc32 = len(blob.data), blob.crc32
            return ObjectInfo(size, blob.etag, blob.modified, blob.content_type, crc32, blob.metadata)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        wanted = sum(len(view) for view in into)
        self.reads.append((location, start, wanted))
        cuts = self._cuts.get(location)
        good = min(wanted, cuts.pop(0)) if cuts else wanted
        async with self.faults("read"):
            with self.gauge.holding(wanted):
                done = await self._copy(location, etag, start, into, good)
            if done < wanted:
                raise Interrupted("the connection was lost", received=done)

    async def _copy(self, location: Location, etag: str, start: int, into: Sequence[memoryview], good: int) -> int:
        data = memoryview(self._pinned(location, etag).data)[start : start + good]
        done = 0
        for view in into:
            for begin in range(0, len(view), PIECE):
                self.on_read(location, start + done)
                piece = data[done : done + min(PIECE, len(view) - begin)]
                view[begin : begin + len(piece)] = piece
                done += len(piece)
                await asyncio.sleep(0)
        return done

    def _pinned(self, location: Location, etag: str) -> Blob:
        blob = self.s3.blobs.get(location)
        if blob is None:
            raise SourceChanged("the object is gone", gone=True)
        if blob.trouble is not None:
            raise SourceUnavailable(blob.trouble, f"{location} may not be read")
        if blob.etag != etag:
            raise SourceChanged("another ETag than was planned")
        return blob


def etag_of(data: bytes) -> str:
    """The ETag of an object that was written whole, quotes included."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
