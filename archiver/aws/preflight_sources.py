"""The checks of `archiver check` for requests that select objects: listings of the allowed sources, and patterns."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from archiver.core import patterns
from archiver.core.locations import AllowList, Location, Role
from archiver.core.policy import bucket_arn, permission_hint
from archiver.core.preflight import CheckResult
from archiver.core.select import Prefix
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable
from archiver.ports import ObjectReader

WHAT = "listings"
MAX_AT_ONCE = 8
TIMEOUT = 20.0  # seconds


def own_probes(allowed: AllowList, source_bucket: str | None) -> Iterator[Location]:
    """Yield a prefix to list in each bucket that the settings name, of those that requests may name."""
    named = [source_bucket] if allowed.prefixes is None else list(allowed.prefixes)
    return (probe for bucket in named if bucket and (probe := allowed.probe(bucket)))


def role_probes(roles: Mapping[str, Role]) -> Iterator[Location]:
    """Yield a prefix to list in each bucket that may be read with each of *roles*, by ARN."""
    return (probe._replace(role=arn) for arn, role in roles.items() for probe in own_probes(role.sources, None))


async def check_listings(reader: ObjectReader, probes: Iterable[Location]) -> list[CheckResult]:
    """List one page of each of *probes*."""
    slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def check(probe: Location) -> CheckResult:
        async with slots:
            return await _check_listing(reader, probe)

    return list(await asyncio.gather(*map(check, probes)))


async def _check_listing(reader: ObjectReader, probe: Location) -> CheckResult:
    where = f"{probe.bucket} with the role {probe.role}" if probe.role else probe.bucket
    try:
        async with asyncio.timeout(TIMEOUT):
            await reader.list(Prefix(probe))
    except SourceUnavailable as refused:
        if refused.code == "source_missing":
            return CheckResult(WHAT, "warning", f"{where}: no such bucket", "check the allowed sources")
        told = f"{where} can't be listed: a prefix there is source_denied, and what is missing looks denied"
        return CheckResult(WHAT, "warning", told, permission_hint("s3:ListBucket", bucket_arn(probe.bucket)))
    except ConfigurationError as error:
        return CheckResult(WHAT, "unknown", f"{where}: {error}", "check the credentials and the clock")
    except (ArchiverError, TimeoutError) as error:
        told = f"{where}: {str(error) or f'no response within {TIMEOUT:.0f} s'}"
        return CheckResult(WHAT, "unknown", told, "check the network and try again")
    return CheckResult(WHAT, "ok", f"{where} can be listed, for requests with a prefix")


def check_patterns() -> CheckResult:
    """Check that requests may have patterns."""
    if patterns.is_available():
        return CheckResult("patterns", "ok", "RE2 is installed, for requests with `regex` or `rename`")
    told = "RE2 is not installed: requests with `regex` or `rename` are invalid_request"
    return CheckResult("patterns", "warning", told, "install the extra archiver[select], if requests have patterns")
