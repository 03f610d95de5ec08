"""HEAD and GET on the fast path: one attempt a call, held to one version, errors translated."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from archiver import __version__
from archiver.aws.endpoint import Endpoint, UnusableNameError, encoded_path
from archiver.aws.http import HttpPool, Limits
from archiver.aws.http_connection import Answer, Request
from archiver.aws.http_parse import Head
from archiver.aws.s3_answers import EXPIRED, Wanted, error_code, head_problem, object_info, other_region, read_problem
from archiver.aws.sigv4 import Keys, Signer, Subject
from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.errors import ConfigurationFault, Interrupted, SourceChanged, SourceUnavailable

_COMMON = f"User-Agent: archiver/{__version__}\r\nAccept-Encoding: identity\r\n"
_CHECKSUMS = (("x-amz-checksum-mode", "ENABLED"),)
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
class ReadConfig:
    """*ca_bundle*: a file of trusted certificates (`AWS_CA_BUNDLE`) instead of the system's."""

    limits: Limits = field(default_factory=Limits)
    ca_bundle: str | None = None


class _Ask(NamedTuple):
    method: str
    location: Location
    check: Callable[[Head], None]
    into: Sequence[memoryview] = ()
    lines: str = ""
    amz: Sequence[tuple[str, str]] = ()


class S3Reader:
    """An `ObjectReader` for S3. As many calls at once as the caller likes; `close` ends all connections."""

    def __init__(self, session: Session, endpoint: Endpoint, config: ReadConfig | None = None) -> None:
        config = config or ReadConfig()
        self._session = session
        self._endpoint = endpoint
        self._pool = HttpPool(config.limits, config.ca_bundle)
        self._signer = Signer()
        self._keys: Keys | None = None
        self._keys_until = 0.0

    async def close(self) -> None:
        """End all connections; what is running is interrupted."""
        await self._pool.close()

    async def head(self, location: Location) -> ObjectInfo:
        """
        What S3 says of the object.

        Raises SourceUnavailable (missing, denied, archived), Interrupted, ConfigurationFault.
        """
        ask = _Ask("HEAD", location, _accept, amz=_CHECKSUMS)
        answer = await self._ask(ask)
        if 400 <= answer.head.status < 500 and answer.head.status not in (404, 429):  # noqa: PLR2004
            # HEAD has no body, so no code: 403 alone may be denial, a wrong clock or a spent token.
            await self._ask_why(location)
            answer = await self._ask(ask)
        if answer.head.status < 300:  # noqa: PLR2004
            return object_info(answer.head)
        raise head_problem(answer)

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into* with the object's bytes from *start* on; at least one byte has to be asked for.

        Raises Interrupted with the number of good bytes received, SourceChanged, ConfigurationFault.
        """
        if not etag.isprintable():  # it would end its header line; and no ETag that we were told is like that
            raise SourceChanged("no object has this ETag")
        end = start + sum([view.nbytes for view in into]) - 1
        lines = f"Range: bytes={start}-{end}\r\nIf-Match: {etag}\r\n"
        try:
            answer = await self._ask(_Ask("GET", location, Wanted(etag, start, end).check, into, lines))
        except SourceUnavailable as error:
            raise SourceChanged(str(error)) from error
        if answer.head.status >= 300:  # noqa: PLR2004
            raise read_problem(answer)

    async def _ask_why(self, location: Location) -> None:
        """Ask by GET for the code that HEAD does not tell; return where GET finds nothing wrong."""
        try:
            answer = await self._ask(_Ask("GET", location, _stop, lines="Range: bytes=0-0\r\n"))
        except _Readable:
            return
        if answer.head.status != 416:  # noqa: PLR2004 - an empty object has no first byte, and is readable
            raise head_problem(answer)

    async def _ask(self, ask: _Ask) -> Answer:
        """One attempt; once more in the right region, or with renewed credentials."""
        keys = await self._current_keys()
        answer = await self._send(ask, keys)
        if answer.head.status < 300:  # noqa: PLR2004
            return answer
        if self._endpoint.learn(ask.location.bucket, other_region(answer)):
            return await self._send(ask, keys)
        if error_code(answer) in EXPIRED:
            self._keys_until = 0.0
            renewed = await self._current_keys()
            if renewed != keys:
                return await self._send(ask, renewed)
        return answer

    async def _send(self, ask: _Ask, keys: Keys) -> Answer:
        try:
            place = self._endpoint.place(ask.location.bucket)
            path = encoded_path(place, ask.location)
        except UnusableNameError as error:
            raise SourceUnavailable("source_missing", str(error)) from error
        signed = self._signer.sign(Subject(ask.method, place.host, path, ask.amz), place.region, keys)
        head = f"{ask.method} {path} HTTP/1.1\r\n{signed}{_COMMON}{ask.lines}\r\n".encode("latin-1")
        return await self._pool.request(place.origin, Request(ask.method, head, ask.into, ask.check))

    async def _current_keys(self) -> Keys:
        now = asyncio.get_running_loop().time()
        if self._keys is not None and now < self._keys_until:
            return self._keys
        try:
            source = await self._session.get_credentials()
            frozen = None if source is None else await source.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - whatever a provider may raise; its text may hold secrets
            raise ConfigurationFault(f"credentials can't be had: {type(error).__name__}") from None
        if frozen is None:
            raise ConfigurationFault("no credentials found")
        self._keys = Keys(frozen.access_key, frozen.secret_key, frozen.token)
        self._keys_until = now + _KEYS_KEPT
        return self._keys


class _Readable(Interrupted):
    """GET would answer: the question is settled, the body not wanted."""


def _accept(_: Head) -> None:
    """HEAD's success has no body to be held to anything."""


def _stop(_: Head) -> None:
    raise _Readable("not wanted")
