"""Signed requests to S3 on kept connections: one attempt each, in the right region, with credentials kept fresh."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from archiver import __version__
from archiver.aws.endpoint import Endpoint, Place, UnusableNameError, encoded_path
from archiver.aws.error_mapping import NO_CREDENTIALS, CredentialsFault, credentials_told
from archiver.aws.s3_headers import S3Headers
from archiver.aws.s3_responses import EXPIRED, error_code, other_region
from archiver.aws.sigv4 import Keys, Signer, Subject
from archiver.core.locations import Location
from archiver.errors import ConfigurationFault, SourceUnavailable
from archiver.http.exchange import Answer, Request
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, Limits
from archiver.http.proxy import Proxies

_COMMON = f"User-Agent: archiver/{__version__}\r\nAccept-Encoding: identity\r\n"
_KEYS_KEPT = 5.0
"""Seconds before botocore is asked again for credentials: it renews them minutes ahead of their end."""


class FrozenKeys(Protocol):
    """Credentials of one moment."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Credentials(Protocol):
    """Credentials that botocore keeps fresh."""

    async def get_frozen_credentials(self) -> FrozenKeys: ...


class Session(Protocol):
    """As much of an `aioboto3.Session` (or aiobotocore's) as is needed here."""

    def get_credentials(self) -> Awaitable[Credentials | None]: ...


@dataclass(frozen=True, slots=True)
class WireConfig:
    """
    *ca_bundle*: a file of trusted certificates instead of the system's; *proxies*: None hears of no proxy;
    *headers*: what settings add to requests.
    """

    limits: Limits = field(default_factory=Limits)
    ca_bundle: str | None = None
    proxies: Proxies | None = None
    headers: S3Headers = field(default_factory=S3Headers)


class Ask(NamedTuple):
    """
    One request: *lines* are further header lines, *amz* the signed ones, *query* is encoded and in order. The other
    fields are `Request`'s.
    """

    method: str
    location: Location
    check: Callable[[Head], None]
    into: Sequence[memoryview] | None = ()
    lines: str = ""
    amz: Sequence[tuple[str, str]] = ()
    query: str = ""
    body: memoryview = memoryview(b"")


class Wire:
    """As many calls at once as the caller likes; `close` ends all connections."""

    def __init__(self, session: Session, endpoint: Endpoint, config: WireConfig | None = None) -> None:
        config = config or WireConfig()
        self._session = session
        self._endpoint = endpoint
        self._pool = HttpPool(config.limits, config.ca_bundle, config.proxies)
        self._headers = config.headers
        self._signer = Signer()
        self._keys: Keys | None = None
        self._keys_until = 0.0

    async def close(self) -> None:
        """End all connections; what is running is interrupted."""
        await self._pool.close()

    async def ask(self, ask: Ask) -> Answer:
        """
        One attempt; once more in the right region, or with renewed credentials.

        Raises Interrupted, ConfigurationFault, SourceUnavailable (no such name can be), and what *check* raises.
        """
        keys = await self._current_keys()
        place = self._place(ask.location.bucket)
        answer = await self._send(ask, place, keys)
        if answer.head.status < 300:  # noqa: PLR2004
            return answer
        if self._endpoint.learn(ask.location.bucket, other_region(answer), place):
            return await self._send(ask, self._place(ask.location.bucket), keys)
        if error_code(answer) in EXPIRED:
            self._keys_until = 0.0
            renewed = await self._current_keys()
            if renewed != keys:
                return await self._send(ask, place, renewed)
        return answer

    def _place(self, bucket: str) -> Place:
        try:
            return self._endpoint.place(bucket)
        except UnusableNameError as error:
            raise SourceUnavailable("source_missing", str(error)) from error

    async def _send(self, ask: Ask, place: Place, keys: Keys) -> Answer:
        try:
            path = encoded_path(place, ask.location)
        except UnusableNameError as error:
            raise SourceUnavailable("source_missing", str(error)) from error
        amz = (*ask.amz, *self._headers.lines(ask.method, ask.location.bucket, ask.query))
        signed = self._signer.sign(Subject(ask.method, place.host, path, amz, ask.query), place.region, keys)
        target = f"{path}?{ask.query}" if ask.query else path
        head = f"{ask.method} {target} HTTP/1.1\r\n{signed}{_COMMON}{ask.lines}\r\n".encode("latin-1")
        return await self._pool.request(place.origin, Request(ask.method, head, ask.into, ask.check, ask.body))

    async def _current_keys(self) -> Keys:
        now = asyncio.get_running_loop().time()
        if self._keys is not None and now < self._keys_until:
            return self._keys
        try:
            source = await self._session.get_credentials()
            frozen = None if source is None else await source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - whatever a provider may raise; its text may hold secrets
            raise CredentialsFault(credentials_told(error)) from None
        if frozen is None:
            raise ConfigurationFault(NO_CREDENTIALS)
        self._keys = Keys(frozen.access_key, frozen.secret_key, frozen.token)
        self._keys_until = now + _KEYS_KEPT
        return self._keys
