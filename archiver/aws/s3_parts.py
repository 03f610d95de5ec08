"""Bodies out on the fast path: parts and whole archives, in slices of their buffer, held to their CRC-32."""

from base64 import b64encode
from dataclasses import replace
from urllib.parse import quote

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_responses import error_code, write_error
from archiver.aws.s3_transport import S3Request, S3Transport, Session, TransportConfig
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ConfigurationError, SourceUnavailable, TransientError
from archiver.http.parse import Head
from archiver.http.pool import HttpTimeouts
from archiver.ports import Target

PART_TIMEOUTS = HttpTimeouts(response=60.0, stall=30.0)


class PartSender:
    """
    Sends the bodies of parts and of archives of one part; `close` ends all connections. One attempt a call.

    A call that has ended, cancelled ones included, leaves nothing behind that still refers to *body*: the buffer may
    be another job's at once. That is why no SDK sends bodies: its transports keep views, and send them when they can.
    """

    def __init__(self, session: Session, endpoint: Endpoint, config: TransportConfig | None = None) -> None:
        self._transport = S3Transport(session, endpoint, replace(config or TransportConfig(), limits=PART_TIMEOUTS))
        self.close = self._transport.close

    async def send(self, location: Location, upload_id: str, number: int, body: memoryview, crc32: int) -> str:
        """
        UploadPart: send part *number* of the upload *upload_id*; its ETag. *body* must not change until this returns.

        Raises TransientError; ArchiveExists where the upload is gone; ConfigurationError where the bucket refuses us or
        is gone.
        """
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='-_.~')}"
        return await self._send_body(S3Request("PUT", location, _accept_any, into=None, query=query, body=body), crc32)

    async def put(self, target: Target, location: Location, body: memoryview, crc32: int) -> str:
        """
        PutObject, where nothing stands at *location*: the archive as *target* describes it; its ETag. *body* must not
        change until this returns.

        Raises TransientError (409 of a conflict included), ArchiveExists, ConfigurationError.
        """
        metadata = tuple(
            (f"x-amz-meta-{name.lower()}", _check_signed_value(value)) for name, value in target.metadata.items()
        )
        disposition = _check_header_value(target.disposition)
        lines = f"If-None-Match: *\r\nContent-Type: application/zip\r\nContent-Disposition: {disposition}\r\n"
        return await self._send_body(
            S3Request("PUT", location, _accept_any, into=None, lines=lines, amz=metadata, body=body), crc32
        )

    async def _send_body(self, request: S3Request, crc32: int) -> str:
        checksum = b64encode(crc32.to_bytes(4, "big")).decode()
        amz = (*request.amz, ("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32"))
        try:
            response = await self._transport.request(
                request._replace(amz=amz, lines=f"{request.lines}Content-Length: {len(request.body)}\r\n")
            )
        except SourceUnavailable as error:
            raise ConfigurationError(str(error)) from error
        if error_code(response) == "NoSuchUpload":
            # Whoever settled this job first has swept our upload away: the pipeline looks what stands there.
            raise ArchiveExists(f"{request.location}: the upload is gone")
        if response.head.status >= 300 or error_code(response):  # noqa: PLR2004
            raise write_error(response)
        etag = response.head.text(b"etag")
        if not etag or response.head.text(b"x-amz-checksum-crc32") not in ("", checksum):
            raise TransientError(
                f"{request.location}: the answer to the body has no ETag, or the CRC-32 of other bytes"
            )
        return etag


def _check_header_value(value: str) -> str:
    """*value*, which is sent as it is. Raises ValueError where it could not be: every one is ours."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header's value has to be printable ASCII")
    return value


def _check_signed_value(value: str) -> str:
    """*value*, which is signed, too: the signature is of single spaces. Raises ValueError."""
    if value != " ".join(value.split()):
        raise ValueError("a signed header's value has to be ASCII, without spaces at its ends or two in a row")
    return _check_header_value(value)


def _accept_any(_: Head) -> None:
    """An answer to a body has nothing that a body of its own would have to be held to."""
