"""The UnfinishedUploads on S3: ListMultipartUploads and ListParts, whose answer counts more than any own log."""

import binascii
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import call_error, error_names, is_failure
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_upload import S3Upload, StoreCapabilities, UploadId, condition
from archiver.aws.s3_xml import Element, MalformedXmlError, read_xml
from archiver.core.kept import StoredPart
from archiver.core.locations import Location
from archiver.errors import TransientError
from archiver.http.exchange import HttpResponse
from archiver.ports import Target, UnfinishedUpload

MAX_PAGE = 4 << 20
"""Bytes of one page of a listing: 1,000 entries, with keys of 1,024 bytes that are percent-encoded."""

MAX_PAGES = 1000
CRC32_BYTES = 4

_ROOT_OF_MOTO = "ListPartsResponse"
_GONE = frozenset({"NoSuchUpload", "404"})


class S3Uploads:
    """The UnfinishedUploads of *bucket*. *capabilities*: of the store, as its uploads prove them."""

    def __init__(self, calls: S3Calls, bucket: str) -> None:
        self._calls = calls
        self._bucket = bucket
        self.capabilities = StoreCapabilities()

    async def resume(self, target: Target, upload_id: str) -> tuple[S3Upload, Sequence[StoredPart]] | None:
        at = UploadId(self._at(target.key), upload_id)
        upload = S3Upload(self._calls, at, target.metadata, self.capabilities, condition(target))
        parts: list[StoredPart] = []
        marker, operation = 0, f"ListParts {target.key}"
        for _ in range(MAX_PAGES):
            query = f"part-number-marker={marker}&uploadId={quote(upload_id, safe='-_.~')}"
            request = S3Request("GET", self._at(target.key), query=query, body_limit=MAX_PAGE)
            response = await self._calls.control(request)
            if is_failure(response):
                if error_names(response) & _GONE:
                    return None
                raise call_error(operation, response)
            root = _ROOT_OF_MOTO if _ROOT_OF_MOTO.encode() in response.body else "ListPartsResult"
            page = read_xml(response.body, root)
            found = [_stored_part(part) for part in page.elements("Part")]
            parts += found
            if not found or page.text("IsTruncated").lower() != "true":
                upload.add_stored(parts)
                return upload, parts
            if found[-1].number <= marker:
                break
            marker = found[-1].number
        raise TransientError(f"{operation}: the listing does not end")

    async def list(self, prefix: str = "") -> "list[UnfinishedUpload]":
        return [
            UnfinishedUpload(key, upload.required("UploadId"), _initiated(upload))
            async for key, upload in self._uploads(prefix)
        ]

    async def abort(self, key: str, upload_id: str) -> None:
        await S3Upload(self._calls, UploadId(self._at(key), upload_id)).abort()

    def _at(self, key: str) -> Location:
        return Location(self._bucket, key)

    async def _uploads(self, prefix: str) -> AsyncIterator[tuple[str, Element]]:
        """Yield the key and S3's element of all multipart uploads of keys with *prefix*."""
        asked = {"encoding-type": "url", "prefix": prefix, "uploads": ""}
        for _ in range(MAX_PAGES):
            page = read_xml((await self._list(prefix, asked)).body, "ListMultipartUploadsResult")
            for upload in page.elements("Upload"):
                yield page.decode(upload.required("Key")), upload
            if page.text("IsTruncated").lower() != "true":
                return
            markers = {
                "key-marker": page.decode(page.required("NextKeyMarker")),
                "upload-id-marker": page.text("NextUploadIdMarker"),
            }
            if markers.items() <= asked.items():
                break
            asked |= markers
        raise TransientError(f"ListMultipartUploads {prefix}: the listing does not end")

    async def _list(self, prefix: str, asked: Mapping[str, str]) -> HttpResponse:
        query = urlencode(sorted(asked.items()), quote_via=quote, safe="-_.~")
        request = S3Request("GET", self._at(""), query=query, body_limit=MAX_PAGE)
        return await self._calls.call(f"ListMultipartUploads {prefix}", request)


def _initiated(upload: Element) -> datetime:
    try:
        initiated = datetime.fromisoformat(upload.text("Initiated"))
    except ValueError as error:
        raise MalformedXmlError("an upload in the listing has no valid date") from error
    return initiated if initiated.tzinfo else initiated.replace(tzinfo=UTC)


def _stored_part(part: Element) -> StoredPart:
    try:
        number, size, crc = int(part.required("PartNumber")), int(part.required("Size")), part.text("ChecksumCRC32")
        decoded = b64decode(crc, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedXmlError("a part in the listing has no valid number, size or checksum") from error
    has_crc = len(decoded) == CRC32_BYTES
    return StoredPart(number, size, part.required("ETag"), int.from_bytes(decoded, "big") if has_crc else None)
