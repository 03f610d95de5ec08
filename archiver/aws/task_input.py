"""S3: puts the order of a task that is too long for the call that starts it."""

from archiver.aws.dsn_session import Access
from archiver.aws.error_mapping import DENIED, NO_BUCKET, ResourceNotFound, error_map, map_errors
from archiver.core.locations import Location
from archiver.errors import ConfigurationError

_ERRORS = error_map(ResourceNotFound, NO_BUCKET) | error_map(ConfigurationError, DENIED)


async def put_order(access: Access, location: Location, order: str) -> None:
    """
    Write *order* to *location*. By the SDK, as the credentials may be those of a DSN. Raises ConfigurationError
    (ResourceNotFound: no such bucket), TransientError.
    """
    async with access.client("s3", read=30) as s3:
        with map_errors(f"PutObject {location}", _ERRORS, ConfigurationError):
            await s3.put_object(
                Bucket=location.bucket, Key=location.key, Body=order.encode(), ContentType="application/json"
            )
