"""`archiver create`: build one archive now, without a queue, into the destination bucket or a file."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input as requests
from archiver.cli.console import EXIT_USAGE, CommandError, print_json, print_line, print_note
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.cli.build_context import BuildRequest, BuildResources
    from archiver.core.messages import Link
    from archiver.jobs.archive import BuildResult
    from archiver.ports import ObjectStore

NO_QUEUE_ID = "archiver create"  # stands where a queue's ARN does in the archive's key


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver create --file s3://photos/a.jpg=album --output photos.zip")(create)


def create(
    request: requests.RequestFile = None,
    file: requests.Files = None,
    job_id: requests.JobId = None,
    archive_name: requests.ArchiveName = None,
    on_missing: requests.OnMissing = None,
    on_duplicate: requests.OnDuplicate = None,
    compression: requests.Compression = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Write this file, instead of an object in S3_DESTINATION_BUCKET."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the --output file where there is one.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """
    Build one archive now, without a queue: in the destination bucket, or as a file.

    In the bucket, the same --job-id with the same request is the same archive: the second time, it is there already.
    """
    options = {
        "job_id": job_id,
        "archive_name": archive_name,
        "on_missing": on_missing,
        "on_duplicate": on_duplicate,
        "compression": compression,
    }
    path = None if output is None else resolve_output(output, force=force)
    if force and path is None:
        raise CommandError("--force is for --output: an archive in a bucket is never replaced", code=EXIT_USAGE)
    body = requests.build_body(requests.RequestInput(request, file or (), tuple(options.items())))
    result = run_async(lambda: _create(body, path, force=force, as_json=json_))
    if json_:
        print_json(result.as_data())
    else:
        result.report()


def resolve_output(output: str, *, force: bool) -> Path:
    """Where *output* is, links followed. Raises Problem where it can't become a file, before anything is read."""
    if output == "-":
        raise CommandError(
            "--output - can't be: parts of an archive come in any order, and a pipe takes them in one; name a file",
            code=EXIT_USAGE,
        )
    path = Path(output)
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise CommandError(f"{output} is a folder: name a file in it", code=EXIT_USAGE)
    if not path.parent.is_dir():
        raise CommandError(f"{output}: there is no folder {path.parent}: create it first", code=EXIT_USAGE)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise CommandError(f"{output}: nothing may be written to the folder {path.parent}", code=EXIT_USAGE)
    if path.exists() and not path.is_file():
        raise CommandError(f"{output} is no regular file: name another", code=EXIT_USAGE)
    if path.exists() and not force:
        raise CommandError(f"{output} exists already: --force replaces it", code=EXIT_USAGE)
    return path


@dataclass(frozen=True, slots=True)
class CreateResult:
    """An archive that is there: *location* is a path or an `s3://` URI. *seconds* it took."""

    location: str
    link: "Link | None"
    built: "BuildResult"
    seconds: float

    def as_data(self) -> dict[str, Any]:
        from archiver.cli.build_context import missing_data, renamed_data

        outcome, stored = self.built.outcome, self.built.stored
        expires_at = self.link.expires_at if self.link else None
        return {
            "status": outcome.status,
            "archive": self.location,
            "link": self.link.url if self.link else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
            "size": stored.size,
            "files": outcome.files,
            "crc32": None if stored.crc32 is None else f"{stored.crc32:08x}",
            "missing": missing_data(outcome),
            "renamed": renamed_data(outcome),
            "reused": self.built.reused,
            "seconds": round(self.seconds, 3),
        }

    def report(self) -> None:
        """What became of the request on standard error, and where the archive is on standard output."""
        from archiver.cli.build_context import summary_lines, truncate_lines
        from archiver.cli.progress_bar import format_duration, format_size

        outcome = self.built.outcome
        notes = summary_lines(outcome)
        for title, lines in notes.items():
            if lines:
                for text in (f"{title}:", *truncate_lines(lines)):
                    print_note(text)
        counted = [f"{len(lines):,} {title}" for title, lines in notes.items() if lines]
        files = "1 file" if outcome.files == 1 else f"{outcome.files:,} files"
        took = "was there already" if self.built.reused else f"took {format_duration(self.seconds)}"
        summary = ", ".join([f"{self.location}: {files}, {format_size(self.built.stored.size)}", took, *counted])
        print_note(f"{summary} ({outcome.status})")
        print_line(self.link.url if self.link else self.location)


async def _create(body: str, output: Path | None, *, force: bool, as_json: bool) -> CreateResult:
    from archiver.aws.s3 import S3Store
    from archiver.cli.build_context import load_request, open_resources, rejections_as_errors
    from archiver.cli.file_store import FileStore
    from archiver.core.locations import Location

    began = monotonic()
    with rejections_as_errors(as_json=as_json):
        build_request = load_request(body, *([] if output else ["S3_DESTINATION_BUCKET"]))
        async with open_resources(build_request.settings) as resources:
            if output is not None:
                built = await _build(
                    build_request, resources, FileStore(output, force=force), str(output), shares_credentials=False
                )
                return CreateResult(str(output), None, built, monotonic() - began)
            bucket, key = build_request.rules.destination_bucket, _new_archive_key(build_request)
            await check_bucket(resources, bucket)
            store = S3Store(resources.clients, bucket)
            built = await _build(build_request, resources, store, key)
            await _abort_leftover_uploads(build_request, store, key)
            link = await _link(build_request, resources, key)
    return CreateResult(str(Location(bucket, key)), link, built, monotonic() - began)


async def check_bucket(resources: "BuildResources", bucket: str) -> None:
    """A misspelt name should not come out after all has been read. Who may not ask finds out when writing."""
    from archiver.aws.error_mapping import ResourceNotFound
    from archiver.aws.s3 import check_bucket as ask
    from archiver.errors import ConfigurationError, TransientError

    try:
        await ask(resources.clients.s3_control, bucket)
    except ResourceNotFound:
        raise CommandError(f"S3_DESTINATION_BUCKET: there is no bucket {bucket}", code=EXIT_USAGE) from None
    except (ConfigurationError, TransientError):
        return


def _new_archive_key(build_request: "BuildRequest") -> str:
    """Where the archive goes: without a `job_id`, to a place that nobody has been to."""
    from archiver.core.locations import archive_digest, archive_key

    digest = archive_digest(build_request.rules.key_secret, NO_QUEUE_ID, build_request.request.job_id, token_hex(16))
    return archive_key(digest, build_request.rules.file_prefix)


async def _link(build_request: "BuildRequest", resources: "BuildResources", key: str) -> "Link":
    from archiver.app import open_links

    async with open_links(build_request.settings, resources.clients.session) as links:
        return await links.link(key)


async def _build(
    build_request: "BuildRequest",
    resources: "BuildResources",
    store: "ObjectStore",
    key: str,
    *,
    shares_credentials: bool = True,
) -> "BuildResult":
    from archiver.cli.progress_bar import show_progress
    from archiver.core.locations import content_disposition
    from archiver.jobs.archive import ArchiveWork
    from archiver.jobs.work import Unleased
    from archiver.ports import Target
    from archiver.stages.progress import Progress

    work = ArchiveWork(
        build_request.rules,
        fetcher=resources.fetcher,
        store=store,
        budget=resources.budget,
        shares_credentials=shares_credentials,
    )
    disposition = content_disposition(
        build_request.request.archive_name, build_request.rules.file_prefix, datetime.now(UTC)
    )
    progress = Progress()
    async with show_progress("archive", progress):
        return await work.build(build_request.draft, Target(key, disposition), Unleased(), progress)


async def _abort_leftover_uploads(build_request: "BuildRequest", store: "ObjectStore", key: str) -> None:
    """What an earlier run under this `job_id` left, killed in the middle, has no business any more."""
    from archiver.errors import ConfigurationError, TransientError

    if build_request.request.job_id is None:
        return
    try:
        await store.abort_uploads(key)
    except (TransientError, ConfigurationError) as error:
        print_note(f"uploads that an earlier run may have left were not looked for: {error}")
