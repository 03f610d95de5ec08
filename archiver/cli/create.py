"""`archiver create`: build one archive now, without a queue, into the destination bucket or a file."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input, selection_input
from archiver.cli.console import EXIT_USAGE, CommandError, print_json, print_line, print_note
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.cli.build_context import BuildRequest, BuildResources
    from archiver.core.messages import Link
    from archiver.jobs.building import BuildResult
    from archiver.ports import ObjectStore
    from archiver.stages.receipt import Receipts

NO_QUEUE_ID = "archiver create"  # replaces the queue's ARN in the digest of the archive's key


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver create --file s3://photos/a.jpg=album --output photos.zip")(create)


def create(
    request: request_input.RequestFile = None,
    file: request_input.Files = None,
    prefix: selection_input.Prefixes = None,
    regex: selection_input.Regex = None,
    where: selection_input.Where = None,
    recursive: selection_input.Recursive = True,
    folders: selection_input.Folders = False,
    manifest: selection_input.Manifest = None,
    job_id: request_input.JobId = None,
    archive_name: request_input.ArchiveName = None,
    on_missing: request_input.OnMissing = None,
    on_duplicate: request_input.OnDuplicate = None,
    on_empty: selection_input.OnEmpty = None,
    on_archived: request_input.OnArchived = None,
    wait_for: request_input.WaitFor = None,
    compression: request_input.Compression = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Write the archive to this file instead of S3_DESTINATION_BUCKET."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the --output file if it exists.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """
    Build one archive now, without a queue, in the destination bucket or in a file.

    In the bucket, the same --job-id with the same request names the same archive: a second run reuses it.
    """
    options = {
        "job_id": job_id,
        "archive_name": archive_name,
        "on_missing": on_missing,
        "on_duplicate": on_duplicate,
        "on_empty": on_empty,
        "on_archived": on_archived,
        "wait_for": request_input.wait_for(wait_for),
        "compression": compression,
    }
    path = None if output is None else resolve_output(output, force=force)
    if force and path is None:
        raise CommandError(
            "--force: an archive in a bucket is never replaced; use --force only with --output", code=EXIT_USAGE
        )
    selection = selection_input.SelectionInput(prefix or (), regex, where or (), recursive, manifest, folders)
    given = request_input.RequestInput(request, file or (), tuple(options.items()), selection=selection)
    body = request_input.build_body(given)
    result = run_async(lambda: _create(body, path, force=force, as_json=json_))
    if result is None:
        selection_input.report_skipped(as_json=json_)
    elif json_:
        print_json(result.as_data())
    else:
        result.report()


def resolve_output(output: str, *, force: bool) -> Path:
    """Return the path of *output*, symbolic links resolved. Raises CommandError if no file can be written there."""
    if output == "-":
        raise CommandError(
            "--output -: an archive can't be written to a pipe, as its parts are written in any order; name a file",
            code=EXIT_USAGE,
        )
    path = Path(output)
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise CommandError(f"{output}: is a folder; name a file in it", code=EXIT_USAGE)
    if not path.parent.is_dir():
        raise CommandError(f"{output}: the folder {path.parent} does not exist; create it first", code=EXIT_USAGE)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise CommandError(f"{output}: the folder {path.parent} is not writable; choose another", code=EXIT_USAGE)
    if path.exists() and not path.is_file():
        raise CommandError(f"{output}: is not a regular file; name another file", code=EXIT_USAGE)
    if path.exists() and not force:
        raise CommandError(f"{output}: already exists; use --force to replace it", code=EXIT_USAGE)
    return path


@dataclass(frozen=True, slots=True)
class CreateResult:
    """A finished archive. *location* is a path or an `s3://` URI; *seconds* is the duration of the build."""

    location: str
    link: "Link | None"
    built: "BuildResult"
    seconds: float

    def as_data(self) -> dict[str, Any]:
        from archiver.cli.build_context import missing_data, renamed_data

        summary, stored = self.built.outcome, self.built.stored
        expires_at = self.link.expires_at if self.link else None
        return {
            "status": summary.status,
            "archive": self.location,
            "link": self.link.url if self.link else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
            "size": stored.size,
            "files": summary.files,
            "crc32": None if stored.crc32 is None else f"{stored.crc32:08x}",
            "receipt": self.built.receipt,
            "missing": missing_data(summary),
            "renamed": renamed_data(summary),
            "reused": self.built.reused,
            "seconds": round(self.seconds, 3),
        }

    def report(self) -> None:
        """Print the outcome on standard error, and the archive's link or location on standard output."""
        from archiver.cli.build_context import summary_lines, truncate_lines
        from archiver.cli.progress_bar import format_duration, format_size

        summary = self.built.outcome
        sections = summary_lines(summary)
        for title, lines in sections.items():
            if lines:
                for text in (f"{title}:", *truncate_lines(lines)):
                    print_note(text)
        counts = [f"{len(lines):,} {title}" for title, lines in sections.items() if lines]
        files = "1 file" if summary.files == 1 else f"{summary.files:,} files"
        duration = "already existed" if self.built.reused else f"took {format_duration(self.seconds)}"
        details = ", ".join([f"{self.location}: {files}, {format_size(self.built.stored.size)}", duration, *counts])
        print_note(f"{details} ({summary.status})")
        print_line(self.link.url if self.link else self.location)


async def _create(body: str, output: Path | None, *, force: bool, as_json: bool) -> CreateResult | None:
    from archiver.aws.s3_store import S3Store
    from archiver.cli.build_context import load_request, open_resources, rejections_as_errors
    from archiver.cli.file_store import FileStore
    from archiver.core.locations import Location
    from archiver.doors.destination import open_receipts
    from archiver.jobs.receipt import sweep_others
    from archiver.jobs.work import Unleased

    began = monotonic()
    with rejections_as_errors(as_json=as_json):
        build_request = load_request(body, *([] if output else ["S3_DESTINATION_BUCKET"]))
        if build_request.request.test:
            raise CommandError('the request is a ping ("test": true): archiver plan checks it here', code=EXIT_USAGE)
        if build_request.request.after or build_request.request.flag:
            raise CommandError("after and flag are for workers: send the request, or leave them out", code=EXIT_USAGE)
        async with open_resources(build_request.settings, build_request.rules) as resources:
            if output is not None:
                file_store = FileStore(output, force=force)
                built = await _build(build_request, resources, file_store, None, str(output))
                return None if built is None else CreateResult(str(output), None, built, monotonic() - began)
            bucket, key = build_request.rules.destination_bucket, _new_archive_key(build_request)
            await check_bucket(resources, bucket)
            store, receipts = S3Store(resources.clients, bucket), open_receipts(resources.clients, bucket)
            built = await _build(build_request, resources, store, receipts, key)
            if built is None:
                return None
            if build_request.request.job_id is not None:
                await _abort_leftover_uploads(store, key)
                await sweep_others(receipts, key, built.receipt, Unleased())
            link = await _link(build_request, resources, key)
    return CreateResult(str(Location(bucket, key)), link, built, monotonic() - began)


async def check_bucket(resources: "BuildResources", bucket: str) -> None:
    """
    Raise CommandError if *bucket* does not exist, before any object is read.

    Other errors are ignored: without the right to list the bucket, only the write itself shows whether it works.
    """
    from archiver.aws.error_mapping import ResourceNotFound
    from archiver.aws.s3_store import check_bucket as head_bucket
    from archiver.errors import ConfigurationError, TransientError

    try:
        await head_bucket(resources.clients.s3, bucket)
    except ResourceNotFound:
        raise CommandError(
            f"S3_DESTINATION_BUCKET: the bucket {bucket} does not exist; check the name and AWS_REGION", code=EXIT_USAGE
        ) from None
    except (ConfigurationError, TransientError):
        return


def _new_archive_key(build_request: "BuildRequest") -> str:
    """Return the archive's key; without a `job_id` it is unique."""
    from archiver.core.locations import archive_digest, archive_key

    digest = archive_digest(build_request.rules.key_secret, NO_QUEUE_ID, build_request.request.job_id, token_hex(16))
    return archive_key(digest, build_request.rules.file_prefix)


async def _link(build_request: "BuildRequest", resources: "BuildResources", key: str) -> "Link":
    from archiver.doors.links import open_links

    async with open_links(build_request.settings, resources.clients.session) as links:
        return await links.link(key)


async def _build(
    build_request: "BuildRequest",
    resources: "BuildResources",
    store: "ObjectStore",
    receipts: "Receipts | None",
    key: str,
) -> "BuildResult | None":
    """Build the archive at *key* of *store*. *receipts*: None if it is a file. None: there is nothing to archive."""
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
        receipts=receipts,
        budget=resources.budget,
        shares_credentials=receipts is not None,
        roles=resources.roles,
        restorer=resources.restorer,
    )
    disposition = content_disposition(
        build_request.request.archive_name, build_request.rules.file_prefix, datetime.now(UTC)
    )
    progress = Progress()
    async with show_progress("archive", progress):
        attributes = build_request.rules.attributes_of(build_request.request)
        target = Target(key, disposition, attributes=attributes)
        return await work.build(build_request.draft, target, Unleased(), progress)


async def _abort_leftover_uploads(store: "ObjectStore", key: str) -> None:
    """Abort the uploads that an earlier, killed run of this `job_id` left in the bucket."""
    from archiver.errors import ConfigurationError, TransientError

    try:
        await store.abort_uploads(key)
    except (TransientError, ConfigurationError) as error:
        print_note(f"multipart uploads of an earlier run could not be listed or aborted: {error}")
