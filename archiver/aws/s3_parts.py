"""Sends parts and whole archives with the own HTTP client, straight from their buffers, with a CRC-32."""

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
    Sends the bodies of parts and of archives of one part. One attempt per call; `close` closes all connections.

    When a call has returned or was cancelled, nothing refers to *body* any more: another job may reuse the buffer at
    once. That is why the SDK does not send bodies: its transports keep views of the buffer and may send them later.
    """

    def __init__(self, session: Session, endpoint: Endpoint, config: TransportConfig | None = None) -> None:
        self.transport = S3Transport(session, endpoint, replace(config or TransportConfig(), limits=PART_TIMEOUTS))
        self.close = self.transport.close

    async def send(self, location: Location, upload_id: str, number: int, body: memoryview, crc32: int) -> str:
        """
        UploadPart: send part *number* of the upload *upload_id*; return its ETag.

        *body* must not change until this returns. Raises TransientError; ArchiveExists if the upload does not exist;
        ConfigurationError if the bucket refuses the write or does not exist.
        """
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='-_.~')}"
        return await self._send_body(S3Request("PUT", location, _accept_any, into=None, query=query, body=body), crc32)

    async def put(self, target: Target, location: Location, body: memoryview, crc32: int) -> str:
        """
        PutObject: write the archive described by *target* if no object exists at *location*; return its ETag.

        *body* must not change until this returns. Raises TransientError (also for 409, a conflict), ArchiveExists,
        ConfigurationError.
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
            response = await self.transport.request(
                request._replace(amz=amz, lines=f"{request.lines}Content-Length: {len(request.body)}\r\n")
            )
        except SourceUnavailable as error:
            raise ConfigurationError(str(error)) from error
        if error_code(response) == "NoSuchUpload":
            # Another worker finished this job and aborted this upload; the pipeline checks the key with HEAD.
            raise ArchiveExists(f"{request.location}: the multipart upload does not exist any more")
        if response.head.status >= 300 or error_code(response):  # noqa: PLR2004
            raise write_error(response)
        etag = response.head.text(b"etag")
        if not etag or response.head.text(b"x-amz-checksum-crc32") not in ("", checksum):
            raise TransientError(
                f"{request.location}: the response has no ETag, or a CRC-32 that differs from the body's"
            )
        return etag


def _check_header_value(value: str) -> str:
    """Return *value*. Raises ValueError if it can't be sent in a header, which is a bug: all values are generated."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header value must be printable ASCII")
    return value


def _check_signed_value(value: str) -> str:
    """Return *value*. Raises ValueError if it can't be signed: the signature requires single spaces."""
    if value != " ".join(value.split()):
        raise ValueError("a signed header value must be ASCII, without leading, trailing or repeated spaces")
    return _check_header_value(value)


def _accept_any(_: Head) -> None:
    """Accept any response head: the response to a write has no body to validate."""
