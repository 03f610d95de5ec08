"""In-memory receipts: small objects beside the archives of one bucket."""

from datetime import UTC, datetime

from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import Location
from archiver.core.receipt import ListedObject, is_receipt
from archiver.errors import ConfigurationError
from fakes.faults import Faults
from fakes.objects import FakeS3, StoredObject, etag_of


class FakeReceipts:
    """
    A Receipts on one bucket of *s3*.

    `gone`: the bucket does not exist. `events`: the writes and deletions in order. `attributes`: of each key that was
    written.
    """

    def __init__(self, s3: FakeS3, bucket: str = "archives") -> None:
        self.s3 = s3
        self.bucket = bucket
        self.gone = False
        self.faults = Faults()
        self.events: list[str] = []
        self.attributes: dict[str, Attributes] = {}

    @property
    def keys(self) -> list[str]:
        """The keys of all receipts."""
        return [at.key for at in self.s3.objects if at.bucket == self.bucket and is_receipt(at.key)]

    async def put(self, key: str, body: bytes, attributes: Attributes = NO_ATTRIBUTES) -> None:
        async with self.faults("receipt"):
            self._there()
            self.attributes[key] = attributes
            self.events.append("receipt")
            stored = StoredObject(body, etag_of(body), datetime.now(UTC).replace(microsecond=0), "application/gzip")
            self.s3.objects[Location(self.bucket, key)] = stored

    async def list(self, folder: str) -> list[ListedObject]:
        async with self.faults("list"):
            self._there()
            return [
                ListedObject(at.key, blob.modified)
                for at, blob in self.s3.objects.items()
                if at.bucket == self.bucket and at.key.startswith(folder)
            ]

    async def delete(self, key: str) -> None:
        async with self.faults("delete"):
            self._there()
            self.events.append("delete")
            self.s3.objects.pop(Location(self.bucket, key), None)

    def _there(self) -> None:
        if self.gone:
            raise ConfigurationError(f"the bucket {self.bucket} does not exist")
