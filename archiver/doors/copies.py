"""Server-side copies, where a setting or a request asks for a strategy."""

from archiver.aws.clients import Clients
from archiver.aws.s3_copy_probe import S3CopyCapability
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_store import S3Store
from archiver.core.layout import BUFFERS_PER_JOB
from archiver.jobs.copies import Copies


def open_copies(clients: Clients, reader: S3Reader, bucket: str, budget: int) -> Copies:
    """Return what is copied into archives in *bucket*, with buffers out of *budget* bytes."""
    capability = S3CopyCapability(S3Store(clients, bucket), clients.s3, reader, bucket)
    return Copies(capability, budget // BUFFERS_PER_JOB)
