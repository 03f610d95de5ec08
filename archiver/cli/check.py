"""`archiver check`: can a worker with these settings work? And what would have to be done."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_RETRY_LATER, EXIT_USAGE, environment, print_json, print_line
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.preflight import CheckResult

MARKS = {"ok": "✓", "bad": "✗", "warning": "!", "unknown": "-"}


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver check")(check)


def check(json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """
    Look at all that a worker with these settings needs: credentials, clock, queues, buckets, links.

    Nothing is left behind: what is written to see whether archives can be is deleted again, or only begun where it may
    not be deleted. ✓ is well, ✗ has to be mended, ! should be, - could not be told.
    """
    findings, code = run_async(_run_checks)
    if json_:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_results(findings)
    if code:
        raise typer.Exit(code)


async def _run_checks() -> tuple[list["CheckResult"], int]:
    from archiver.app import open_aws
    from archiver.aws.clients import ClientLimits
    from archiver.aws.error_mapping import CredentialsError
    from archiver.aws.preflight import Checks, get_caller_identity
    from archiver.core.preflight import CheckResult, all_passed, check_clock_skew, has_unknown_results
    from archiver.errors import ArchiverError, ConfigurationError
    from archiver.settings import SettingsError, load_settings

    try:
        settings = load_settings(environment())
    except SettingsError as error:
        parts = [problem.partition(": ") for problem in error.problems]
        return [
            CheckResult(name, "bad", problem, "set it in the environment") for name, _, problem in parts
        ], EXIT_USAGE
    findings = [CheckResult("settings", "ok", "all are read")]
    try:
        async with open_aws(ClientLimits(), settings) as (clients, reader):
            caller = None
            try:
                caller = await get_caller_identity(clients)
                findings += [CheckResult("credentials", "ok", caller.arn), check_clock_skew(caller.skew)]
            except ConfigurationError:
                raise
            except ArchiverError as error:  # a store without STS, say: the queues and buckets will tell
                findings.append(CheckResult("credentials", "unknown", str(error)))
            findings += await Checks(settings, clients, reader, caller).run_all()
    except CredentialsError as error:
        return [*findings, CheckResult("credentials", "unknown", str(error), CREDENTIALS_WAIT_HINT)], EXIT_RETRY_LATER
    except ConfigurationError as error:
        return [*findings, CheckResult("credentials", "bad", str(error), CREDENTIALS_HINT)], EXIT_FAILED
    return findings, EXIT_FAILED if not all_passed(findings) else EXIT_RETRY_LATER if has_unknown_results(
        findings
    ) else 0


CREDENTIALS_WAIT_HINT = (
    "a worker waits for them: look at the provider (the agent, the role, the token's file), and try again"
)
CREDENTIALS_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; in ECS, give the task a role"


def _print_results(findings: list["CheckResult"]) -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print_line(f"{MARKS[finding.state]} {finding.what:<{width}}  {finding.told}")
        if finding.remedy:
            print_line(f"  {'':<{width}}  → {finding.remedy}")
