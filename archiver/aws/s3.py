"""The ObjectStore on S3. An archive becomes visible only when complete, and no object is overwritten."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from archiver.aws.error_mapping import (
    CREDENTIAL_ERROR_CODES,
    DENIED,
    NO_BUCKET,
    ErrorFactory,
    ResourceNotFound,
    error_codes,
    error_map,
    map_errors,
)
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ConfigurationError, Rejected, RequestRefused, TransientError
from archiver.ports import StoredArchive, Target

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

    from archiver.aws.clients import Clients

MAX_ABORT_ATTEMPTS = 5
ABORT_RETRY_SECONDS = 0.2  # seconds

_internal_error = partial(Rejected, "internal")
# A response to HEAD has no body and therefore no code; a 400 means an expired token or a wrong region.
_HEAD_ERRORS: dict[str, ErrorFactory] = {"400": ConfigurationError}
_NOT_VISIBLE_CODES = frozenset({"403", "404", "AccessDenied", "NoSuchKey"})
_COMPLETE_ERRORS: dict[str, ErrorFactory] = (
    # NoSuchUpload and 412 may follow an own success whose response was lost: the caller checks the key with HEAD.
    error_map(ArchiveExists, {"412", "PreconditionFailed", "NoSuchUpload"})
    | error_map(TransientError, {"404"})  # no code, so not from S3
    | error_map(_internal_error, {"EntityTooLarge", "EntityTooSmall", "InvalidPartOrder"})
)
# Also returned by stores that do not support CRC-32 checksums of whole objects.
_UNSUPPORTED_CODES = frozenset({"BadDigest", "InvalidPart", "InvalidRequest"})
_CHECKSUM_HINT = "; stores without FULL_OBJECT checksums respond like this: run `archiver check`"
_KNOWN_CAPABLE_ERRORS = error_map(RequestRefused, {"BadDigest", "InvalidPart"}) | error_map(
    _internal_error, {"InvalidRequest"}
)


async def check_bucket(client: "S3Client", bucket: str) -> None:
    """Check that *bucket* exists. Raises ResourceNotFound, ConfigurationError (denied), TransientError."""
    mapping = error_map(ResourceNotFound, {"404"} | NO_BUCKET) | error_map(ConfigurationError, DENIED) | _HEAD_ERRORS
    with map_errors(f"HeadBucket {bucket}", mapping):
        await client.head_bucket(Bucket=bucket)


class S3Store:
    """The ObjectStore on *bucket*."""

    def __init__(self, clients: "Clients", bucket: str) -> None:
        self._clients = clients
        self._bucket = bucket
        self._capabilities = StoreCapabilities()

    async def find(self, key: str) -> StoredArchive | None:
        """
        Return the object at *key*; None if it does not exist, the bucket does not exist, or access is denied.

        HEAD does not distinguish a missing object from a missing bucket, nor, without s3:ListBucket, either from a
        denied one; the later write shows it. As a 403 to HEAD has no code, a GET checks whether the credentials are
        refused.
        """
        with map_errors(f"HeadObject {key}", _HEAD_ERRORS):
            try:
                response = await self._clients.s3_control.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if not error_codes(error) & _NOT_VISIBLE_CODES:
                    raise
                response = None
                if "403" in error_codes(error):
                    await self._check_credentials(key)
        if response is None:
            return None
        return StoredArchive(
            response["ContentLength"], response["ETag"], _full_object_crc32(response), response.get("Metadata", {})
        )

    async def _check_credentials(self, key: str) -> None:
        """Raise ConfigurationError if the bucket refuses the worker's credentials or clock."""
        with map_errors(f"GetObject {key}"):
            try:
                response = await self._clients.s3_control.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")
            except ClientError as error:
                if error_codes(error) & CREDENTIAL_ERROR_CODES:
                    raise
            else:
                response["Body"].close()

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        etag = await self._clients.parts.put(target, Location(self._bucket, target.key), body, crc32)
        return StoredArchive(len(body), etag, crc32, target.metadata)

    async def create_upload(self, target: Target) -> "S3Upload":
        with map_errors(f"CreateMultipartUpload {target.key}", on_refusal=ConfigurationError):
            response = await self._clients.s3_control.create_multipart_upload(
                ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **_create_arguments(self._bucket, target)
            )
        upload = MultipartUploadId(self._bucket, target.key, response["UploadId"])
        return S3Upload(self._clients, upload, target.metadata, self._capabilities)

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        found: list[str] = []
        with map_errors(f"ListMultipartUploads {key}"):
            pages = self._clients.s3_control.get_paginator("list_multipart_uploads")
            async for page in pages.paginate(Bucket=self._bucket, Prefix=key):
                found += [
                    upload["UploadId"]
                    for upload in page.get("Uploads", [])
                    if upload["Key"] == key and (before is None or upload["Initiated"] < before)
                ]
        for upload_id in found:
            await S3Upload(self._clients, MultipartUploadId(self._bucket, key, upload_id)).abort()


@dataclass(frozen=True, slots=True)
class MultipartUploadId:
    """Bucket, key and id of a multipart upload."""

    bucket: str
    key: str
    id: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters of S3's calls."""
        return {"Bucket": self.bucket, "Key": self.key, "UploadId": self.id}


@dataclass(slots=True)
class StoreCapabilities:
    """
    Proven capabilities of the store.

    After one completed upload, a refused completion is an error of that upload, not missing support in the store.
    """

    completes_uploads: bool = False

    @property
    def completion_errors(self) -> dict[str, ErrorFactory]:
        """The mapping of error codes of CompleteMultipartUpload."""
        if self.completes_uploads:
            return _COMPLETE_ERRORS | _KNOWN_CAPABLE_ERRORS
        return _COMPLETE_ERRORS | error_map(lambda text: ConfigurationError(text + _CHECKSUM_HINT), _UNSUPPORTED_CODES)


class S3Upload:
    """
    The MultipartUpload that `S3Store.create_upload` started. It records only parts that S3 acknowledged.
    """

    def __init__(
        self,
        clients: "Clients",
        upload: MultipartUploadId,
        metadata: Mapping[str, str] = MappingProxyType({}),
        capabilities: StoreCapabilities | None = None,
    ) -> None:
        self._clients = clients
        self._capabilities = capabilities or StoreCapabilities()
        self._upload = upload
        self._metadata = metadata
        self._sent_parts: dict[int, CompletedPartTypeDef] = {}
        self._part_sizes: dict[int, int] = {}

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        location = Location(self._upload.bucket, self._upload.key)
        etag = await self._clients.parts.send(location, self._upload.id, number, body, crc32)
        self._sent_parts[number] = {"PartNumber": number, "ETag": etag, "ChecksumCRC32": _encode_crc32(crc32)}
        self._part_sizes[number] = len(body)

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """
        Also raises Rejected ("internal") if S3's parts differ from the recorded ones.

        If a retry of the SDK follows a successful attempt, this raises ArchiveExists, too.
        """
        if sum(self._part_sizes.values()) != size:
            raise _internal_error(f"{size} bytes were planned, {sum(self._part_sizes.values())} were sent")
        with map_errors("CompleteMultipartUpload", self._capabilities.completion_errors, ConfigurationError):
            response = await self._clients.s3_complete.complete_multipart_upload(
                MultipartUpload={"Parts": [self._sent_parts[number] for number in sorted(self._sent_parts)]},
                MpuObjectSize=size,
                ChecksumCRC32=_encode_crc32(crc32),
                ChecksumType="FULL_OBJECT",
                IfNoneMatch="*",
                **self._upload.arguments,
            )
        self._capabilities.completes_uploads = True
        return StoredArchive(size, response["ETag"], crc32, self._metadata)

    async def abort(self) -> None:
        """
        Abort until S3 finds no upload, at most `MAX_ABORT_ATTEMPTS` times: a part in flight can outlive one abort.
        """
        for _ in range(MAX_ABORT_ATTEMPTS):
            if await self._upload_is_gone("AbortMultipartUpload") or await self._upload_is_gone("ListParts"):
                return
            await asyncio.sleep(ABORT_RETRY_SECONDS)
        raise TransientError(f"the upload of {self._upload.key} still exists after {MAX_ABORT_ATTEMPTS} aborts")

    async def _upload_is_gone(self, operation: str) -> bool:
        """Return whether *operation* finds no upload; if ListParts is denied, assume that the abort worked."""
        client = self._clients.s3_control
        gone = {"NoSuchUpload", "404"} | NO_BUCKET
        with map_errors(f"{operation} {self._upload.key}"):
            try:
                if operation == "ListParts":
                    await client.list_parts(**self._upload.arguments)
                else:
                    await client.abort_multipart_upload(**self._upload.arguments)
            except ClientError as error:
                if error_codes(error) & (gone | DENIED if operation == "ListParts" else gone):
                    return True
                raise
        return False


def _create_arguments(bucket: str, target: Target) -> dict[str, Any]:
    return {
        "Bucket": bucket,
        "Key": target.key,
        "ContentType": "application/zip",
        "ContentDisposition": target.disposition,
        "Metadata": dict(target.metadata),
    }


def _encode_crc32(crc32: int) -> str:
    return b64encode(crc32.to_bytes(4, "big")).decode()


def _full_object_crc32(response: Mapping[str, Any]) -> int | None:
    """Return the CRC-32 of the whole object; None for a composite one (`…-3`), which is a checksum of checksums."""
    text = response.get("ChecksumCRC32")
    if not text or "-" in text or response.get("ChecksumType") == "COMPOSITE":
        return None
    return int.from_bytes(b64decode(text), "big")
