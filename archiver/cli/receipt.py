"""`archiver receipt`: print what an archive contains, from the receipt beside it."""

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import (
    EXIT_FAILED,
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
    from archiver.core.locations import Location
    from archiver.core.receipt_check import WholeReceipt
    from archiver.core.receipt_parser import ReceiptMember


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver receipt order-4711 --csv > order-4711.csv")(receipt)


def receipt(
    archive: Annotated[str, typer.Argument(metavar="JOB_ID|s3://BUCKET/KEY|LINK", help="The archive, or its job.")],
    account: Annotated[
        str | None,
        typer.Option(help="For a JOB_ID: account id of SQS_SOURCE_QUEUE. Default: from its URL or ARN, or from SQS."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print the files as CSV.")] = False,
) -> None:
    """
    Print an archive's receipt: each file with its source, ETag, size, CRC-32 and offset.

    A JOB_ID is looked up as `archiver status` does, with the worker's settings.
    """
    if json_ and csv_:
        raise CommandError("give at most one of --json and --csv", code=EXIT_USAGE)
    whole = run_async(lambda: _find_receipt(archive, account))
    if json_:
        print_json(receipt_data(whole))
    elif csv_:
        _print_csv(whole)
    else:
        _print_table(whole)


async def _find_receipt(archive: str, account: str | None) -> "WholeReceipt":
    from archiver.cli.archives import link_to_location
    from archiver.cli.build_context import open_resources
    from archiver.cli.source import require_source
    from archiver.cli.status import archive_location
    from archiver.core.locations import parse_source
    from archiver.errors import Rejected
    from archiver.settings import load_environment

    settings = load_environment(environment())
    name = link_to_location(archive, settings.base_url, settings.destination_bucket) or archive
    try:
        if name.lower().startswith("s3://"):
            location = parse_source(name, None)
        else:
            require_source(settings, "S3_DESTINATION_BUCKET")
            location = await archive_location(settings, name, None, account)
    except Rejected as rejected:
        raise CommandError(f"{archive} {rejected.message}", code=EXIT_USAGE) from None
    async with open_resources(settings) as resources:
        return await load_receipt(resources, location)


async def load_receipt(resources: "BuildResources", archive: "Location") -> "WholeReceipt":
    """Read the receipt of *archive*, or the receipt at that location. Raises CommandError if there is none."""
    from archiver.aws.s3_store import S3Store
    from archiver.core.archive_metadata import from_s3_metadata
    from archiver.core.locations import Location
    from archiver.core.receipt import is_receipt, receipt_key
    from archiver.core.receipt_check import WholeReceipt
    from archiver.core.receipt_parser import ReceiptParser, UnreadableReceiptError
    from archiver.stages.receipt import find_receipt, read_members

    location = archive
    if not is_receipt(archive.key):
        stored = await S3Store(resources.clients, archive.bucket).find(archive.key)
        if stored is None:
            raise CommandError(f"{archive}: not there, or not readable", code=EXIT_FAILED)
        metadata = from_s3_metadata(stored.metadata)
        if metadata is None:
            raise CommandError(f"{archive}: was not written by the archiver, so it has no receipt", code=EXIT_FAILED)
        location = Location(archive.bucket, receipt_key(archive.key, metadata.token))
    parser = ReceiptParser()
    try:
        found = await find_receipt(resources.fetcher, location)
        if found is None:
            raise CommandError(f"{archive}: has no receipt; {location} does not exist", code=EXIT_FAILED)
        members = [member async for member in read_members(resources.fetcher, found, parser)]
    except UnreadableReceiptError as error:
        raise CommandError(f"{location}: can't be read: {error}", code=EXIT_FAILED) from None
    assert parser.receipt is not None  # noqa: S101 - a complete document has a first line
    return WholeReceipt(parser.receipt, members)


def receipt_data(whole: "WholeReceipt") -> dict[str, object]:
    """Return the receipt as its document has it, with times as text."""
    head, outcome = whole.receipt, whole.receipt.outcome
    return {
        "bucket": head.bucket,
        "key": head.key,
        "token": head.token,
        "request": head.request,
        "created": head.created.isoformat(),
        "status": outcome.status,
        "files": outcome.files,
        "size": head.size,
        "crc32": f"{head.crc32:08x}",
        "missing": [{"source": one.source, "code": one.code} for one in outcome.missing],
        "renamed": [{"source": one.source, "from": one.from_, "to": one.to} for one in outcome.renamed],
        "members": [_member_data(member) for member in whole.members],
    }


def _member_data(member: "ReceiptMember") -> dict[str, object]:
    data: dict[str, object] = {field.name: getattr(member, field.name) for field in fields(member)}
    return data | {"crc32": f"{member.crc32:08x}", "modified": member.modified.isoformat()}


def _print_csv(whole: "WholeReceipt") -> None:
    members = [_member_data(member) for member in whole.members]
    rows: list[Iterable[object]] = [members[0].keys(), *(member.values() for member in members)]
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        print_line(line.getvalue())


def _print_table(whole: "WholeReceipt") -> None:
    from archiver.cli.progress_bar import format_size

    head, outcome = whole.receipt, whole.receipt.outcome
    rows = [("size", "crc32", "etag", "path", "source")] + [
        (f"{one.size:,}", f"{one.crc32:08x}", (one.etag or "").strip('"'), one.path, one.source or "(generated)")
        for one in whole.members
    ]
    size, etag = max(len(row[0]) for row in rows), max(len(row[2]) for row in rows)
    for row in rows:
        print_line(f"{row[0]:>{size}}  {row[1]:<8}  {row[2]:<{etag}}  {row[3]}  {row[4]}")
    for missing in outcome.missing:
        print_note(f"missing: {missing.source}: {missing.code}")
    files = "1 file" if outcome.files == 1 else f"{outcome.files:,} files"
    print_note(f"s3://{head.bucket}/{head.key}: {files}, {format_size(head.size)} ({outcome.status})")
