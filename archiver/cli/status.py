"""`archiver status`: check whether a job's archive exists, with one HEAD of the key derived from the job's id."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import (
    EXIT_FAILED,
    EXIT_RETRY_LATER,
    EXIT_USAGE,
    CommandError,
    environment,
    print_json,
    print_line,
    print_note,
)
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.cli.build_context import BuildResources
    from archiver.core.archive_metadata import ArchiveMetadata
    from archiver.core.locations import Location
    from archiver.core.messages import Link
    from archiver.ports import StoredArchive
    from archiver.settings import Environment


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver status order-4711")(status)


def status(
    job_id: Annotated[str | None, typer.Argument(metavar="[JOB_ID]", help="The job_id of the request.")] = None,
    message_id: Annotated[
        str | None, typer.Option(help="For a request without a job_id: the message id that `send` printed.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(help="Account id of SQS_SOURCE_QUEUE. Default: from its URL or ARN, else from SQS."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """
    Check in S3 whether a job's archive exists: `done` with its link, or `not there` with exit code 1.

    Without an archive, the job may be waiting, running or rejected; `archiver dlq show` prints rejected ones. The
    archive's key depends on the worker's settings SQS_SOURCE_QUEUE (or AMQP_QUEUE and AMQP_VHOST, or SOURCE_ORDERS),
    S3_DESTINATION_BUCKET, S3_FILE_PREFIX and ARCHIVE_KEY_SECRET: use the same values.
    """
    if (job_id is None) == (message_id is None):
        raise CommandError(
            "give exactly one of JOB_ID and --message-id (for a request without a job_id)", code=EXIT_USAGE
        )
    result = run_async(lambda: _find_archive(job_id, message_id, account))
    if json_:
        print_json({"job_id": job_id, "message_id": message_id, **result.as_data()})
    else:
        result.report()
    if result.stored is None:
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """
    The state of the archive's key *location*.

    *stored* is None if no object exists; *archive_metadata* is None if the archiver did not write the object.
    """

    location: "Location"
    stored: "StoredArchive | None" = None
    archive_metadata: "ArchiveMetadata | None" = None
    link: "Link | None" = None

    def as_data(self) -> dict[str, Any]:
        expires_at = self.link.expires_at if self.link else None
        return {
            "state": "done" if self.stored else "not there",
            "outcome": self.archive_metadata.outcome if self.archive_metadata else None,
            "archive": str(self.location),
            "size": self.stored.size if self.stored else None,
            "files": self.archive_metadata.files if self.archive_metadata else None,
            "link": self.link.url if self.link else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
        }

    def report(self) -> None:
        """Print the state on standard error and the link on standard output."""
        from archiver.cli.progress_bar import format_size

        if self.stored is None or self.link is None:
            print_note(f"not there (yet): {self.location}")
            return
        details = [format_size(self.stored.size)]
        if self.archive_metadata is not None:
            details.insert(
                0, "1 file" if self.archive_metadata.files == 1 else f"{self.archive_metadata.files:,} files"
            )
        outcome = self.archive_metadata.outcome if self.archive_metadata else "not written by the archiver"
        print_note(f"done: {', '.join(details)} ({outcome})")
        print_line(self.link.url)


async def _find_archive(job_id: str | None, message_id: str | None, account: str | None) -> JobStatus:
    from archiver.aws.s3_store import S3Store
    from archiver.cli.build_context import open_resources
    from archiver.cli.source import require_source
    from archiver.core.archive_metadata import from_s3_metadata
    from archiver.doors.links import open_links
    from archiver.settings import load_environment

    settings = load_environment(environment())
    require_source(settings, "S3_DESTINATION_BUCKET")
    location = await archive_location(settings, job_id, message_id, account)
    async with open_resources(settings) as resources, open_links(settings, resources.clients.session) as links:
        stored = await S3Store(resources.clients, location.bucket).find(location.key)
        if stored is None:
            await _check_absent(resources, location)
            return JobStatus(location)
        return JobStatus(location, stored, from_s3_metadata(stored.metadata), await links.link(location.key))


async def archive_location(
    settings: "Environment", job_id: str | None, message_id: str | None, account: str | None
) -> "Location":
    """Return the location at which the worker writes the archive of this job."""
    from archiver.cli.source import source_id
    from archiver.core.locations import Location, archive_digest, archive_key

    secret = settings.key_secret.get_secret_value() if settings.key_secret else None
    digest = archive_digest(secret, await source_id(settings, account), job_id, message_id or "")
    return Location(str(settings.destination_bucket), archive_key(digest, settings.file_prefix))


async def _check_absent(resources: "BuildResources", location: "Location") -> None:
    """Raise CommandError if the object's absence is not certain, for example if HEAD is denied."""
    from archiver.cli.create import check_bucket
    from archiver.errors import SourceUnavailable

    await check_bucket(resources, location.bucket)
    try:
        await resources.fetcher.head(location)
    except SourceUnavailable as error:
        if error.code != "source_missing":
            raise CommandError(f"{location}: can't be checked: {error.detail}", code=EXIT_RETRY_LATER) from None
