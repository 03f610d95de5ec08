"""`archiver sweep`: remove the unfinished uploads, and their records, that no message comes back for."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_RETRY_LATER, CommandError, environment, print_line, print_note
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.jobs.janitor import Leftover


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver sweep --dry-run")(sweep)


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
) -> None:
    """
    Abort the unfinished uploads of archives, and delete their records, that no message comes back for: those that are
    older than the queue keeps messages, and those without a record that are older than any job.

    Workers do the first once an hour, for uploads. This command looks at every key of the bucket. Records that workers
    of other queues have left are not touched. The settings must be the worker's. Exit code 3: some are left.
    """
    swept = run_async(lambda: _sweep(dry_run=dry_run))
    for leftover, problem in swept:
        if not problem:
            print_line(_told(leftover))
    left = [f"{_told(leftover)}: not removed: {problem}" for leftover, problem in swept if problem]
    print_note(f"{'found' if dry_run else 'removed'}: {len(swept) - len(left):,}")
    if left:
        raise CommandError(*left, f"not removed: {len(left):,}; the reasons are above", code=EXIT_RETRY_LATER)


def _told(leftover: "Leftover") -> str:
    what = "upload and record" if leftover.upload and leftover.record else "upload"
    return f"{leftover.key}  {what if leftover.upload else 'record'} of {leftover.since:%Y-%m-%d %H:%M} UTC"


async def _sweep(*, dry_run: bool) -> list[tuple["Leftover", str]]:
    """Return what was found, each with the reason why it could not be removed; "": it was, or nothing was tried."""
    from archiver.aws.s3_store import S3Store
    from archiver.aws.sqs import look_up
    from archiver.cli.build_context import open_resources
    from archiver.cli.create import check_bucket
    from archiver.cli.source import require_sqs
    from archiver.core.build_record import source_hash
    from archiver.doors.destination import open_receipts
    from archiver.errors import ArchiverError
    from archiver.jobs.janitor import Janitor
    from archiver.jobs.records import Bucket
    from archiver.settings import load_environment

    settings = load_environment(environment())
    require_sqs(settings, "its workers sweep by themselves", "S3_DESTINATION_BUCKET")
    name = str(settings.destination_bucket)
    async with open_resources(settings) as resources:
        await check_bucket(resources, name)
        _, facts, _ = await look_up(resources.clients.sqs_control, str(settings.source_queue))
        store, receipts = S3Store(resources.clients, name), open_receipts(resources.clients, name)
        bucket = Bucket(name, store.uploads, receipts, resources.fetcher)
        janitor = Janitor(bucket, source_hash(facts.id), timedelta(seconds=facts.retention))
        now, found = datetime.now(UTC), dict[str, "Leftover"]()
        async for leftover in janitor.find(now, unrecorded=True):
            found[leftover.record or leftover.upload] = leftover
        async for leftover in janitor.find_records(now):
            found.setdefault(leftover.record, leftover)
        swept = list[tuple["Leftover", str]]()
        for leftover in found.values():
            problem = ""
            try:
                if not dry_run:
                    await janitor.remove(leftover)
            except ArchiverError as error:
                problem = str(error)
            swept.append((leftover, problem))
        return swept
