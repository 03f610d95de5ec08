"""Presigned S3 links: they need no CloudFront, and expire with the credentials that signed them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aioboto3
import structlog
from botocore.exceptions import ClientError

from archiver.aws.error_mapping import NO_CREDENTIALS, CredentialsError, map_errors
from archiver.aws.session import client_config, credential_errors
from archiver.core.messages import Link
from archiver.errors import ConfigurationError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

log = structlog.get_logger(__name__)

EXPIRED_MESSAGE = "credentials have expired"


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def presigned_links(
    session: aioboto3.Session, bucket: str, seconds: int, clock: Callable[[], datetime] = _now
) -> AsyncIterator["PresignedLinks"]:
    """Yield links to archives in *bucket* that work for *seconds*, or until the credentials of *session* expire."""
    async with AsyncExitStack() as stack:
        yield PresignedLinks(_SigningClients(session, bucket, stack), bucket, seconds, clock)


class PresignedLinks:
    """
    Links signed by the SDK with the current credentials.

    A link signed with temporary credentials stops working when they expire, even if its own time is later: `expires_at`
    is the earlier of the two ("Sharing objects with presigned URLs", S3 user guide). If the expiry of temporary
    credentials is unknown, links have no `expires_at`.
    """

    def __init__(self, signers: "_SigningClients", bucket: str, seconds: int, clock: Callable[[], datetime]) -> None:
        self._signers = signers
        self._bucket = bucket
        self._seconds = seconds
        self._clock = clock
        self._warned = False

    async def link(self, key: str) -> Link:
        """Return the link to the archive at *key*. Raises CredentialsError, ConfigurationError, TransientError."""
        signer, credentials = await self._signers.signer()
        temporary, expiry = await _get_expiry(credentials)
        seconds = self._seconds if expiry is None else min(self._seconds, int((expiry - self._clock()).total_seconds()))
        if seconds < 1:
            raise CredentialsError(f"{EXPIRED_MESSAGE}: links can't be signed; provide new ones")
        with credential_errors():
            url = await signer.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=seconds
            )
        if temporary and expiry is None:
            self._warn_unknown_expiry()
            return Link(url)
        until = _expiry_from_url(url)
        return Link(url, until if expiry is None else min(until, expiry.astimezone(UTC)))

    def _warn_unknown_expiry(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "links.unknown_end",
                effect="links expire with temporary credentials, whose expiry is unknown: answers have no expires_at; "
                "set AWS_CREDENTIAL_EXPIRATION, or give the worker a role",
            )


class _SigningClients:
    """The client that signs links. It is opened for the first link, so that no credentials are needed earlier."""

    def __init__(self, session: aioboto3.Session, bucket: str, stack: AsyncExitStack) -> None:
        self._session = session
        self._bucket = bucket
        self._stack = stack
        self._client: S3Client | None = None

    async def signer(self) -> "tuple[S3Client, Any]":
        """Return the client and the credentials that it signs with."""
        with credential_errors():
            credentials = await self._session.get_credentials()
        if credentials is None:
            raise ConfigurationError(NO_CREDENTIALS)
        if self._client is None:
            region = await self._region()
            self._client = await self._stack.enter_async_context(self._open_client(region))
        return self._client, credentials

    async def _region(self) -> str | None:
        """Return the bucket's region, as a link signed for another region does not work. None: the session's region."""
        async with self._open_client(None) as client:
            with map_errors(f"HeadBucket {self._bucket}"):
                try:
                    response: Any = await client.head_bucket(Bucket=self._bucket)
                except ClientError as error:  # a 403 without s3:ListBucket has the region header, too
                    response = error.response
        region: str | None = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return region

    @asynccontextmanager
    async def _open_client(self, region: str | None) -> "AsyncIterator[S3Client]":
        # By default, the SDK presigns with signature version 2, which fails for objects encrypted with KMS keys.
        config = client_config(20, attempts=4, pool=1, signature_version="s3v4")
        async with AsyncExitStack() as stack:
            with credential_errors():
                opening = self._session.client("s3", region_name=region, config=config)
                client = await stack.enter_async_context(opening)
            yield client


async def _get_expiry(credentials: Any) -> tuple[bool, datetime | None]:
    """Refresh *credentials* if due; return whether they are temporary, and their expiry (None: unknown)."""
    with credential_errors():
        try:
            frozen = await credentials.get_frozen_credentials()
        except RuntimeError:  # raised by the SDK for expired credentials that it can't renew
            raise CredentialsError(f"{EXPIRED_MESSAGE}; provide new ones") from None
    expiry: datetime | None = getattr(credentials, "_expiry_time", None)
    return bool(frozen.token) or expiry is not None, expiry


def _expiry_from_url(url: str) -> datetime:
    """Return the expiry that is written in the link."""
    query = parse_qs(urlsplit(url).query)
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))
