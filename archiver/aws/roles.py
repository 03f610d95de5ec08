"""
Reads with roles of other accounts: each object with the credentials of its own role, and with no others.

All readers share one pool of connections: S3 authorises each request, never a connection.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import structlog

from archiver.aws.error_mapping import CREDENTIAL_ERROR_CODES, ErrorFactory, error_map, map_errors
from archiver.aws.s3_lanes import S3Lanes
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_responses import EXPIRED_TOKEN_CODES
from archiver.aws.session import Session, client_config, credential_errors
from archiver.core.locations import Location, Role
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import ArchiverError, CredentialsRefused, SourceUnavailable, TransferInterrupted, TransientError

log = structlog.get_logger(__name__)

SESSION_NAME = "archiver"  # in the logs of the role's account; sessions serve many jobs, so none of these is named
SESSION_SECONDS = 3600  # the most that a role may give that assumes another one ("Role chaining", IAM user guide)
RENEW_BEFORE = 900.0  # seconds before credentials expire
RENEWAL_RETRY_SECONDS = 60.0  # while the present credentials still work
REFUSAL_SECONDS = 5.0  # for which a refusal stands: a request may have 10,000 objects of a role that can't be assumed
FAILURE_SECONDS = 1.0

_CLOCK_CODES = frozenset({"RequestExpired", "RequestTimeTooSkewed"})


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """Credentials of a role. *expires*: seconds since the epoch."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: float


async def assume_role(session: Session, arn: str, external_id: str | None, on_refusal: ErrorFactory) -> AssumedRole:
    """
    Assume the role *arn* with the worker's own credentials, those of *session*. A refusal is mapped with *on_refusal*.

    Raises CredentialsRefused, TransientError, ConfigurationError (there are no credentials).
    """
    external: dict[str, Any] = {} if external_id is None else {"ExternalId": external_id}
    refused = error_map(CredentialsRefused, CREDENTIAL_ERROR_CODES)
    async with AsyncExitStack() as stack:
        with credential_errors():
            client: Any = session.client("sts", config=client_config(10, attempts=1, pool=1))
            sts = await stack.enter_async_context(client)
        with map_errors(f"AssumeRole {arn}", refused, on_refusal):
            response = await sts.assume_role(
                RoleArn=arn, RoleSessionName=SESSION_NAME, DurationSeconds=SESSION_SECONDS, **external
            )
    given = response["Credentials"]
    return AssumedRole(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"].timestamp()
    )


class RoleCredentials:
    """
    The credentials of one role, renewed before they expire; the `Session` of its reader. *assume* is one call to STS;
    it raises SourceUnavailable if the role can't be assumed. *clock* returns seconds since the epoch.

    Concurrent callers share one call and its outcome. A failed renewal hurts nobody while the present credentials work.
    """

    def __init__(self, assume: Callable[[], Awaitable[AssumedRole]], clock: Callable[[], float] = time.time) -> None:
        self._assume = assume
        self._clock = clock
        self._lock = asyncio.Lock()
        self._current: AssumedRole | None = None
        self._failure: ArchiverError | None = None
        self._due = 0.0

    async def get_credentials(self) -> Self:
        """Return this: it renews itself."""
        return self

    async def get_frozen_credentials(self) -> AssumedRole:
        """Raises SourceUnavailable, TransferInterrupted, CredentialsRefused, ConfigurationError."""
        if self._clock() >= self._due:
            async with self._lock:
                if self._clock() >= self._due:
                    await self._renew()
        if self._current is None or self._clock() >= self._current.expires:
            raise _anew(self._failure)
        return self._current

    def forget(self, used: AssumedRole) -> None:
        """Assume the role again before the next use, as S3 takes the credentials *used* for expired."""
        if self._current is used:
            self._current, self._due = None, 0.0

    async def _renew(self) -> None:
        try:
            assumed = await self._assume()
        except (SourceUnavailable, TransientError, CredentialsRefused) as error:
            self._failure = error
            works = self._current is not None and self._current.expires - self._clock() > RENEWAL_RETRY_SECONDS
            refused = not isinstance(error, TransientError)
            wait = RENEWAL_RETRY_SECONDS if works else REFUSAL_SECONDS if refused else FAILURE_SECONDS
            self._due = self._clock() + wait
            return
        self._current, now = assumed, self._clock()
        self._due = assumed.expires - min(RENEW_BEFORE, (assumed.expires - now) / 2)


def _anew(error: ArchiverError | None) -> ArchiverError:
    """Return *error* as a new instance: each of those who share it adds its own location."""
    if isinstance(error, SourceUnavailable):
        return SourceUnavailable(error.code, error.detail)
    if isinstance(error, CredentialsRefused):
        return CredentialsRefused(str(error), error.code)
    return TransferInterrupted(str(error or "the credentials of the role have expired"))


class RoleReaders:
    """An ObjectReader, and the Roles. Objects without a role are read by *reader*."""

    def __init__(self, reader: S3Reader, credentials: Mapping[str, RoleCredentials]) -> None:
        self._own = reader
        self._credentials = credentials
        self._readers = {arn: reader.with_session(session) for arn, session in credentials.items()}
        transports = {arn: one.transport for arn, one in self._readers.items()}
        self.serve = S3Lanes({"": reader.transport, **transports}).serve

    async def assume(self, role: str) -> None:
        await self._credentials[role].get_frozen_credentials()

    async def head(self, location: Location) -> ObjectInfo:
        async with self.reader_of(location.role) as reader:
            return await reader.head(location)

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        async with self.reader_of(prefix.location.role) as reader:
            return await reader.list(prefix, token)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        async with self.reader_of(location.role) as reader:
            await reader.read(location, etag, start, into)

    @asynccontextmanager
    async def reader_of(self, role: str) -> AsyncIterator[S3Reader]:
        """
        The reader of *role*. S3's refusals of the role's credentials are mapped here: they say nothing about the
        worker's own, unless it is the clock.
        """
        if not role:
            yield self._own
            return
        credentials = self._credentials[role]
        used = await credentials.get_frozen_credentials()
        try:
            yield self._readers[role]
        except CredentialsRefused as refused:
            if refused.code in _CLOCK_CODES:
                raise
            if refused.code in EXPIRED_TOKEN_CODES:
                credentials.forget(used)
                raise TransferInterrupted(f"the credentials of {role} have expired") from refused
            detail = f"S3 refuses the credentials of the role {role} ({refused.code})"
            raise SourceUnavailable("source_denied", detail) from refused


def open_roles(session: Session, reader: S3Reader, roles: Mapping[str, Role]) -> RoleReaders:
    """Return a reader for *roles*, by ARN. *session* has the credentials that assume them."""

    def credentials(arn: str, role: Role) -> RoleCredentials:
        def refuse(reason: str) -> SourceUnavailable:
            log.warning("role.refused", role=arn, reason=reason)
            return SourceUnavailable(
                "source_denied",
                f"the role {arn} can't be assumed: the worker's policy must allow sts:AssumeRole on it, and its trust "
                "policy the worker's role (with the external id of the operator's file)",
            )

        return RoleCredentials(lambda: assume_role(session, arn, role.external_id, refuse))

    return RoleReaders(reader, {arn: credentials(arn, role) for arn, role in roles.items()})
