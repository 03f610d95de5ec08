"""The unfinished uploads of the destination bucket behind circuit breakers."""

from collections.abc import Sequence

from archiver.core.kept import StoredPart
from archiver.ports import MultipartUpload, Target, UnfinishedUploads
from archiver.worker.breaker import CircuitBreakers, Place
from archiver.worker.guarded import DESTINATION, GuardedUpload


class GuardedUploads:
    """An UnfinishedUploads. Clean-up (`list`, `abort`) never waits, as for a `GuardedStore`."""

    def __init__(self, inner: UnfinishedUploads, breakers: CircuitBreakers) -> None:
        self._inner = inner
        self._breakers = breakers
        self.list = inner.list
        self.abort = inner.abort

    async def resume(self, target: Target, upload_id: str) -> tuple[MultipartUpload, Sequence[StoredPart]] | None:
        place = Place(DESTINATION, "resume")
        found = await self._breakers.call(place, lambda: self._inner.resume(target, upload_id))
        return found and (GuardedUpload(found[0], self._breakers), found[1])
