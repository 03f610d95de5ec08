"""
Ports behind circuit breakers: while a store or queue is down, calls to it wait.

A message source has none: its calls are bounded by the lease, and by the loop that receives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import Location
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.select import Prefix
from archiver.ports import (
    Attribute,
    DeadLetters,
    Message,
    MultipartUpload,
    Notifier,
    ObjectReader,
    ObjectStore,
    OutgoingMessage,
    Rejection,
    Roles,
    StoredArchive,
    Target,
)
from archiver.stages.receipt import Receipts
from archiver.worker.breaker import CircuitBreakers, Place, Probe

DESTINATION = "S3_DESTINATION_BUCKET"
SOURCE = "S3_SOURCE_BUCKET"
OTHER_BUCKETS = "the buckets of requests"
ROLES = "the roles of POLICY_FILE"
OUTPUTS = "the buckets of outputs"


class GuardedStore:
    """
    An ObjectStore; *name* is what its outages are called by. Clean-up (`abort`, `abort_uploads`) never waits: it runs
    while a job is ending.
    """

    def __init__(self, inner: ObjectStore, breakers: CircuitBreakers, name: str = DESTINATION) -> None:
        self._inner = inner
        self._breakers = breakers
        self._name = name
        self.abort_uploads = inner.abort_uploads

    async def find(self, key: str) -> StoredArchive | None:
        return await self._breakers.call(Place(self._name, "find"), lambda: self._inner.find(key))

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        return await self._breakers.call(Place(self._name, "put"), lambda: self._inner.put(target, body, crc32))

    async def create_upload(self, target: Target) -> MultipartUpload:
        upload = await self._breakers.call(Place(self._name, "begin"), lambda: self._inner.create_upload(target))
        return GuardedUpload(upload, self._breakers, self._name)


class GuardedUpload:
    """A MultipartUpload. `abort` never waits."""

    def __init__(self, inner: MultipartUpload, breakers: CircuitBreakers, name: str = DESTINATION) -> None:
        self._inner = inner
        self._breakers = breakers
        self._name = name
        self.id = inner.id
        self.abort = inner.abort
        self.copy = inner.copy  # unguarded: what can't be copied is sent

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        await self._breakers.call(Place(self._name, "part"), lambda: self._inner.upload_part(number, body, crc32))

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        return await self._breakers.call(Place(self._name, "complete"), lambda: self._inner.complete(size, crc32))


class GuardedReceipts:
    """A Receipts. Clean-up (`list`, `delete`) never waits, as for a `GuardedStore`."""

    def __init__(self, inner: Receipts, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._breakers = breakers
        self.list = inner.list
        self.delete = inner.delete

    async def put(self, key: str, body: bytes, attributes: Attributes = NO_ATTRIBUTES) -> None:
        await self._breakers.call(Place(DESTINATION, "receipt"), lambda: self._inner.put(key, body, attributes))


@dataclass(frozen=True, slots=True)
class SourceProbes:
    """
    *bucket*: the source bucket of the settings, or None. *probe*: a key in it that may be requested, whether or not the
    object exists. *other_buckets* tests the store as a whole: other buckets are named by requests, and a problem with
    one of them must not pause the worker.
    """

    bucket: str | None
    probe: Location | None
    other_buckets: Probe


class GuardedReader:
    """
    An ObjectReader. `serve` never waits: what it can't answer is asked again by `head` or `read`.
    """

    def __init__(self, inner: ObjectReader, sources: SourceProbes, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self.serve = inner.serve
        self._sources = sources
        self._breakers = breakers

    async def head(self, location: Location) -> ObjectInfo:
        place, probe = self._place_and_probe("head", location)
        return await self._breakers.call(place, lambda: self._inner.head(location), probe)

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        place, probe = self._place_and_probe("list", prefix.location)
        return await self._breakers.call(place, lambda: self._inner.list(prefix, token), probe)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        place, probe = self._place_and_probe("read", location)
        await self._breakers.call(place, lambda: self._inner.read(location, etag, start, into), probe)

    def _place_and_probe(self, call: str, location: Location) -> tuple[Place, Probe]:
        known = self._sources.probe
        if location.role or location.bucket != self._sources.bucket or known is None:
            return Place(OTHER_BUCKETS, call), self._sources.other_buckets
        if call == "head":
            return Place(SOURCE, call), lambda: self._inner.head(known)
        if call == "list":
            return Place(SOURCE, call), lambda: self._inner.list(Prefix(known))
        return Place(SOURCE, call), lambda: self._inner.read(known, '"none"', 0, [memoryview(bytearray(1))])


class GuardedRoles:
    """
    A Roles. Its *breakers* are its own, with a gate that nothing waits at: without STS, jobs with roles wait, and
    others do not.
    """

    def __init__(self, inner: Roles, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._breakers = breakers

    async def assume(self, role: str) -> None:
        await self._breakers.call(Place(ROLES, "assume"), lambda: self._inner.assume(role))


class GuardedNotifier:
    """A Notifier; *name* is the setting that names its queue."""

    def __init__(self, inner: Notifier, name: str, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._place = Place(name, "send")
        self._breakers = breakers

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        return self._inner.max_body_bytes(attributes)

    async def send(self, note: OutgoingMessage) -> None:
        await self._breakers.call(self._place, lambda: self._inner.send(note))


class GuardedDeadLetters:
    """A DeadLetters."""

    def __init__(self, inner: DeadLetters, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._breakers = breakers

    async def put(self, message: Message, rejection: Rejection) -> None:
        place = Place("the dead-letter queue", "send")
        await self._breakers.call(place, lambda: self._inner.put(message, rejection))
