"""`archiver touch`: write an empty object, a flag for another program, unless the key is taken."""

from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_USAGE, CommandError, environment, print_note
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.changes import Outcome
    from archiver.core.locations import Location


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver touch s3://bucket/done/export.fin")(touch)


def touch(target: Annotated[str, typer.Argument(metavar="S3_URI", help="The object, s3://bucket/key.")]) -> None:
    """
    Write an empty object to S3. An object that exists is never overwritten: then nothing is done, with exit code 1.
    """
    location = _parse(target)
    outcome = run_async(lambda: _create(location))
    if outcome == "done":
        print_note(f"written: {location}")
        return
    reasons = {
        "name_conflict": "it exists already; nothing was changed",
        "source_denied": "permission is refused: allow s3:PutObject on it",
    }
    raise CommandError(f"{location}: {reasons.get(outcome, outcome)}", code=EXIT_FAILED)


def _parse(target: str) -> "Location":
    from archiver.core.locations import parse_source
    from archiver.errors import Rejected

    if not target.lower().startswith("s3://"):
        raise CommandError(f"{target}: is no S3 URI; write s3://bucket/key", code=EXIT_USAGE)
    try:
        return parse_source(target, None)
    except Rejected as rejected:
        raise CommandError(f"{target}: {rejected.message}; write s3://bucket/key", code=EXIT_USAGE) from None


async def _create(location: "Location") -> "Outcome":
    from archiver.app import open_aws
    from archiver.aws.clients import ClientLimits
    from archiver.aws.s3_changes import S3Changes
    from archiver.settings import load_environment
    from archiver.stages.retry import retry_transient

    settings = load_environment(environment())
    async with open_aws(ClientLimits(jobs=1), settings) as (clients, _):
        changes = S3Changes(clients.s3, location.bucket)
        return await retry_transient(lambda: changes.create_empty(location), tries=3, seconds=0)
