"""The checks of the ways out beside SQS: whether what the settings name exists. Nothing is sent."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from archiver.aws.error_mapping import CredentialsError, ResourceNotFound
from archiver.core.preflight import CheckResult
from archiver.errors import ArchiverError, ConfigurationError

CHECK_SECONDS = 20.0


async def check_ways_out(checks: Sequence[tuple[str, str, Callable[[], Awaitable[None]]]]) -> list[CheckResult]:
    """Run *checks*, each with the setting that names the resource and the resource's kind."""
    return list(await asyncio.gather(*(_check(name, kind, check) for name, kind, check in checks)))


async def _check(name: str, kind: str, check: Callable[[], Awaitable[None]]) -> CheckResult:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except ResourceNotFound as error:
        return CheckResult(kind, "bad", f"does not exist: {error}", f"check {name} and AWS_REGION")
    except CredentialsError as error:
        return CheckResult(kind, "unknown", str(error), "try again; the provider may not be ready yet")
    except ConfigurationError as error:
        remedy = f"allow what archiver iam-policy prints for {name}"
        return CheckResult(kind, "bad", str(error), remedy)
    except (ArchiverError, TimeoutError) as error:
        return CheckResult(kind, "unknown", str(error) or "no response", "check the network and try again")
    return CheckResult(kind, "ok", f"{name} exists")
