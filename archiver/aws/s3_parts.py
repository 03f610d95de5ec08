"""UploadPart on the fast path: a part goes out from its buffer in slices, with the CRC-32 that S3 holds it to."""

from base64 import b64encode
from dataclasses import replace
from urllib.parse import quote

from archiver.aws.endpoint import Endpoint
from archiver.aws.http import Limits
from archiver.aws.http_parse import Head
from archiver.aws.s3_answers import error_code, write_problem
from archiver.aws.s3_wire import Ask, Session, Wire, WireConfig
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ConfigurationFault, SourceUnavailable, Temporary

LIMITS = Limits(answer=60.0, stall=30.0)


class PartSender:
    """Sends parts; `close` ends all connections. One attempt a call."""

    def __init__(self, session: Session, endpoint: Endpoint, config: WireConfig | None = None) -> None:
        self._wire = Wire(session, endpoint, replace(config or WireConfig(), limits=LIMITS))
        self.close = self._wire.close

    async def send(self, location: Location, upload_id: str, number: int, body: memoryview, crc32: int) -> str:
        """
        Send part *number* of the upload *upload_id*; its ETag. *body* must not change until this returns.

        Raises Temporary; ArchiveExists where the upload is gone; ConfigurationFault where the bucket refuses us or is
        gone.
        """
        checksum = b64encode(crc32.to_bytes(4, "big")).decode()
        ask = Ask(
            "PUT",
            location,
            _accept,
            into=None,
            lines=f"Content-Length: {len(body)}\r\n",
            amz=(("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32")),
            query=f"partNumber={number}&uploadId={quote(upload_id, safe='-_.~')}",
            body=body,
        )
        try:
            answer = await self._wire.ask(ask)
        except SourceUnavailable as error:
            raise ConfigurationFault(str(error)) from error
        if error_code(answer) == "NoSuchUpload":
            # Whoever settled this job first has swept our upload away: the pipeline looks what stands there.
            raise ArchiveExists(f"{location}: the upload is gone")
        if answer.head.status >= 300 or error_code(answer):  # noqa: PLR2004
            raise write_problem(answer)
        etag = answer.head.text(b"etag")
        if not etag or answer.head.text(b"x-amz-checksum-crc32") not in ("", checksum):
            raise Temporary(f"UploadPart {number}: the answer has no ETag, or the CRC-32 of other bytes")
        return etag


def _accept(_: Head) -> None:
    """An answer to a part has nothing that its body would have to be held to."""
