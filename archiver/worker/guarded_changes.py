"""Changes of objects behind a circuit breaker: while their store is down, calls wait."""

from archiver.core.changes import Original, Outcome
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.stages.after import ObjectChanges
from archiver.worker.breaker import CircuitBreakers, Place

CHANGED = "the buckets of [after]"


class GuardedChanges:
    """An ObjectChanges."""

    def __init__(self, inner: ObjectChanges, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._breakers = breakers

    async def head(self, location: Location) -> ObjectInfo | None:
        return await self._breakers.call(Place(CHANGED, "head"), lambda: self._inner.head(location))

    async def delete(self, location: Location, etag: str) -> Outcome:
        return await self._breakers.call(Place(CHANGED, "delete"), lambda: self._inner.delete(location, etag))

    async def copy(self, original: Original, target: Location) -> Outcome:
        return await self._breakers.call(Place(CHANGED, "copy"), lambda: self._inner.copy(original, target))

    async def create_empty(self, location: Location) -> Outcome:
        return await self._breakers.call(Place(CHANGED, "create"), lambda: self._inner.create_empty(location))
