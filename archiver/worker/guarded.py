"""The seams to stores and queues, each call of which goes through `Health`: while a place is down, calls wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.ports import (
    Attribute,
    Message,
    MessageSource,
    MultipartUpload,
    Note,
    Notifier,
    ObjectReader,
    ObjectStore,
    Rejection,
    StoredArchive,
    Target,
)
from archiver.worker.breaker import Health, Place, Probe

DESTINATION = "S3_DESTINATION_BUCKET"
SOURCE = "S3_SOURCE_BUCKET"
ELSEWHERE = "the buckets of requests"


class GuardedStore:
    """An ObjectStore. What tidies up (`abort`, `sweep`) is never held: it runs while a job is on its way out."""

    def __init__(self, inner: ObjectStore, health: Health) -> None:
        self._inner = inner
        self._health = health
        self.sweep = inner.sweep

    async def find(self, key: str) -> StoredArchive | None:
        return await self._health.call(Place(DESTINATION, "find"), lambda: self._inner.find(key))

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        return await self._health.call(Place(DESTINATION, "put"), lambda: self._inner.put(target, body, crc32))

    async def begin(self, target: Target) -> MultipartUpload:
        upload = await self._health.call(Place(DESTINATION, "begin"), lambda: self._inner.begin(target))
        return _GuardedUpload(upload, self._health)


class _GuardedUpload:
    def __init__(self, inner: MultipartUpload, health: Health) -> None:
        self._inner = inner
        self._health = health
        self.abort = inner.abort

    async def part(self, number: int, body: memoryview, crc32: int) -> None:
        await self._health.call(Place(DESTINATION, "part"), lambda: self._inner.part(number, body, crc32))

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        return await self._health.call(Place(DESTINATION, "complete"), lambda: self._inner.complete(size, crc32))


@dataclass(frozen=True, slots=True)
class Sources:
    """
    *bucket*: the operator's own, None where there is none. *probe*: a location in it that may be asked for, whether or
    not an object is there. *elsewhere* asks the store at large: other buckets are named by requests, and what is wrong
    with one of them alone is no reason to hold anything.
    """

    bucket: str | None
    probe: Location | None
    elsewhere: Probe


class GuardedReader:
    """An ObjectReader."""

    def __init__(self, inner: ObjectReader, sources: Sources, health: Health) -> None:
        self._inner = inner
        self._sources = sources
        self._health = health

    async def head(self, location: Location) -> ObjectInfo:
        place, probe = self._asked("head", location)
        return await self._health.call(place, lambda: self._inner.head(location), probe)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        place, probe = self._asked("read", location)
        await self._health.call(place, lambda: self._inner.read(location, etag, start, into), probe)

    def _asked(self, call: str, location: Location) -> tuple[Place, Probe]:
        known = self._sources.probe
        if location.bucket != self._sources.bucket or known is None:
            return Place(ELSEWHERE, call), self._sources.elsewhere
        if call == "head":
            return Place(SOURCE, call), lambda: self._inner.head(known)
        return Place(SOURCE, call), lambda: self._inner.read(known, '"none"', 0, [memoryview(bytearray(1))])


class GuardedNotifier:
    """A Notifier; *name* is the setting that names its queue."""

    def __init__(self, inner: Notifier, name: str, health: Health) -> None:
        self._inner = inner
        self._place = Place(name, "send")
        self._health = health

    def room_for(self, attributes: Mapping[str, Attribute]) -> int:
        return self._inner.room_for(attributes)

    async def send(self, note: Note) -> None:
        await self._health.call(self._place, lambda: self._inner.send(note))


class GuardedSource:
    """
    A MessageSource. Its dead-letter queue is a queue as any other; the rest is bounded by the lease, and by the loop
    that receives.
    """

    def __init__(self, inner: MessageSource, health: Health) -> None:
        self._inner = inner
        self._health = health
        self.receive = inner.receive
        self.hide = inner.hide
        self.delete = inner.delete

    async def reject(self, message: Message, rejection: Rejection) -> None:
        place = Place("the dead-letter queue", "send")
        await self._health.call(place, lambda: self._inner.reject(message, rejection))
