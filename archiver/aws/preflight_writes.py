"""The check-up's look at the destination: it is written to as a worker does, and nothing is left behind."""

import re
import zlib
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from archiver.aws.error_mapping import DENIED, NO_BUCKET, CredentialsFault, NotThere, table, translated
from archiver.aws.s3 import S3Store
from archiver.core.locations import PROBE
from archiver.core.policy import bucket_arn, to_grant
from archiver.core.preflight import Finding
from archiver.errors import ArchiverError, ConfigurationFault, Temporary
from archiver.ports import Target

if TYPE_CHECKING:
    from archiver.aws.clients import Clients

BODY = b"archiver check"
_DENIAL = re.compile(r"AccessDenied|AllAccessDisabled|AccountProblem|403$")
_DELETE = table(NotThere, NO_BUCKET) | table(ConfigurationFault, DENIED)
_REMEDY = "archives can't be written: the store must take CRC-32 of whole objects, and writes under If-None-Match"


async def look_at_writing(clients: "Clients", bucket: str) -> list[Finding]:
    """
    Put an object, upload another in one part, and delete both. Where deleting is not allowed, the upload is begun, sent
    its part and aborted. Raises NotThere, ConfigurationFault (denied), Temporary.
    """
    kept = await _why_kept(clients, bucket)
    try:
        await _write(clients, bucket, completely=not kept)
    except ArchiverError as error:
        if not _is_refusal(error):
            raise
        return [Finding("archives", "bad", f"{bucket} refuses what a worker sends: {error}", _REMEDY)]
    if not kept:
        return [Finding("archives", "ok", f"can be written to {bucket}")]
    remedy = f"optional, for this check alone: {to_grant('s3:DeleteObject', bucket_arn(bucket, PROBE))}"
    told = f"uploads to {bucket} can be begun; none was completed, as {kept}"
    return [Finding("archives", "ok", told, remedy)]


async def _write(clients: "Clients", bucket: str, *, completely: bool) -> None:
    store, body, crc32 = S3Store(clients, bucket), memoryview(BODY), zlib.crc32(BODY)
    target = Target(PROBE, 'attachment; filename="check.zip"', {"probe": token_hex(8)})
    if completely:
        await store.put(target, body, crc32)
        await _take_back(clients, bucket)
    upload = await store.begin(target)
    try:
        await upload.part(1, body, crc32)
        if completely:
            await upload.complete(len(body), crc32)
    except BaseException:
        with suppress(ArchiverError):
            await upload.abort()
        raise
    if completely:
        await _take_back(clients, bucket)
    else:
        await upload.abort()


async def _why_kept(clients: "Clients", bucket: str) -> str:
    """Why an object that is written would stay, asked before one is; empty where it would not."""
    try:
        marker = await _delete(clients, bucket)
    except NotThere:
        raise
    except ConfigurationFault:
        return "it could not be deleted again"
    if marker is None:
        return ""
    with suppress(ArchiverError):
        await _delete(clients, bucket, marker)
    return "the bucket keeps versions"


async def _take_back(clients: "Clients", bucket: str) -> None:
    """Delete the probe; and where its bucket keeps versions after all, the one that was written."""
    marker = await _delete(clients, bucket)
    if marker is not None:
        with suppress(ArchiverError), translated(f"HeadObject {PROBE}"):
            await _delete(clients, bucket, marker)
            told = await clients.s3_control.head_object(Bucket=bucket, Key=PROBE)
            await _delete(clients, bucket, told.get("VersionId"))


async def _delete(clients: "Clients", bucket: str, version: str | None = None) -> str | None:
    """Delete the probe; the id of the delete marker that stands for it in a bucket with versions."""
    which: dict[str, Any] = {"VersionId": version} if version else {}
    with translated(f"DeleteObject {PROBE}", _DELETE):
        told = await clients.s3_control.delete_object(Bucket=bucket, Key=PROBE, **which)
    return told.get("VersionId")


def _is_refusal(error: ArchiverError) -> bool:
    """Whether the store understood what was sent, and does not take it: no right that is granted would help."""
    if isinstance(error, Temporary | NotThere | CredentialsFault):
        return False
    return _DENIAL.search(str(error)) is None
