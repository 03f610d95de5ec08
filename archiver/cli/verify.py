"""`archiver verify`: check the integrity of an archive."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_json, print_line
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.cli.build_context import BuildResources
    from archiver.core.locations import Location
    from archiver.core.receipt_check import WholeReceipt
    from archiver.stages.read_ahead import ByteSource
    from archiver.stages.verify import VerificationReport


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver verify s3://zip-storage/3f…/download.zip --deep")(verify)


def verify(
    archive: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY|LINK|FILE", help="The archive.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read and decompress every member.")] = False,
    receipt: Annotated[
        bool, typer.Option("--receipt", help="Compare the archive, and its sources as they are now, with its receipt.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Check an archive's integrity: its central directory, sizes and names, and its contents by the CRC-32 stored in S3.

    --deep reads and decompresses every member and compares its CRC-32. It works for archives of any program, in S3,
    behind a link or in a file. --receipt reads no member; each source is looked up with HEAD.
    """
    report = run_async(lambda: _verify(archive, deep=deep, with_receipt=receipt))
    if json_:
        print_json(_report_data(archive, report))
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


async def _verify(archive: str, *, deep: bool, with_receipt: bool) -> "VerificationReport":
    from archiver.cli.progress_bar import show_progress
    from archiver.core.zip_parser import UnreadableError
    from archiver.stages.progress import Progress
    from archiver.stages.verify import verify as check

    progress = Progress()
    async with _open_archive(archive) as opened:
        receipt = await opened.load_receipt(archive) if with_receipt else None
        try:
            async with AsyncExitStack() as stack:
                if deep:
                    title = f"reading {archive.rpartition('/')[2]}"
                    await stack.enter_async_context(show_progress(title, progress))
                report = await check(opened.data, opened.crc32, deep=deep, progress=progress, receipt=receipt)
        except UnreadableError as error:
            raise CommandError(f"{archive}: {error}", code=EXIT_FAILED) from None
        if receipt is not None:
            report.changed = await opened.find_changed_sources(receipt)
    return report


@dataclass(frozen=True, slots=True)
class OpenedArchive:
    """The bytes of an archive and the CRC-32 that S3 stores for it, if any. *place*: where it is in S3, if it is."""

    data: "ByteSource"
    crc32: int | None = None
    place: "tuple[BuildResources, Location] | None" = None

    async def load_receipt(self, archive: str) -> "WholeReceipt":
        """Raises CommandError if there is none."""
        from archiver.cli.receipt import load_receipt

        if self.place is None:
            raise CommandError(f"--receipt: {archive} is not in S3; give its s3:// name", code=EXIT_USAGE)
        return await load_receipt(*self.place)

    async def find_changed_sources(self, receipt: "WholeReceipt") -> list[str]:
        """Return a sentence for each source that is not as it was archived."""
        from archiver.core.receipt_check import source_problems
        from archiver.stages.credential_check import CredentialCheck
        from archiver.stages.resolve import head_objects

        if self.place is None:
            return []
        now = await head_objects(receipt.sources().values(), self.place[0].fetcher, CredentialCheck(None))
        return source_problems(receipt, now)


@asynccontextmanager
async def _open_archive(archive: str) -> AsyncIterator[OpenedArchive]:
    from archiver.cli.archives import FileArchive, LinkArchive, ObjectArchive, link_to_location
    from archiver.core.locations import parse_source
    from archiver.core.plan import ObjectVersion
    from archiver.errors import Rejected, SourceUnavailable
    from archiver.settings import load_environment

    settings = load_environment(environment())
    name = link_to_location(archive, settings.base_url, settings.destination_bucket) or archive
    if name.lower().startswith(("http://", "https://")):
        yield OpenedArchive(await LinkArchive.open(name))
        return
    if not name.lower().startswith("s3://"):
        with FileArchive(Path(name)) as file:
            yield OpenedArchive(file)
        return
    from archiver.cli.build_context import open_resources

    try:
        location = parse_source(name, None)
    except Rejected as rejected:
        raise CommandError(f"{archive} {rejected.message}", code=EXIT_USAGE) from None
    async with open_resources(settings) as resources:
        try:
            info = await resources.fetcher.head(location)
        except SourceUnavailable as error:
            raise CommandError(f"{archive}: {error.detail}", code=EXIT_USAGE) from None
        data = ObjectArchive(resources.fetcher, ObjectVersion(location, info.etag), info.size)
        yield OpenedArchive(data, info.crc32, (resources, location))


def _report_data(archive: str, report: "VerificationReport") -> dict[str, Any]:
    return {
        "archive": archive,
        "ok": report.ok,
        "size": report.size,
        "members": report.members,
        "unpacked": report.unpacked,
        "proof": report.proof or None,
        "problems": report.problems,
        "changed": report.changed,
        "unchecked": report.unchecked,
    }


def _print_report(report: "VerificationReport") -> None:
    print_line(
        f"directory  {report.members:,} members, {report.unpacked:,} bytes unpacked; the archive has {report.size:,}"
    )
    if report.proof:
        print_line(f"contents   {report.proof}")
    for reason in report.unchecked:
        print_line(f"unchecked  {reason}")
    for problem in report.problems:
        print_line(f"damaged    {problem}")
    for change in report.changed:
        print_line(f"changed    {change}")
    if report.ok:
        print_line("ok")
