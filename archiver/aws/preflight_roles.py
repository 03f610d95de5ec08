"""The check of roles: each one that the operator's policy file lists is assumed, as a worker would."""

import asyncio
from collections.abc import Mapping

from archiver.aws.error_mapping import CredentialsError
from archiver.aws.roles import assume_role
from archiver.aws.session import Session
from archiver.core.locations import Role
from archiver.core.policy import permission_hint
from archiver.core.preflight import CheckResult
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable

MAX_AT_ONCE = 8  # STS limits the calls per second


async def check_roles(session: Session, roles: Mapping[str, Role]) -> list[CheckResult]:
    """Assume each of *roles*, by ARN, with the credentials of *session*."""
    slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def check(arn: str, role: Role) -> CheckResult:
        async with slots:
            return await _check_role(session, arn, role)

    return list(await asyncio.gather(*(check(arn, role) for arn, role in roles.items())))


async def _check_role(session: Session, arn: str, role: Role) -> CheckResult:
    try:
        await assume_role(session, arn, role.external_id, lambda reason: SourceUnavailable("source_denied", reason))
    except SourceUnavailable as refused:
        trusted = "with this external id" if role.external_id is not None else "which may ask for an external_id"
        remedy = f"{permission_hint('sts:AssumeRole', arn)}; and let its trust policy name the worker's role, {trusted}"
        return CheckResult("role", "bad", refused.detail, remedy)
    except CredentialsError as error:
        return CheckResult("role", "unknown", f"{arn}: {error}", "try again; the provider may not be ready yet")
    except ConfigurationError as error:
        return CheckResult("role", "bad", f"{arn}: {error}", "check the worker's own credentials and clock")
    except ArchiverError as error:
        return CheckResult("role", "unknown", str(error), "check the network (STS must be reachable) and try again")
    return CheckResult("role", "ok", f"{arn} can be assumed")
