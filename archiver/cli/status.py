"""`archiver status`: has the archive of a job been made? The key follows from the job's id, so that S3 alone tells."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import LATER, NO, USAGE, Problem, environment, note, say, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.cli.build_context import Means
    from archiver.core.archive_metadata import Beside
    from archiver.core.locations import Location
    from archiver.core.messages import Link
    from archiver.ports import StoredArchive
    from archiver.settings import Environment


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver status order-4711")(status)


def status(
    job_id: Annotated[str | None, typer.Argument(metavar="[JOB_ID]", help="As in the request.")] = None,
    message_id: Annotated[
        str | None, typer.Option(help="Instead of it: what SQS called the message of a request without a job_id.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(help="The account that SQS_SOURCE_QUEUE is in; else taken from its URL or ARN, or asked."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """
    Look in S3 whether the archive of a job is there: `done` with its link, or `not there` and exit code 1.

    What is not there may be waiting, at work, or rejected: `archiver dlq show` tells of the last. Settings have to be
    the worker's: SQS_SOURCE_QUEUE, S3_DESTINATION_BUCKET, S3_FILE_PREFIX and ARCHIVE_KEY_SECRET make the key.
    """
    if (job_id is None) == (message_id is None):
        raise Problem("give the job_id of the request, or --message-id where it had none: one of the two", code=USAGE)
    found = carry_out(lambda: _look(job_id, message_id, account))
    if json_:
        say_json({"job_id": job_id, "message_id": message_id, **found.as_data()})
    else:
        found.tell()
    if found.stored is None:
        raise typer.Exit(NO)


@dataclass(frozen=True, slots=True)
class Found:
    """What S3 says of the place *at*. *stored* None: nothing is there. *beside* None: something else is."""

    at: "Location"
    stored: "StoredArchive | None" = None
    beside: "Beside | None" = None
    link: "Link | None" = None

    def as_data(self) -> dict[str, Any]:
        expires_at = self.link.expires_at if self.link else None
        return {
            "state": "done" if self.stored else "not there",
            "outcome": self.beside.outcome if self.beside else None,
            "archive": str(self.at),
            "size": self.stored.size if self.stored else None,
            "files": self.beside.files if self.beside else None,
            "link": self.link.url if self.link else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
        }

    def tell(self) -> None:
        """What is there on standard error, and the link on standard output."""
        from archiver.cli.progress_bar import size

        if self.stored is None or self.link is None:
            note(f"not there (yet): {self.at}")
            return
        told = [size(self.stored.size)]
        if self.beside is not None:
            told.insert(0, "1 file" if self.beside.files == 1 else f"{self.beside.files:,} files")
        outcome = self.beside.outcome if self.beside else "not written by this service"
        note(f"done: {', '.join(told)} ({outcome})")
        say(self.link.url)


async def _look(job_id: str | None, message_id: str | None, account: str | None) -> Found:
    from archiver.app import linked
    from archiver.aws.s3 import S3Store
    from archiver.cli.build_context import means_of
    from archiver.core.archive_metadata import decode_beside
    from archiver.settings import load_environment, needed

    settings = load_environment(environment())
    needed(settings, "SQS_SOURCE_QUEUE", "S3_DESTINATION_BUCKET")
    at = await _place(settings, job_id, message_id, account)
    async with means_of(settings) as means, linked(settings, means.clients.session) as links:
        stored = await S3Store(means.clients, at.bucket).find(at.key)
        if stored is None:
            await _check_absent(means, at)
            return Found(at)
        return Found(at, stored, decode_beside(stored.metadata), await links.link(at.key))


async def _place(
    settings: "Environment", job_id: str | None, message_id: str | None, account: str | None
) -> "Location":
    """Where the worker puts the archive of this job."""
    from archiver.cli.policy import arns
    from archiver.core.locations import Location, archive_digest, archive_key

    (queue,) = await arns([str(settings.source_queue)], account)
    secret = settings.key_secret.get_secret_value() if settings.key_secret else None
    digest = archive_digest(secret, queue, job_id, message_id or "")
    return Location(str(settings.destination_bucket), archive_key(digest, settings.file_prefix))


async def _check_absent(means: "Means", at: "Location") -> None:
    """Raises Problem where it can't be told whether *at* is empty: HEAD may be denied."""
    from archiver.cli.create import check_bucket
    from archiver.errors import SourceUnavailable

    await check_bucket(means, at.bucket)
    try:
        await means.fetcher.head(at)
    except SourceUnavailable as error:
        if error.code != "source_missing":
            raise Problem(f"{at}: can't be looked for: {error.detail}", code=LATER) from None
