"""The unfinished uploads of a `FakeStore`."""

import zlib
from collections.abc import Sequence

from archiver.core.kept import StoredPart
from archiver.ports import Target, UnfinishedUpload
from fakes.faults import Faults
from fakes.objects import etag_of
from fakes.store import FakeStore, FakeUpload


class FakeUploads:
    """
    An UnfinishedUploads on *store*. *lists_crcs*: whether it tells the CRC-32 of each part. `events`: the aborts.
    """

    def __init__(self, store: FakeStore, *, lists_crcs: bool = True) -> None:
        self.store = store
        self.lists_crcs = lists_crcs
        self.faults = Faults()

    async def resume(self, target: Target, upload_id: str) -> tuple[FakeUpload, Sequence[StoredPart]] | None:
        async with self.faults("resume"):
            pending = self.store.pending.get(upload_id)
            if pending is None or pending.target.key != target.key:
                return None
            parts = [
                StoredPart(number, len(data), etag_of(data), zlib.crc32(data) if self.lists_crcs else None)
                for number, data in sorted(pending.parts.items())
            ]
            return FakeUpload(self.store, upload_id), parts

    async def list(self, prefix: str = "") -> list[UnfinishedUpload]:
        async with self.faults("list"):
            return [
                UnfinishedUpload(pending.target.key, name, pending.created_at)
                for name, pending in self.store.pending.items()
                if pending.target.key.startswith(prefix)
            ]

    async def abort(self, key: str, upload_id: str) -> None:
        async with self.faults("abort"):
            if upload_id in self.store.pending and self.store.pending[upload_id].target.key == key:
                await FakeUpload(self.store, upload_id).abort()
