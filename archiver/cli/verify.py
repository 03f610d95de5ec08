"""`archiver verify`: check the integrity of an archive."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_json, print_line
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.stages.read_ahead import ByteSource
    from archiver.stages.verify import VerificationReport


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver verify s3://zip-storage/3f…/download.zip --deep")(verify)


def verify(
    archive: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY|LINK|FILE", help="The archive.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read and decompress every member.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Check an archive's integrity: its central directory, sizes and names, and its contents by the CRC-32 stored in S3.

    --deep reads and decompresses every member and compares its CRC-32. It works for archives of any program, in S3,
    behind a link or in a file.
    """

    async def work() -> "VerificationReport":
        from archiver.cli.progress_bar import show_progress
        from archiver.core.zip_parser import UnreadableError
        from archiver.stages.progress import Progress
        from archiver.stages.verify import verify as check

        progress = Progress()
        async with _open_archive(archive) as (data, crc32):
            try:
                if not deep:
                    return await check(data, crc32, deep=False, progress=progress)
                async with show_progress(f"reading {archive.rpartition('/')[2]}", progress):
                    return await check(data, crc32, deep=True, progress=progress)
            except UnreadableError as error:
                raise CommandError(f"{archive}: {error}", code=EXIT_FAILED) from None

    report = run_async(work)
    if json_:
        print_json(_report_data(archive, report))
    else:
        _print_report(report)
    if report.problems:
        raise typer.Exit(EXIT_FAILED)


@asynccontextmanager
async def _open_archive(archive: str) -> AsyncIterator[tuple["ByteSource", int | None]]:
    """Yield the archive's bytes and the CRC-32 that S3 stores for it, if any."""
    from archiver.cli.archives import FileArchive, LinkArchive, ObjectArchive, link_to_location
    from archiver.core.locations import parse_source
    from archiver.core.plan import ObjectVersion
    from archiver.errors import Rejected, SourceUnavailable
    from archiver.settings import load_environment

    settings = load_environment(environment())
    name = link_to_location(archive, settings.base_url, settings.destination_bucket) or archive
    if name.lower().startswith(("http://", "https://")):
        yield await LinkArchive.open(name), None
        return
    if not name.lower().startswith("s3://"):
        with FileArchive(Path(name)) as file:
            yield file, None
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
        yield ObjectArchive(resources.fetcher, ObjectVersion(location, info.etag), info.size), info.crc32


def _report_data(archive: str, report: "VerificationReport") -> dict[str, Any]:
    return {
        "archive": archive,
        "ok": not report.problems,
        "size": report.size,
        "members": report.members,
        "unpacked": report.unpacked,
        "proof": report.proof or None,
        "problems": report.problems,
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
    if not report.problems:
        print_line("ok")
