"""Upload a manifest: the files of a request that is too long for a message."""

from archiver.aws.error_mapping import NO_BUCKET, ResourceNotFound, error_map, map_errors
from archiver.aws.session import client_config, credential_errors, open_network
from archiver.core.locations import Location
from archiver.errors import ConfigurationError

READ_TIMEOUT = 60  # seconds


async def put_manifest(location: Location, body: bytes) -> None:
    """Write *body* to *location*. Raises ResourceNotFound, ConfigurationError (denied), TransientError."""
    session = (await open_network()).session
    with credential_errors():
        opening = session.client("s3", config=client_config(READ_TIMEOUT, attempts=3, pool=1))
    async with opening as client:
        with map_errors(f"PutObject {location}", error_map(ResourceNotFound, NO_BUCKET), ConfigurationError):
            await client.put_object(Bucket=location.bucket, Key=location.key, Body=body, ContentType="application/json")
