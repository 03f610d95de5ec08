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
from archiver.cli.console import USAGE, Problem, note, say, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.cli.build_context import Means, Order
    from archiver.core.messages import Link
    from archiver.jobs.archive import Built
    from archiver.ports import ObjectStore

WITHOUT_QUEUE = "archiver create"  # stands where a queue's ARN does in the archive's key


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
    path = None if output is None else file_at(output, force=force)
    if force and path is None:
        raise Problem("--force is for --output: an archive in a bucket is never replaced", code=USAGE)
    body = requests.body_of(requests.Asked(request, file or (), tuple(options.items())))
    made = carry_out(lambda: _made(body, path, force=force, as_json=json_))
    if json_:
        say_json(made.as_data())
    else:
        made.tell()


def file_at(output: str, *, force: bool) -> Path:
    """Where *output* is, links followed. Raises Problem where it can't become a file, before anything is read."""
    if output == "-":
        raise Problem(
            "--output - can't be: parts of an archive come in any order, and a pipe takes them in one; name a file",
            code=USAGE,
        )
    path = Path(output)
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise Problem(f"{output} is a folder: name a file in it", code=USAGE)
    if not path.parent.is_dir():
        raise Problem(f"{output}: there is no folder {path.parent}: create it first", code=USAGE)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Problem(f"{output}: nothing may be written to the folder {path.parent}", code=USAGE)
    if path.exists() and not path.is_file():
        raise Problem(f"{output} is no regular file: name another", code=USAGE)
    if path.exists() and not force:
        raise Problem(f"{output} exists already: --force replaces it", code=USAGE)
    return path


@dataclass(frozen=True, slots=True)
class Made:
    """An archive that is there: *at* is a path or an `s3://` URI. *seconds* it took."""

    at: str
    link: "Link | None"
    built: "Built"
    seconds: float

    def as_data(self) -> dict[str, Any]:
        from archiver.cli.build_context import left_out, renames

        outcome, stored = self.built.outcome, self.built.stored
        expires_at = self.link.expires_at if self.link else None
        return {
            "status": outcome.status,
            "archive": self.at,
            "link": self.link.url if self.link else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
            "size": stored.size,
            "files": outcome.files,
            "crc32": None if stored.crc32 is None else f"{stored.crc32:08x}",
            "missing": left_out(outcome),
            "renamed": renames(outcome),
            "reused": self.built.reused,
            "seconds": round(self.seconds, 3),
        }

    def tell(self) -> None:
        """What became of the request on standard error, and where the archive is on standard output."""
        from archiver.cli.build_context import about, cut
        from archiver.cli.progress_bar import lasting, size

        outcome = self.built.outcome
        notes = about(outcome)
        for title, lines in notes.items():
            if lines:
                for text in (f"{title}:", *cut(lines)):
                    note(text)
        counted = [f"{len(lines):,} {title}" for title, lines in notes.items() if lines]
        files = "1 file" if outcome.files == 1 else f"{outcome.files:,} files"
        took = "was there already" if self.built.reused else f"took {lasting(self.seconds)}"
        told = ", ".join([f"{self.at}: {files}, {size(self.built.stored.size)}", took, *counted])
        note(f"{told} ({outcome.status})")
        say(self.link.url if self.link else self.at)


async def _made(body: str, output: Path | None, *, force: bool, as_json: bool) -> Made:
    from archiver.aws.s3 import S3Store
    from archiver.cli.build_context import means_of, order_of, refusals_told
    from archiver.cli.file_store import FileStore
    from archiver.core.locations import Location

    began = monotonic()
    with refusals_told(as_json=as_json):
        order = order_of(body, *([] if output else ["S3_DESTINATION_BUCKET"]))
        async with means_of(order.settings) as means:
            if output is not None:
                built = await _built(order, means, FileStore(output, force=force), str(output), proves=False)
                return Made(str(output), None, built, monotonic() - began)
            bucket, key = order.rules.destination_bucket, _key(order)
            await check_bucket(means, bucket)
            store = S3Store(means.clients, bucket)
            built = await _built(order, means, store, key)
            await _tidy(order, store, key)
            link = await _link(order, means, key)
    return Made(str(Location(bucket, key)), link, built, monotonic() - began)


async def check_bucket(means: "Means", bucket: str) -> None:
    """A misspelt name should not come out after all has been read. Who may not ask finds out when writing."""
    from archiver.aws.error_mapping import NotThere
    from archiver.aws.s3 import check_bucket as ask
    from archiver.errors import ConfigurationFault, Temporary

    try:
        await ask(means.clients.s3_control, bucket)
    except NotThere:
        raise Problem(f"S3_DESTINATION_BUCKET: there is no bucket {bucket}", code=USAGE) from None
    except (ConfigurationFault, Temporary):
        return


def _key(order: "Order") -> str:
    """Where the archive goes: without a `job_id`, to a place that nobody has been to."""
    from archiver.core.locations import archive_digest, archive_key

    digest = archive_digest(order.rules.key_secret, WITHOUT_QUEUE, order.request.job_id, token_hex(16))
    return archive_key(digest, order.rules.file_prefix)


async def _link(order: "Order", means: "Means", key: str) -> "Link":
    from archiver.app import linked

    async with linked(order.settings, means.clients.session) as links:
        return await links.link(key)


async def _built(order: "Order", means: "Means", store: "ObjectStore", key: str, *, proves: bool = True) -> "Built":
    from archiver.cli.progress_bar import shown
    from archiver.core.locations import content_disposition
    from archiver.jobs.archive import Builder
    from archiver.ports import Target
    from archiver.stages.progress import Progress

    builder = Builder(order.rules, fetcher=means.fetcher, store=store, budget=means.budget, proves=proves)
    named = content_disposition(order.request.archive_name, order.rules.file_prefix, datetime.now(UTC))
    progress = Progress()
    async with shown("archive", progress):
        return await builder.build(order.draft, Target(key, named), lambda: None, progress)


async def _tidy(order: "Order", store: "ObjectStore", key: str) -> None:
    """What an earlier run under this `job_id` left, killed in the middle, has no business any more."""
    from archiver.errors import ConfigurationFault, Temporary

    if order.request.job_id is None:
        return
    try:
        await store.sweep(key)
    except (Temporary, ConfigurationFault) as error:
        note(f"uploads that an earlier run may have left were not looked for: {error}")
