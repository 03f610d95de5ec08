"""`archiver check`: validate the setup of a worker and print a fix for each problem."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_FAILED, EXIT_RETRY_LATER, EXIT_USAGE, environment, print_json, print_line
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.aws.clients import Clients
    from archiver.aws.preflight import CallerIdentity
    from archiver.aws.s3_read import S3Reader
    from archiver.core.operator_policy import OperatorPolicy
    from archiver.core.preflight import CheckResult
    from archiver.settings import Settings

MARKS = {"ok": "✓", "bad": "✗", "warning": "!", "unknown": "-"}


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver check")(check)


def check(json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False) -> None:
    """
    Check the setup of a worker with these settings: credentials, clock, queues, buckets, links.

    A test object is written to the destination bucket and deleted. If deleting is not allowed, an upload is started
    and aborted instead. ✓ passed, ✗ failed, ! warning, - not checked.
    """
    results, code = run_async(_run_checks)
    if json_:
        print_json([asdict(result) for result in results])
    else:
        _print_results(results)
    if code:
        raise typer.Exit(code)


async def _run_checks() -> tuple[list["CheckResult"], int]:
    from archiver.app import open_aws
    from archiver.aws.clients import ClientLimits
    from archiver.aws.error_mapping import CredentialsError
    from archiver.aws.preflight import Checks
    from archiver.aws.preflight_copies import check_copies
    from archiver.aws.preflight_ways_out import check_ways_out
    from archiver.core.preflight import CheckResult, all_passed, has_unknown_results
    from archiver.doors.policy import load_policy
    from archiver.doors.references import references_of
    from archiver.doors.ways_out import open_checks
    from archiver.errors import ConfigurationError
    from archiver.settings import SettingsError, load_settings

    try:
        settings = load_settings(environment())
        policy = load_policy(settings)
    except SettingsError as error:
        parts = [problem.partition(": ") for problem in error.problems]
        return [
            CheckResult(name, "bad", problem, "set it in the environment") for name, _, problem in parts
        ], EXIT_USAGE
    results = [CheckResult("settings", "ok", "all valid")]
    if settings.amqp_queue is not None:
        results += await _check_amqp(settings)
    if referred := references_of(os.environ):
        told = f"all {len(referred)} settings that are references could be read"
        results.append(CheckResult("references", "ok", told))
    try:
        async with open_aws(ClientLimits(), settings) as (clients, reader):
            caller, seen = await _check_caller(clients)
            results += seen
            results += await Checks(settings, clients, reader, caller, settings.archive_attributes).run_all()
            async with open_checks(settings, clients) as checks:
                results += await check_ways_out(checks)
            if settings.notify_webhook_url is not None:
                results.append(CheckResult("webhook", "ok", "NOTIFY_WEBHOOK_URL is valid; a check posts nothing to it"))
            results += await _check_sources(settings, reader)
            results.append(await check_copies(settings, clients, reader))
            if policy is not None:
                results += await _check_policy(policy, settings, clients, reader)
    except CredentialsError as error:
        return [*results, CheckResult("credentials", "unknown", str(error), CREDENTIALS_WAIT_HINT)], EXIT_RETRY_LATER
    except ConfigurationError as error:
        return [*results, CheckResult("credentials", "bad", str(error), CREDENTIALS_HINT)], EXIT_FAILED
    return results, EXIT_FAILED if not all_passed(results) else EXIT_RETRY_LATER if has_unknown_results(results) else 0


async def _check_caller(clients: "Clients") -> tuple["CallerIdentity | None", list["CheckResult"]]:
    """Raises ConfigurationError."""
    from archiver.aws.preflight import get_caller_identity
    from archiver.core.preflight import CheckResult, check_clock_skew
    from archiver.errors import ArchiverError, ConfigurationError

    try:
        caller = await get_caller_identity(clients)
    except ConfigurationError:
        raise
    except ArchiverError as error:  # for example a store without STS; the other checks use the credentials
        return None, [CheckResult("credentials", "unknown", str(error))]
    return caller, [CheckResult("credentials", "ok", caller.arn), check_clock_skew(caller.skew)]


async def _check_amqp(settings: "Settings") -> list["CheckResult"]:
    from archiver.amqp.preflight import check_broker
    from archiver.core.preflight import CheckResult
    from archiver.doors.amqp import broker_address
    from archiver.settings import SettingsError

    try:
        address = broker_address(settings)
    except SettingsError as error:
        return [CheckResult("broker", "bad", error.problems[0], "name files that can be read, in PEM")]
    return await check_broker(
        address,
        str(settings.amqp_queue),
        settings.amqp_dead_letter_queue,
        settings.amqp_ack_timeout,
        declares=settings.amqp_declare,
    )


async def _check_sources(settings: "Settings", reader: "S3Reader") -> list["CheckResult"]:
    from archiver.aws.preflight_sources import check_listings, check_patterns, own_probes
    from archiver.core.locations import AllowList

    allowed = AllowList.parse(settings.allowed_sources, settings.destination_bucket)
    return [*await check_listings(reader, own_probes(allowed, settings.source_bucket)), check_patterns()]


async def _check_policy(
    policy: "OperatorPolicy", settings: "Settings", clients: "Clients", reader: "S3Reader"
) -> list["CheckResult"]:
    from archiver.aws.preflight_roles import check_roles
    from archiver.aws.preflight_sources import check_listings, role_probes
    from archiver.aws.roles import open_roles

    results = await check_roles(clients.session, policy.roles)
    works = [result.state == "ok" for result in results]
    assumed = {arn: role for (arn, role), ok in zip(policy.roles.items(), works, strict=True) if ok}
    results += await check_listings(open_roles(clients.session, reader, assumed), role_probes(assumed))
    if policy.after.delete.prefixes or policy.after.move:
        from archiver.aws.preflight_after import check_conditional_deletes

        results.append(await check_conditional_deletes(clients.s3, settings.destination_bucket))
    return [*results, *await _check_commands(policy, settings)]


async def _check_commands(policy: "OperatorPolicy", settings: "Settings") -> list["CheckResult"]:
    if not policy.commands:
        return []
    from archiver.command.preflight import check_commands
    from archiver.core.preflight import CheckResult
    from archiver.doors.commands import work_dir
    from archiver.settings import SettingsError

    try:
        root = work_dir(settings)
    except SettingsError as error:
        return [CheckResult("work directory", "bad", error.problems[0], "set WORK_DIR")]
    return await check_commands(policy.commands, root, settings.work_disk_mib * 1024 * 1024)


CREDENTIALS_WAIT_HINT = (
    "a worker waits for credentials; check the provider (the agent, the role, the token file) and try again"
)
CREDENTIALS_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; on ECS, give the task a role"


def _print_results(results: list["CheckResult"]) -> None:
    width = max(len(result.what) for result in results)
    for result in results:
        print_line(f"{MARKS[result.state]} {result.what:<{width}}  {result.told}")
        if result.remedy:
            print_line(f"  {'':<{width}}  → {result.remedy}")
