"""Signed S3 requests over pooled connections: one attempt each, with region redirects and credential renewal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from archiver import __version__
from archiver.aws.endpoint import BucketEndpoint, Endpoint, UnusableNameError, encoded_path
from archiver.aws.error_mapping import NO_CREDENTIALS, CredentialsError, credentials_message
from archiver.aws.s3_headers import S3Headers
from archiver.aws.s3_responses import EXPIRED_TOKEN_CODES, error_code, redirect_region
from archiver.aws.sigv4 import Signer, SigningCredentials, SigningInput
from archiver.core.locations import Location
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable
from archiver.http.exchange import MAX_ERROR_BODY, HttpRequest, HttpResponse
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, HttpTimeouts
from archiver.http.proxy import Proxies

COMMON_HEADERS = f"User-Agent: archiver/{__version__}\r\nAccept-Encoding: identity\r\n"
_CREDENTIALS_CACHE_SECONDS = 5.0
"""Seconds for which credentials are cached: providers renew them minutes before they expire."""


class FrozenCredentials(Protocol):
    """Credentials that do not change."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class RefreshableCredentials(Protocol):
    """Credentials that botocore renews."""

    async def get_frozen_credentials(self) -> FrozenCredentials: ...


class Session(Protocol):
    """The part of an `aioboto3.Session` (or aiobotocore's) that is used here."""

    def get_credentials(self) -> Awaitable[RefreshableCredentials | None]: ...


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """
    *ca_bundle*: file of trusted certificates instead of the system's; *proxies*: None for direct connections;
    *headers*: added to requests by settings.
    """

    limits: HttpTimeouts = field(default_factory=HttpTimeouts)
    ca_bundle: str | None = None
    proxies: Proxies | None = None
    headers: S3Headers = field(default_factory=S3Headers)


def accept_any(_: Head) -> None:
    """Accept any response head: a returned body is examined by the caller."""


class S3Request(NamedTuple):
    """
    One request. *lines*: further unsigned header lines; *amz*: further signed headers; *query*: encoded and sorted.
    *copied_bucket*: that of the object which an UploadPartCopy reads. The other fields are those of `HttpRequest`.
    """

    method: str
    location: Location
    check: Callable[[Head], None] = accept_any
    into: Sequence[memoryview] | None = ()
    lines: str = ""
    amz: Sequence[tuple[str, str]] = ()
    query: str = ""
    body: memoryview = memoryview(b"")
    body_limit: int = MAX_ERROR_BODY
    copied_bucket: str = ""


class S3Transport:
    """Sends requests, concurrently if the caller wants; `close` closes all connections."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        config: TransportConfig | None = None,
        pool: HttpPool | None = None,
    ) -> None:
        """*pool*: connections of another transport. S3 authorises each request, never a connection."""
        config = config or TransportConfig()
        self._session = session
        self.endpoint = endpoint
        self.pool = pool or HttpPool(config.limits, config.ca_bundle, config.proxies)
        self.headers = config.headers
        self.signer = Signer()
        self._credentials: SigningCredentials | None = None
        self._credentials_cached_until = 0.0

    async def close(self) -> None:
        """Close all connections; running requests are interrupted."""
        await self.pool.close()

    async def request(self, request: S3Request) -> HttpResponse:
        """
        Send the request once; repeat it once if S3 names another region or the credentials can be renewed.

        Raises TransferInterrupted, ConfigurationError, SourceUnavailable (invalid name), and the errors of *check*.
        """
        credentials = await self.current_credentials()
        endpoint = self._resolve(request.location.bucket)
        response = await self._send(request, endpoint, credentials)
        if response.head.status < 300:  # noqa: PLR2004
            return response
        if self.endpoint.record_region(request.location.bucket, redirect_region(response), endpoint):
            return await self._send(request, self._resolve(request.location.bucket), credentials)
        if error_code(response) in EXPIRED_TOKEN_CODES:
            self._credentials_cached_until = 0.0
            renewed = await self.current_credentials()
            if renewed != credentials:
                return await self._send(request, endpoint, renewed)
            self._credentials_cached_until = 0.0  # whoever knows more may renew them now
        return response

    def _resolve(self, bucket: str) -> BucketEndpoint:
        try:
            return self.endpoint.resolve(bucket)
        except UnusableNameError as error:
            raise SourceUnavailable("source_missing", str(error)) from error

    async def _send(
        self, request: S3Request, endpoint: BucketEndpoint, credentials: SigningCredentials
    ) -> HttpResponse:
        try:
            path = encoded_path(endpoint, request.location)
        except UnusableNameError as error:
            raise SourceUnavailable("source_missing", str(error)) from error
        amz = (*request.amz, *self.headers.lines(request.method, request.location.bucket, request.query))
        if request.copied_bucket:
            amz = (*amz, *self.headers.copy_lines(request.copied_bucket))
        signed = self.signer.sign(
            SigningInput(request.method, endpoint.host, path, amz, request.query), endpoint.region, credentials
        )
        target = f"{path}?{request.query}" if request.query else path
        head = f"{request.method} {target} HTTP/1.1\r\n{signed}{COMMON_HEADERS}{request.lines}\r\n".encode("latin-1")
        return await self.pool.request(
            endpoint.origin,
            HttpRequest(request.method, head, request.into, request.check, request.body, request.body_limit),
        )

    @property
    def cached_credentials(self) -> SigningCredentials | None:
        """The credentials, if they were taken from the provider a moment ago."""
        return self._credentials if asyncio.get_running_loop().time() < self._credentials_cached_until else None

    async def current_credentials(self) -> SigningCredentials:
        """Return the credentials, which the provider may have renewed. Raises CredentialsError, ConfigurationError."""
        cached = self.cached_credentials
        if cached is not None:
            return cached
        try:
            source = await self._session.get_credentials()
            frozen = None if source is None else await source.get_frozen_credentials()
        except ArchiverError:  # of a role
            raise
        except Exception as error:  # noqa: BLE001 - a provider may raise anything; its text may contain secrets
            raise CredentialsError(credentials_message(error)) from None
        if frozen is None:
            raise ConfigurationError(NO_CREDENTIALS)
        self._credentials = SigningCredentials(frozen.access_key, frozen.secret_key, frozen.token)
        self._credentials_cached_until = asyncio.get_running_loop().time() + _CREDENTIALS_CACHE_SECONDS
        return self._credentials
