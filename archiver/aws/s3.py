"""S3: the bucket that archives go to. Nothing is visible before it is whole, and nothing is written over."""

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
# HEAD answers without a body, so without a name; its 400 is an expired token or a wrong region.
_HEAD_ERRORS: dict[str, ErrorFactory] = {"400": ConfigurationError}
_NOT_VISIBLE_CODES = frozenset({"403", "404", "AccessDenied", "NoSuchKey"})
_COMPLETE_ERRORS: dict[str, ErrorFactory] = (
    # Without the upload: perhaps our own success, whose answer was lost, as with a 412: what stands there is looked at.
    error_map(ArchiveExists, {"412", "PreconditionFailed", "NoSuchUpload"})
    | error_map(TransientError, {"404"})  # no word of S3's
    | error_map(_internal_error, {"EntityTooLarge", "EntityTooSmall", "InvalidPartOrder"})
)
# What stores say that know no CRC-32 of the whole, too.
_UNSUPPORTED_CODES = frozenset({"BadDigest", "InvalidPart", "InvalidRequest"})
_CHECKSUM_HINT = "; a store that knows no FULL_OBJECT checksums answers so: `archiver check` tells"
_KNOWN_CAPABLE_ERRORS = error_map(RequestRefused, {"BadDigest", "InvalidPart"}) | error_map(
    _internal_error, {"InvalidRequest"}
)


async def check_bucket(client: "S3Client", bucket: str) -> None:
    """Return where *bucket* is there. Raises ResourceNotFound, ConfigurationError (denied), TransientError."""
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
        HEAD tells neither an object that is not there from a bucket that is not, nor (without leave to list) either
        from a denied one. All of them are None: the write decides. But HEAD's 403 has no code, and may be refused
        credentials, too: GET tells.
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
        """Raises ConfigurationError where it is our credentials or clock that the bucket refuses."""
        with map_errors(f"GetObject {key}"):
            try:
                got = await self._clients.s3_control.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")
            except ClientError as error:
                if error_codes(error) & CREDENTIAL_ERROR_CODES:
                    raise
            else:
                got["Body"].close()

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
    """The name of a multipart upload."""

    bucket: str
    key: str
    id: str

    @property
    def arguments(self) -> dict[str, Any]:
        """As the calls take it."""
        return {"Bucket": self.bucket, "Key": self.key, "UploadId": self.id}


@dataclass(slots=True)
class StoreCapabilities:
    """What the store has shown that it can do. Once it has completed an upload as we do it, a refusal is about one."""

    completes_uploads: bool = False

    @property
    def completion_errors(self) -> dict[str, ErrorFactory]:
        """What the answers to CompleteMultipartUpload mean."""
        if self.completes_uploads:
            return _COMPLETE_ERRORS | _KNOWN_CAPABLE_ERRORS
        return _COMPLETE_ERRORS | error_map(lambda text: ConfigurationError(text + _CHECKSUM_HINT), _UNSUPPORTED_CODES)


class S3Upload:
    """
    The MultipartUpload that `S3Store.create_upload` began. Its ledger holds what S3 acknowledged, and nothing else.
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
        Also raises Rejected ("internal") where S3 has other parts than we believe.

        A retry inside the SDK may find its own first try to have succeeded: that is ArchiveExists, too.
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
        """A part that was in flight can outlive one abort; so S3 is asked, and told again, for a bounded time."""
        for _ in range(MAX_ABORT_ATTEMPTS):
            if await self._upload_is_gone("AbortMultipartUpload") or await self._upload_is_gone("ListParts"):
                return
            await asyncio.sleep(ABORT_RETRY_SECONDS)
        raise TransientError(f"the upload of {self._upload.key} is still there after {MAX_ABORT_ATTEMPTS} aborts")

    async def _upload_is_gone(self, operation: str) -> bool:
        """Whether *operation* finds no upload; who may abort but not list takes the abort's word."""
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
    """The CRC-32 of the whole object; S3 also knows checksums of checksums (`…-3`), which say nothing of it."""
    text = response.get("ChecksumCRC32")
    if not text or "-" in text or response.get("ChecksumType") == "COMPOSITE":
        return None
    return int.from_bytes(b64decode(text), "big")
