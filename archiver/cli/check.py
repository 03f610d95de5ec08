"""`archiver check`: can a worker with these settings work? And what would have to be done."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import LATER, NO, USAGE, environment, say, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.core.preflight import Finding

MARKS = {"ok": "✓", "bad": "✗", "warning": "!", "unknown": "-"}


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver check")(check)


def check(json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """
    Look at all that a worker with these settings needs: credentials, clock, queues, buckets, links.

    Nothing is left behind: what is written to see whether archives can be is deleted again, or only begun where it may
    not be deleted. ✓ is well, ✗ has to be mended, ! should be, - could not be told.
    """
    findings, code = carry_out(_look)
    if json_:
        say_json([asdict(finding) for finding in findings])
    else:
        _tell(findings)
    if code:
        raise typer.Exit(code)


async def _look() -> tuple[list["Finding"], int]:
    from archiver.app import connected
    from archiver.aws.clients import Limits
    from archiver.aws.error_mapping import CredentialsFault
    from archiver.aws.preflight import Checks, who_am_i
    from archiver.core.preflight import Finding, clock, unsettled, verdict
    from archiver.errors import ArchiverError, ConfigurationFault
    from archiver.settings import SettingsError, load_settings

    try:
        settings = load_settings(environment())
    except SettingsError as error:
        told = [problem.partition(": ") for problem in error.problems]
        return [Finding(name, "bad", problem, "set it in the environment") for name, _, problem in told], USAGE
    findings = [Finding("settings", "ok", "all are read")]
    try:
        async with connected(Limits(), settings) as (clients, reader):
            me = None
            try:
                me = await who_am_i(clients)
                findings += [Finding("credentials", "ok", me.arn), clock(me.skew)]
            except ConfigurationFault:
                raise
            except ArchiverError as error:  # a store without STS, say: the queues and buckets will tell
                findings.append(Finding("credentials", "unknown", str(error)))
            findings += await Checks(settings, clients, reader, me).all()
    except CredentialsFault as error:
        return [*findings, Finding("credentials", "unknown", str(error), WAITING)], LATER
    except ConfigurationFault as error:
        return [*findings, Finding("credentials", "bad", str(error), CREDENTIALS)], NO
    return findings, NO if not verdict(findings) else LATER if unsettled(findings) else 0


WAITING = "a worker waits for them: look at the provider (the agent, the role, the token's file), and try again"
CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; in ECS, give the task a role"


def _tell(findings: list["Finding"]) -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{MARKS[finding.state]} {finding.what:<{width}}  {finding.told}")
        if finding.remedy:
            say(f"  {'':<{width}}  → {finding.remedy}")
