"""The bucket of the archives: its store, the receipts and the unfinished uploads in it."""

from typing import TYPE_CHECKING, NamedTuple

from archiver.aws.clients import Clients
from archiver.aws.s3_receipts import S3Receipts
from archiver.aws.s3_store import S3Store
from archiver.ports import ObjectStore, QueueFacts, UnfinishedUploads
from archiver.settings import Settings
from archiver.stages.fetch import Fetcher
from archiver.stages.receipt import Receipts
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.guarded import GuardedReceipts, GuardedStore
from archiver.worker.guarded_uploads import GuardedUploads

if TYPE_CHECKING:
    from archiver.doors.resuming import Resuming


def open_receipts(clients: Clients, bucket: str) -> S3Receipts:
    """The receipts in *bucket*, which use the connections that carried the parts."""
    return S3Receipts(clients.s3, bucket)


class Destination(NamedTuple):
    """The bucket of the archives. *resuming*: None if every build begins anew."""

    store: ObjectStore
    receipts: Receipts
    uploads: UnfinishedUploads
    resuming: "Resuming | None" = None


def open_destination(clients: Clients, bucket: str, breakers: CircuitBreakers) -> Destination:
    store = S3Store(clients, bucket)
    receipts = GuardedReceipts(open_receipts(clients, bucket), breakers)
    return Destination(GuardedStore(store, breakers), receipts, GuardedUploads(store.uploads, breakers))


def with_resuming(settings: Settings, bucket: Destination, fetcher: Fetcher, facts: QueueFacts) -> Destination:
    """*bucket*, with what resumes builds in it; *fetcher* reads their records."""
    if not settings.resume_from_mib:
        return bucket
    from archiver.doors.resuming import open_resuming  # noqa: PLC0415 - nothing of it where it is off

    return bucket._replace(resuming=open_resuming(settings, bucket.uploads, bucket.receipts, fetcher, facts))
