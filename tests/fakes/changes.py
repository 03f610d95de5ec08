"""In-memory changes of objects that are no archives."""

from dataclasses import replace
from datetime import UTC, datetime

from archiver.core.changes import Original, Outcome
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import MIN_MODIFIED
from archiver.errors import SourceUnavailable
from fakes.faults import Faults
from fakes.objects import FakeS3, StoredObject, etag_of


class FakeChanges:
    """
    An ObjectChanges on *s3*. *conditional*: whether the store can delete on a condition. `denied`: prefixes
    (`bucket/…`) in which nothing may be done. `calls`: what was done, in order.
    """

    def __init__(self, s3: FakeS3, *, conditional: bool = True) -> None:
        self.s3 = s3
        self.conditional = conditional
        self.denied: tuple[str, ...] = ()
        self.faults = Faults()
        self.calls: list[tuple[str, str]] = []

    async def head(self, location: Location) -> ObjectInfo | None:
        async with self.faults("head"):
            if self._is_denied(location):
                raise SourceUnavailable("source_denied", "denied")
            blob = self.s3.objects.get(location)
            return None if blob is None else ObjectInfo(len(blob.data), blob.etag, MIN_MODIFIED, crc32=blob.crc32)

    async def delete(self, location: Location, etag: str) -> Outcome:
        async with self.faults("delete"):
            if self._is_denied(location):
                return "source_denied"
            if not self.conditional:
                return "not_conditional"
            blob = self.s3.objects.get(location)
            if blob is not None and blob.etag != etag:
                return "source_changed"
            self.calls.append(("delete", str(location)))
            self.s3.objects.pop(location, None)
            return "done"

    async def copy(self, original: Original, target: Location) -> Outcome:
        async with self.faults("copy"):
            if self._is_denied(original.location) or self._is_denied(target):
                return "source_denied"
            if not self.conditional:
                return "not_conditional"
            blob = self.s3.objects.get(original.location)
            if blob is None:
                return "source_missing"
            if blob.etag != original.etag or target in self.s3.objects:
                return "source_changed"
            self.calls.append(("copy", f"{original.location} {target}"))
            self.s3.objects[target] = replace(blob)
            return "done"

    async def create_empty(self, location: Location) -> Outcome:
        async with self.faults("create"):
            if self._is_denied(location):
                return "source_denied"
            if location in self.s3.objects:
                return "name_conflict"
            self.calls.append(("create", str(location)))
            self.s3.objects[location] = StoredObject(b"", etag_of(b""), datetime.now(UTC))
            return "done"

    def _is_denied(self, location: Location) -> bool:
        return f"{location.bucket}/{location.key}".startswith(self.denied)
