"""`archiver cancel`: write the mark that ends a job, or remove it."""

from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_FAILED, CommandError, environment, print_note
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.locations import Location


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver cancel order-4711")(cancel)


def cancel(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job_id of the request.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let jobs with this id run again.")] = False,
    account: Annotated[
        str | None,
        typer.Option(help="Account id of SQS_SOURCE_QUEUE. Default: from its URL or ARN, else from SQS."),
    ] = None,
) -> None:
    """
    Cancel the job with this id, whether it runs, waits or is still in the queue. A finished archive can't be cancelled:
    then nothing is done, with exit code 1.

    Workers need CANCELLATION=1. The settings must be theirs, as for `archiver status`.
    """
    run_async(lambda: _cancel(job_id, account, undo=undo))


async def _cancel(job_id: str, account: str | None, *, undo: bool) -> None:
    from archiver.aws.s3_store import S3Store
    from archiver.cli.build_context import open_resources
    from archiver.cli.create import check_bucket
    from archiver.cli.source import require_source
    from archiver.cli.status import archive_location
    from archiver.core.receipt import mark_key
    from archiver.doors.destination import open_receipts
    from archiver.jobs.cancellation import MARK
    from archiver.settings import load_environment
    from archiver.stages.retry import retry_transient

    settings = load_environment(environment())
    require_source(settings, "S3_DESTINATION_BUCKET")
    archive: Location = await archive_location(settings, job_id, None, account)
    async with open_resources(settings) as resources:
        await check_bucket(resources, archive.bucket)
        receipts, mark = open_receipts(resources.clients, archive.bucket), mark_key(archive.key)
        if undo:
            await retry_transient(lambda: receipts.delete(mark), tries=3, seconds=0)
            print_note(f"jobs with the id {job_id} run again")
            return
        store = S3Store(resources.clients, archive.bucket)
        if await store.find(archive.key) is None:
            await retry_transient(lambda: receipts.put(mark, MARK), tries=3, seconds=0)
        if await store.find(archive.key) is not None:
            raise CommandError(f"{archive}: the archive is finished; it can't be cancelled", code=EXIT_FAILED)
        print_note(f"cancelled: {job_id}; archiver cancel --undo lets it run again")
