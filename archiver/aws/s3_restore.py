"""RestoreObject with the own HTTP client: asks S3 for a readable copy of an archived object."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from zlib import crc32

from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_responses import error_code, read_error
from archiver.aws.s3_transport import S3Request
from archiver.core.locations import Location
from archiver.core.messages import Tier

_NOTHING_TO_DO = frozenset({"RestoreAlreadyInProgress", "InvalidObjectState"})
"""It was asked for before; or the object is not archived (any more), as the next HEAD shows."""


class S3Restorer:
    """
    The `ObjectRestorer` for S3. Calls may run concurrently. *reader_of* returns the reader of a role ("": the worker's
    own), whose credentials and connections are used: with other credentials, a request could restore what it may not.
    """

    def __init__(self, reader_of: Callable[[str], AbstractAsyncContextManager[S3Reader]]) -> None:
        self._reader_of = reader_of

    async def restore(self, location: Location, tier: Tier, days: int | None) -> None:
        """
        Ask for a copy of the object for *days*; None: it stays readable, as objects of Intelligent-Tiering do.

        Raises SourceUnavailable (missing, denied), TransferInterrupted, CredentialsRefused, ConfigurationError.
        """
        body = restore_request(tier, days)
        checksum = b64encode(crc32(body).to_bytes(4, "big")).decode()
        request = S3Request(
            "POST",
            location,
            into=None,
            lines=f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n",
            amz=(("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32")),
            query="restore=",
            body=memoryview(body),
        )
        async with self._reader_of(location.role) as reader:
            response = await reader.transport.request(request)
            if response.head.status >= 300 and error_code(response) not in _NOTHING_TO_DO:  # noqa: PLR2004
                raise read_error(response)


def restore_request(tier: Tier, days: int | None) -> bytes:
    """Return the body ("RestoreObject", S3 API reference)."""
    lifetime = "" if days is None else f"<Days>{days}</Days>"
    job = f"<GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>"
    xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<RestoreRequest xmlns="{xmlns}">{lifetime}{job}</RestoreRequest>'.encode()
