"""Presigned S3 links: they need no CloudFront, and die with the credentials that signed them."""

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
    """Links to the archives in *bucket* that work for *seconds*, or until the credentials of *session* end."""
    async with AsyncExitStack() as stack:
        yield PresignedLinks(_SigningClients(session, bucket, stack), bucket, seconds, clock)


class PresignedLinks:
    """
    Links signed by the SDK with the credentials of the moment. One that was signed with temporary credentials stops
    working when those end, whatever it says itself: `expires_at` is the earlier of the two ("Sharing objects with
    presigned URLs", S3 user guide). Where the end of temporary credentials is not known, no `expires_at` is told.
    """

    def __init__(self, signers: "_SigningClients", bucket: str, seconds: int, clock: Callable[[], datetime]) -> None:
        self._signers = signers
        self._bucket = bucket
        self._seconds = seconds
        self._clock = clock
        self._warned = False

    async def link(self, key: str) -> Link:
        """The link to the archive at *key*. Raises CredentialsError, ConfigurationError, TransientError."""
        signer, credentials = await self._signers.signer()
        temporary, expiry = await _get_expiry(credentials)
        seconds = self._seconds if expiry is None else min(self._seconds, int((expiry - self._clock()).total_seconds()))
        if seconds < 1:
            raise CredentialsError(f"{EXPIRED_MESSAGE}: they can't sign a link any more")
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
                effect="links die with temporary credentials whose end is not known: answers have no expires_at; "
                "set AWS_CREDENTIAL_EXPIRATION, or give a role",
            )


class _SigningClients:
    """The client that signs, opened when the first link is wanted: before that, nobody is asked for credentials."""

    def __init__(self, session: aioboto3.Session, bucket: str, stack: AsyncExitStack) -> None:
        self._session = session
        self._bucket = bucket
        self._stack = stack
        self._client: S3Client | None = None

    async def signer(self) -> "tuple[S3Client, Any]":
        """The client, and the credentials that it signs with."""
        with credential_errors():
            credentials = await self._session.get_credentials()
        if credentials is None:
            raise ConfigurationError(NO_CREDENTIALS)
        if self._client is None:
            region = await self._region()
            self._client = await self._stack.enter_async_context(self._open_client(region))
        return self._client, credentials

    async def _region(self) -> str | None:
        """Where the bucket is: a link that was signed for another region opens nothing. None: where the session is."""
        async with self._open_client(None) as client:
            with map_errors(f"HeadBucket {self._bucket}"):
                try:
                    response: Any = await client.head_bucket(Bucket=self._bucket)
                except ClientError as error:  # who may not list is told the region all the same
                    response = error.response
        region: str | None = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return region

    @asynccontextmanager
    async def _open_client(self, region: str | None) -> "AsyncIterator[S3Client]":
        # The version is named, or the SDK presigns with 2, which buckets under KMS keys refuse.
        config = client_config(20, attempts=4, pool=1, signature_version="s3v4")
        async with AsyncExitStack() as stack:
            with credential_errors():
                opening = self._session.client("s3", region_name=region, config=config)
                client = await stack.enter_async_context(opening)
            yield client


async def _get_expiry(credentials: Any) -> tuple[bool, datetime | None]:
    """Whether *credentials*, refreshed where that is due, are temporary, and when they end, where that is known."""
    with credential_errors():
        try:
            frozen = await credentials.get_frozen_credentials()
        except RuntimeError:  # the SDK's, of credentials that have ended, and are not renewed
            raise CredentialsError(f"{EXPIRED_MESSAGE}: give new ones") from None
    expiry: datetime | None = getattr(credentials, "_expiry_time", None)
    return bool(frozen.token) or expiry is not None, expiry


def _expiry_from_url(url: str) -> datetime:
    """The end that stands in the link itself."""
    query = parse_qs(urlsplit(url).query)
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))
