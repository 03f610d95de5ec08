"""What a worker does after its archives, where `[after]` of POLICY_FILE allows anything."""

from archiver.aws.clients import Clients
from archiver.aws.s3_changes import S3Changes
from archiver.jobs.after import AfterJob
from archiver.ports import ObjectStore
from archiver.stages.after import AfterStage
from archiver.stages.fetch import Fetcher
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.guarded_changes import GuardedChanges


def open_after(
    clients: Clients, archives: str, store: ObjectStore, fetcher: Fetcher, breakers: CircuitBreakers
) -> AfterJob:
    """Return the job after archives in the bucket *archives*, whose *store* has them; *fetcher* reads receipts."""
    changes = GuardedChanges(S3Changes(clients.s3, archives), breakers)
    return AfterJob(AfterStage(changes), store, fetcher)
