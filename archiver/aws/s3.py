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

from archiver.aws.error_mapping import DENIED, NO_BUCKET, REFUSED, Make, NotThere, codes, table, translated
from archiver.core.locations import Location
from archiver.errors import Answered, ArchiveExists, ConfigurationFault, Rejected, Temporary
from archiver.ports import StoredArchive, Target

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

    from archiver.aws.clients import Clients

ABORT_TRIES = 5
ABORT_PAUSE = 0.2  # seconds

_defect = partial(Rejected, "internal")
# HEAD answers without a body, so without a name; its 400 is an expired token or a wrong region.
_HEAD: dict[str, Make] = {"400": ConfigurationFault}
_UNSEEN = frozenset({"403", "404", "AccessDenied", "NoSuchKey"})
_COMPLETE: dict[str, Make] = (
    # Without the upload: perhaps our own success, whose answer was lost, as with a 412: what stands there is looked at.
    table(ArchiveExists, {"412", "PreconditionFailed", "NoSuchUpload"})
    | table(Temporary, {"404"})  # no word of S3's
    | table(_defect, {"EntityTooLarge", "EntityTooSmall", "InvalidPartOrder"})
)
# What stores say that know no CRC-32 of the whole, too.
_UNSUPPORTED = frozenset({"BadDigest", "InvalidPart", "InvalidRequest"})
_HINT = "; a store that knows no FULL_OBJECT checksums answers so: `archiver check` tells"
_ONCE_COMPLETED = table(Answered, {"BadDigest", "InvalidPart"}) | table(_defect, {"InvalidRequest"})


async def check_bucket(client: "S3Client", bucket: str) -> None:
    """Return where *bucket* is there. Raises NotThere, ConfigurationFault (denied), Temporary."""
    special = table(NotThere, {"404"} | NO_BUCKET) | table(ConfigurationFault, DENIED) | _HEAD
    with translated(f"HeadBucket {bucket}", special):
        await client.head_bucket(Bucket=bucket)


class S3Store:
    """The ObjectStore on *bucket*."""

    def __init__(self, clients: "Clients", bucket: str) -> None:
        self._clients = clients
        self._bucket = bucket
        self._abilities = Abilities()

    async def find(self, key: str) -> StoredArchive | None:
        """
        HEAD tells neither an object that is not there from a bucket that is not, nor (without leave to list) either
        from a denied one. All of them are None: the write decides. But HEAD's 403 has no code, and may be refused
        credentials, too: GET tells.
        """
        with translated(f"HeadObject {key}", _HEAD):
            try:
                told = await self._clients.s3_control.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if not codes(error) & _UNSEEN:
                    raise
                told = None
                if "403" in codes(error):
                    await self._check_credentials(key)
        if told is None:
            return None
        return StoredArchive(told["ContentLength"], told["ETag"], _whole_crc32(told), told.get("Metadata", {}))

    async def _check_credentials(self, key: str) -> None:
        """Raises ConfigurationFault where it is our credentials or clock that the bucket refuses."""
        with translated(f"GetObject {key}"):
            try:
                got = await self._clients.s3_control.get_object(Bucket=self._bucket, Key=key, Range="bytes=0-0")
            except ClientError as error:
                if codes(error) & REFUSED:
                    raise
            else:
                got["Body"].close()

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        etag = await self._clients.parts.put(target, Location(self._bucket, target.key), body, crc32)
        return StoredArchive(len(body), etag, crc32, target.metadata)

    async def begin(self, target: Target) -> "S3Upload":
        with translated(f"CreateMultipartUpload {target.key}", refused=ConfigurationFault):
            told = await self._clients.s3_control.create_multipart_upload(
                ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **_described(self._bucket, target)
            )
        upload = Upload(self._bucket, target.key, told["UploadId"])
        return S3Upload(self._clients, upload, target.metadata, self._abilities)

    async def sweep(self, key: str, before: datetime | None = None) -> None:
        found: list[str] = []
        with translated(f"ListMultipartUploads {key}"):
            pages = self._clients.s3_control.get_paginator("list_multipart_uploads")
            async for page in pages.paginate(Bucket=self._bucket, Prefix=key):
                found += [
                    upload["UploadId"]
                    for upload in page.get("Uploads", [])
                    if upload["Key"] == key and (before is None or upload["Initiated"] < before)
                ]
        for upload_id in found:
            await S3Upload(self._clients, Upload(self._bucket, key, upload_id)).abort()


@dataclass(frozen=True, slots=True)
class Upload:
    """The name of a multipart upload."""

    bucket: str
    key: str
    id: str

    @property
    def wired(self) -> dict[str, Any]:
        """As the calls take it."""
        return {"Bucket": self.bucket, "Key": self.key, "UploadId": self.id}


@dataclass(slots=True)
class Abilities:
    """What the store has shown that it can do. Once it has completed an upload as we do it, a refusal is about one."""

    completes: bool = False

    @property
    def refusals(self) -> dict[str, Make]:
        """What the answers to CompleteMultipartUpload mean."""
        if self.completes:
            return _COMPLETE | _ONCE_COMPLETED
        return _COMPLETE | table(lambda text: ConfigurationFault(text + _HINT), _UNSUPPORTED)


class S3Upload:
    """The MultipartUpload that `S3Store.begin` began. Its ledger holds what S3 acknowledged, and nothing else."""

    def __init__(
        self,
        clients: "Clients",
        upload: Upload,
        metadata: Mapping[str, str] = MappingProxyType({}),
        abilities: Abilities | None = None,
    ) -> None:
        self._clients = clients
        self._abilities = abilities or Abilities()
        self._upload = upload
        self._metadata = metadata
        self._ledger: dict[int, CompletedPartTypeDef] = {}
        self._sizes: dict[int, int] = {}

    async def part(self, number: int, body: memoryview, crc32: int) -> None:
        location = Location(self._upload.bucket, self._upload.key)
        etag = await self._clients.parts.send(location, self._upload.id, number, body, crc32)
        self._ledger[number] = {"PartNumber": number, "ETag": etag, "ChecksumCRC32": _wired(crc32)}
        self._sizes[number] = len(body)

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """
        Also raises Rejected ("internal") where S3 has other parts than we believe.

        A retry inside the SDK may find its own first try to have succeeded: that is ArchiveExists, too.
        """
        if sum(self._sizes.values()) != size:
            raise _defect(f"{size} bytes were planned, {sum(self._sizes.values())} were sent")
        with translated("CompleteMultipartUpload", self._abilities.refusals, ConfigurationFault):
            told = await self._clients.s3_complete.complete_multipart_upload(
                MultipartUpload={"Parts": [self._ledger[number] for number in sorted(self._ledger)]},
                MpuObjectSize=size,
                ChecksumCRC32=_wired(crc32),
                ChecksumType="FULL_OBJECT",
                IfNoneMatch="*",
                **self._upload.wired,
            )
        self._abilities.completes = True
        return StoredArchive(size, told["ETag"], crc32, self._metadata)

    async def abort(self) -> None:
        """A part that was in flight can outlive one abort; so S3 is asked, and told again, for a bounded time."""
        for _ in range(ABORT_TRIES):
            if await self._gone("AbortMultipartUpload") or await self._gone("ListParts"):
                return
            await asyncio.sleep(ABORT_PAUSE)
        raise Temporary(f"the upload of {self._upload.key} is still there after {ABORT_TRIES} aborts")

    async def _gone(self, operation: str) -> bool:
        """Whether *operation* finds no upload; who may abort but not list takes the abort's word."""
        client = self._clients.s3_control
        gone = {"NoSuchUpload", "404"} | NO_BUCKET
        with translated(f"{operation} {self._upload.key}"):
            try:
                if operation == "ListParts":
                    await client.list_parts(**self._upload.wired)
                else:
                    await client.abort_multipart_upload(**self._upload.wired)
            except ClientError as error:
                if codes(error) & (gone | DENIED if operation == "ListParts" else gone):
                    return True
                raise
        return False


def _described(bucket: str, target: Target) -> dict[str, Any]:
    return {
        "Bucket": bucket,
        "Key": target.key,
        "ContentType": "application/zip",
        "ContentDisposition": target.disposition,
        "Metadata": dict(target.metadata),
    }


def _wired(crc32: int) -> str:
    return b64encode(crc32.to_bytes(4, "big")).decode()


def _whole_crc32(told: Mapping[str, Any]) -> int | None:
    """The CRC-32 of the whole object; S3 also knows checksums of checksums (`…-3`), which say nothing of it."""
    text = told.get("ChecksumCRC32")
    if not text or "-" in text or told.get("ChecksumType") == "COMPOSITE":
        return None
    return int.from_bytes(b64decode(text), "big")
