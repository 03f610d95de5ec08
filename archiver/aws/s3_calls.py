"""Sends all S3 calls that are no reads of sources with the own HTTP client; each kind of call has its own patience."""

import asyncio
import random
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from archiver.aws.endpoint import Endpoint
from archiver.aws.error_mapping import ErrorFactory
from archiver.aws.s3_errors import call_error, is_failure, may_pass, write_error
from archiver.aws.s3_transport import S3Request, S3Transport, Session, TransportConfig
from archiver.errors import ConfigurationError, SourceUnavailable, TransferInterrupted, TransientError
from archiver.http.exchange import HttpResponse
from archiver.http.pool import HttpTimeouts

CONTROL_TIMEOUTS = HttpTimeouts(response=20.0)
CONTROL_ATTEMPTS = 4
BODY_TIMEOUTS = HttpTimeouts(response=60.0, stall=30.0)
COMPLETE_TIMEOUTS = HttpTimeouts(response=600.0, stall=600.0, window=600.0, window_bytes=0)
"""S3 takes minutes to join many parts, and may send the head of its answer long before the end."""


class Transport(Protocol):
    """The part of an `S3Transport` that is used here."""

    async def request(self, request: S3Request, /) -> HttpResponse: ...
    async def close(self) -> None: ...


class S3Calls:
    """
    Calls may run concurrently; `close` closes all connections.

    All methods raise TransferInterrupted, and ConfigurationError also for an invalid bucket name or key.
    """

    def __init__(
        self, control: Transport, bodies: Transport, completions: Transport, retry_seconds: float = 1.0
    ) -> None:
        self._control = control
        self._bodies = bodies
        self._completions = completions
        self._retry_seconds = retry_seconds
        self.buckets_without_acls: set[str] = set()  # as their refusals of writes have shown

    @classmethod
    def open(cls, session: Session, endpoint: Endpoint, config: TransportConfig | None = None) -> "S3Calls":
        """Return calls whose timeouts differ; no connection is opened yet."""
        common = config or TransportConfig()
        control, bodies, completions = (
            S3Transport(session, endpoint, replace(common, limits=timeouts))
            for timeouts in (CONTROL_TIMEOUTS, BODY_TIMEOUTS, COMPLETE_TIMEOUTS)
        )
        return cls(control, bodies, completions)

    async def close(self) -> None:
        """Close all connections; running calls are interrupted."""
        for transport in (self._control, self._bodies, self._completions):
            await transport.close()

    async def control(self, request: S3Request) -> HttpResponse:
        """
        Send a call that may be repeated, up to `CONTROL_ATTEMPTS` times, with the SDK's pauses of up to 1, 2 and 4 s;
        return the last response, whatever its status.

        A repeated CreateMultipartUpload may leave an upload behind; the job's clean-up lists and aborts it.
        """
        for attempt in range(CONTROL_ATTEMPTS - 1):
            try:
                response = await _send(self._control, request)
                if not may_pass(response):
                    return response
            except TransferInterrupted:
                pass
            await asyncio.sleep(random.uniform(0, self._retry_seconds * 2**attempt))  # noqa: S311 - jitter
        return await _send(self._control, request)

    async def call(
        self, operation: str, request: S3Request, mapping: Mapping[str, ErrorFactory] | None = None
    ) -> HttpResponse:
        """Like `control`, for a successful response. Raises `call_error` for others, and for an error in a 200."""
        response = await self.control(request)
        if is_failure(response):
            raise call_error(operation, response, mapping)
        return response

    async def complete(self, request: S3Request) -> HttpResponse:
        """Send CompleteMultipartUpload once, return any response: the worker checks its lease before a repetition."""
        return await _send(self._completions, request)

    async def copy(self, request: S3Request) -> HttpResponse:
        """Send CopyObject or UploadPartCopy once, return any response. S3 takes minutes to copy 5 GiB."""
        return await _send(self._completions, request)

    async def send_body(self, operation: str, request: S3Request, crc32: int) -> str:
        """
        Send an UploadPart or PutObject with its body once, and return the ETag.

        When this has returned or was cancelled, nothing refers to the body any more: another job may reuse the buffer
        at once. Until then it must not change. Raises the errors of `write_error`.
        """
        checksum = encode_crc32(crc32)
        amz = (*request.amz, ("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32"))
        response = await _send(self._bodies, request._replace(amz=amz))
        if is_failure(response):
            raise write_error(operation, response)
        etag = response.head.text(b"etag")
        if not etag.isprintable() or not etag or response.head.text(b"x-amz-checksum-crc32") not in ("", checksum):
            raise TransientError(f"{operation}: the response has no ETag, or a CRC-32 that differs from the body's")
        return etag


async def _send(transport: Transport, request: S3Request) -> HttpResponse:
    length = "" if request.method in ("GET", "HEAD") else f"Content-Length: {len(request.body)}\r\n"
    try:
        return await transport.request(request._replace(into=None, lines=request.lines + length))
    except SourceUnavailable as error:  # the bucket or key of a setting, not of a request
        raise ConfigurationError(str(error)) from error


def encode_crc32(crc32: int) -> str:
    """Return *crc32* as S3's headers have it: its four bytes in base64."""
    return b64encode(crc32.to_bytes(4, "big")).decode()
