"""`archiver verify`: is this archive whole?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import NO, USAGE, Problem, environment, say, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.stages.verify import Bytes, Report


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver verify s3://zip-storage/3f…/download.zip --deep")(verify)


def verify(
    archive: Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY|LINK|FILE", help="The archive.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read and unpack every member.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Check an archive: its directory, sizes and names, and its contents by the CRC-32 that S3 keeps of it.

    --deep reads every member, unpacks it and compares its CRC-32: archives of any program, in S3 or as a file.
    """

    async def work() -> "Report":
        from archiver.cli.progress_bar import shown
        from archiver.core.zip_parser import UnreadableError
        from archiver.stages.progress import Progress
        from archiver.stages.verify import verify as check

        progress = Progress()
        async with _opened(archive) as (data, crc32):
            try:
                if not deep:
                    return await check(data, crc32, deep=False, progress=progress)
                async with shown(f"reading {archive.rpartition('/')[2]}", progress):
                    return await check(data, crc32, deep=True, progress=progress)
            except UnreadableError as error:
                raise Problem(f"{archive}: {error}", code=NO) from None

    report = carry_out(work)
    if json_:
        say_json(_data(archive, report))
    else:
        _tell(report)
    if report.problems:
        raise typer.Exit(NO)


@asynccontextmanager
async def _opened(archive: str) -> AsyncIterator[tuple["Bytes", int | None]]:
    """The archive's bytes, and the CRC-32 that the store keeps of it."""
    from archiver.cli.archives import FileArchive, LinkArchive, ObjectArchive, location_of
    from archiver.core.locations import parse_source
    from archiver.core.plan import Pinned
    from archiver.errors import Rejected, SourceUnavailable
    from archiver.settings import load_environment

    settings = load_environment(environment())
    named = location_of(archive, settings.base_url, settings.destination_bucket) or archive
    if named.lower().startswith(("http://", "https://")):
        yield await LinkArchive.opened(named), None
        return
    if not named.lower().startswith("s3://"):
        with FileArchive(Path(named)) as file:
            yield file, None
        return
    from archiver.cli.build_context import means_of

    try:
        location = parse_source(named, None)
    except Rejected as rejected:
        raise Problem(f"{archive} {rejected.message}", code=USAGE) from None
    async with means_of(settings) as mean:
        try:
            info = await mean.fetcher.head(location)
        except SourceUnavailable as error:
            raise Problem(f"{archive}: {error.detail}", code=USAGE) from None
        yield ObjectArchive(mean.fetcher, Pinned(location, info.etag), info.size), info.crc32


def _data(archive: str, report: "Report") -> dict[str, Any]:
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


def _tell(report: "Report") -> None:
    say(f"directory  {report.members:,} members, {report.unpacked:,} bytes unpacked; the archive has {report.size:,}")
    if report.proof:
        say(f"contents   {report.proof}")
    for reason in report.unchecked:
        say(f"unchecked  {reason}")
    for problem in report.problems:
        say(f"damaged    {problem}")
    if not report.problems:
        say("ok")
