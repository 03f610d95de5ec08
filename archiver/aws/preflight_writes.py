"""The check-up's look at the destination: it is written to as a worker does, and nothing is left behind."""

import re
import zlib
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from archiver.aws.error_mapping import DENIED, NO_BUCKET, CredentialsError, ResourceNotFound, error_map, map_errors
from archiver.aws.s3 import S3Store
from archiver.core.locations import PROBE_KEY
from archiver.core.policy import bucket_arn, permission_hint
from archiver.core.preflight import CheckResult
from archiver.errors import ArchiverError, ConfigurationError, TransientError
from archiver.ports import Target

if TYPE_CHECKING:
    from archiver.aws.clients import Clients

PROBE_BODY = b"archiver check"
_DENIED_PATTERN = re.compile(r"AccessDenied|AllAccessDisabled|AccountProblem|403$")
_DELETE_ERRORS = error_map(ResourceNotFound, NO_BUCKET) | error_map(ConfigurationError, DENIED)
_STORE_REQUIREMENTS = (
    "archives can't be written: the store must take CRC-32 of whole objects, and writes under If-None-Match"
)


async def check_writing(clients: "Clients", bucket: str) -> list[CheckResult]:
    """
    Put an object, upload another in one part, and delete both. Where deleting is not allowed, the upload is begun, sent
    its part and aborted. Raises ResourceNotFound, ConfigurationError (denied), TransientError.
    """
    reason = await _undeletable_reason(clients, bucket)
    try:
        await _write_probe(clients, bucket, completely=not reason)
    except ArchiverError as error:
        if not _is_unsupported(error):
            raise
        return [CheckResult("archives", "bad", f"{bucket} refuses what a worker sends: {error}", _STORE_REQUIREMENTS)]
    if not reason:
        return [CheckResult("archives", "ok", f"can be written to {bucket}")]
    remedy = f"optional, for this check alone: {permission_hint('s3:DeleteObject', bucket_arn(bucket, PROBE_KEY))}"
    detail = f"uploads to {bucket} can be begun; none was completed, as {reason}"
    return [CheckResult("archives", "ok", detail, remedy)]


async def _write_probe(clients: "Clients", bucket: str, *, completely: bool) -> None:
    store, body, crc32 = S3Store(clients, bucket), memoryview(PROBE_BODY), zlib.crc32(PROBE_BODY)
    target = Target(PROBE_KEY, 'attachment; filename="check.zip"', {"probe": token_hex(8)})
    if completely:
        await store.put(target, body, crc32)
        await _clean_up_probe(clients, bucket)
    upload = await store.create_upload(target)
    try:
        await upload.upload_part(1, body, crc32)
        if completely:
            await upload.complete(len(body), crc32)
    except BaseException:
        with suppress(ArchiverError):
            await upload.abort()
        raise
    if completely:
        await _clean_up_probe(clients, bucket)
    else:
        await upload.abort()


async def _undeletable_reason(clients: "Clients", bucket: str) -> str:
    """Why an object that is written would stay, asked before one is; empty where it would not."""
    try:
        marker = await _delete_probe(clients, bucket)
    except ResourceNotFound:
        raise
    except ConfigurationError:
        return "it could not be deleted again"
    if marker is None:
        return ""
    with suppress(ArchiverError):
        await _delete_probe(clients, bucket, marker)
    return "the bucket keeps versions"


async def _clean_up_probe(clients: "Clients", bucket: str) -> None:
    """Delete the probe; and where its bucket keeps versions after all, the one that was written."""
    marker = await _delete_probe(clients, bucket)
    if marker is not None:
        with suppress(ArchiverError), map_errors(f"HeadObject {PROBE_KEY}"):
            await _delete_probe(clients, bucket, marker)
            response = await clients.s3_control.head_object(Bucket=bucket, Key=PROBE_KEY)
            await _delete_probe(clients, bucket, response.get("VersionId"))


async def _delete_probe(clients: "Clients", bucket: str, version: str | None = None) -> str | None:
    """Delete the probe; the id of the delete marker that stands for it in a bucket with versions."""
    arguments: dict[str, Any] = {"VersionId": version} if version else {}
    with map_errors(f"DeleteObject {PROBE_KEY}", _DELETE_ERRORS):
        response = await clients.s3_control.delete_object(Bucket=bucket, Key=PROBE_KEY, **arguments)
    return response.get("VersionId")


def _is_unsupported(error: ArchiverError) -> bool:
    """Whether the store understood what was sent, and does not take it: no right that is granted would help."""
    if isinstance(error, TransientError | ResourceNotFound | CredentialsError):
        return False
    return _DENIED_PATTERN.search(str(error)) is None
