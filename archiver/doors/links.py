"""How archives are linked to: plainly, or signed for CloudFront or S3."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from archiver.aws.session import Session
from archiver.core.locations import PlainLinks
from archiver.ports import Links
from archiver.settings import Environment, SettingsError


@asynccontextmanager
async def open_links(settings: Environment, session: Session) -> AsyncIterator[Links]:
    """How archives are linked to; *session* signs links where the settings say so. Raises SettingsError."""
    if settings.links is None:
        yield build_links(settings)
        return
    from archiver.aws.presigned import presigned_links  # noqa: PLC0415 - nothing of it where it is off

    async with presigned_links(session, settings.destination_bucket or "", settings.link_expires_in) as links:
        yield links


def build_links(settings: Environment) -> Links:
    """How archives are linked to without S3's own signatures. Raises SettingsError where the key can't sign."""
    bucket = settings.destination_bucket or ""
    if settings.cloudfront_key_id is None or settings.cloudfront_private_key is None or settings.base_url is None:
        return PlainLinks(settings.base_url, bucket)
    from archiver.aws.signed_urls import InvalidKeyError, LinkBase, SignedLinks  # noqa: PLC0415 - late: cryptography

    key = settings.cloudfront_private_key.get_secret_value()
    try:
        return SignedLinks(
            LinkBase(settings.base_url, bucket), settings.cloudfront_key_id, key, settings.link_expires_in
        )
    except InvalidKeyError as problem:
        raise SettingsError([f"CLOUDFRONT_PRIVATE_KEY: {problem}"]) from None
