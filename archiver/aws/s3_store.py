"""The ObjectStore on S3, and the calls on its bucket."""

import zlib
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from archiver.aws.error_mapping import (
    CREDENTIAL_ERROR_CODES,
    DENIED,
    NO_BUCKET,
    ErrorFactory,
    ResourceNotFound,
    error_map,
)
from archiver.aws.s3_attributes import write_with_attributes
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import call_error, error_names, is_failure, write_error
from archiver.aws.s3_responses import full_object_crc32, size_and_etag
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_upload import S3Upload, UploadId, condition
from archiver.aws.s3_uploads import S3Uploads
from archiver.aws.s3_xml import read_xml
from archiver.core.attributes import Attributes
from archiver.core.locations import Location
from archiver.errors import ConfigurationError
from archiver.http.exchange import HttpResponse
from archiver.http.parse import Head
from archiver.ports import StoredArchive, Target

if TYPE_CHECKING:
    from archiver.aws.clients import Clients

# A response to HEAD has no body and therefore no code; a 400 means an expired token or a wrong region.
HEAD_ERRORS: dict[str, ErrorFactory] = {"400": ConfigurationError}
_BUCKET_ERRORS = error_map(ResourceNotFound, {"404"} | NO_BUCKET) | error_map(ConfigurationError, DENIED) | HEAD_ERRORS
_METADATA = b"x-amz-meta-"


async def check_bucket(calls: S3Calls, bucket: str) -> None:
    """Check that *bucket* exists. Raises ResourceNotFound, ConfigurationError (denied), TransientError."""
    await calls.call(f"HeadBucket {bucket}", S3Request("HEAD", Location(bucket, "")), _BUCKET_ERRORS)


class S3Store:
    """The ObjectStore on *bucket*."""

    def __init__(self, clients: "Clients", bucket: str) -> None:
        self._calls = clients.s3
        self._bucket = bucket
        self.uploads = S3Uploads(clients.s3, bucket)

    async def find(self, key: str) -> StoredArchive | None:
        """
        Return the object at *key*; None if it does not exist, the bucket does not exist, or access is denied.

        HEAD does not distinguish a missing object from a missing bucket, nor, without s3:ListBucket, either from a
        denied one; the later write shows it. As a 403 to HEAD has no code, a GET checks whether the credentials are
        refused.
        """
        location = Location(self._bucket, key)
        response = await self._calls.control(S3Request("HEAD", location, amz=(("x-amz-checksum-mode", "ENABLED"),)))
        head = response.head
        if head.status < 300:  # noqa: PLR2004
            return StoredArchive(*size_and_etag(head), full_object_crc32(head), _metadata(head))
        if head.status == 403:  # noqa: PLR2004
            await self._check_credentials(location)
        elif head.status != 404:  # noqa: PLR2004
            raise call_error(f"HeadObject {key}", response, HEAD_ERRORS)
        return None

    async def _check_credentials(self, location: Location) -> None:
        """Raise ConfigurationError if the bucket refuses the worker's credentials or clock."""
        response = await self._calls.control(S3Request("GET", location, lines="Range: bytes=0-0\r\n"))
        if is_failure(response) and error_names(response) & CREDENTIAL_ERROR_CODES:
            raise call_error(f"GetObject {location.key}", response)

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        """Also raises TransientError for 409, a conflict."""
        lines, metadata = _described(target)
        request = S3Request(
            "PUT", Location(self._bucket, target.key), lines=condition(target) + lines, amz=metadata, body=body
        )

        async def write(headers: Attributes) -> str:
            with_headers = request._replace(amz=(*metadata, *headers.headers))
            return await self._calls.send_body(f"PutObject {target.key}", with_headers, crc32)

        etag = await write_with_attributes(self._calls, self._bucket, target.attributes, write)
        return StoredArchive(len(body), etag, crc32, target.metadata)

    async def put_small(
        self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Write a small object that is no archive, or replace it. Raises TransientError, ConfigurationError."""
        lines = f"Content-Type: {_check_header_value(content_type)}\r\n"
        request = S3Request(
            "PUT", Location(self._bucket, key), lines=lines, amz=_metadata_headers(metadata), body=memoryview(body)
        )
        await self._calls.send_body(f"PutObject {key}", request, zlib.crc32(body))

    async def create_upload(self, target: Target) -> S3Upload:
        lines, metadata = _described(target)
        location = Location(self._bucket, target.key)
        checksum = (("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT"))

        async def create(headers: Attributes) -> HttpResponse:
            amz = (*checksum, *metadata, *headers.headers)
            response = await self._calls.control(S3Request("POST", location, lines=lines, amz=amz, query="uploads="))
            if is_failure(response):
                raise write_error(f"CreateMultipartUpload {target.key}", response)
            return response

        response = await write_with_attributes(self._calls, self._bucket, target.attributes, create)
        upload_id = read_xml(response.body, "InitiateMultipartUploadResult").required("UploadId")
        capabilities = self.uploads.capabilities
        return S3Upload(self._calls, UploadId(location, upload_id), target.metadata, capabilities, condition(target))

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        found = [one for one in await self.uploads.list(key) if one.key == key]
        for upload in found:
            if before is None or upload.begun < before:
                await self.uploads.abort(key, upload.id)


def _described(target: Target) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the unsigned header lines and the signed headers that describe a new object."""
    lines = f"Content-Type: {_check_header_value(target.content_type)}\r\n"
    if target.disposition:
        lines += f"Content-Disposition: {_check_header_value(target.disposition)}\r\n"
    return lines, _metadata_headers(target.metadata)


def _metadata_headers(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"x-amz-meta-{name.lower()}", _check_signed_value(value)) for name, value in metadata.items())


def _metadata(head: Head) -> dict[str, str]:
    return {
        name.removeprefix(_METADATA).decode("latin-1"): value.decode("latin-1")
        for name, value in head.fields.items()
        if name.startswith(_METADATA)
    }


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
