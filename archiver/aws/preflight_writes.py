"""The write check of `archiver check`: writes to the destination bucket as a worker does, and cleans up."""

import re
import zlib
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING
from urllib.parse import quote

from archiver.aws.error_mapping import DENIED, NO_BUCKET, CredentialsError, ResourceNotFound, error_map
from archiver.aws.s3_store import S3Store
from archiver.aws.s3_transport import S3Request
from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import PROBE_KEY, Location
from archiver.core.policy import bucket_arn, permission_hint
from archiver.core.preflight import CheckResult
from archiver.errors import ArchiverError, ConfigurationError, TransientError
from archiver.ports import Target

if TYPE_CHECKING:
    from archiver.aws.clients import Clients

PROBE_BODY = b"archiver check"
_VERSION = b"x-amz-version-id"
_DENIED_PATTERN = re.compile(r"AccessDenied|AllAccessDisabled|AccountProblem|403$")
_DELETE_ERRORS = error_map(ResourceNotFound, NO_BUCKET) | error_map(ConfigurationError, DENIED)
_STORE_REQUIREMENTS = (
    "archives can't be written; the store must support CRC-32 checksums of whole objects and writes with If-None-Match"
)


async def check_writing(clients: "Clients", bucket: str, attributes: Attributes = NO_ATTRIBUTES) -> list[CheckResult]:
    """
    With the *attributes* of archives, write an object with PutObject, then with a multipart upload of one part, and
    delete both.

    If an object could not be deleted, only start an upload, send its part and abort it. Raises ResourceNotFound,
    ConfigurationError (denied), TransientError.
    """
    reason = await _undeletable_reason(clients, bucket)
    try:
        await _write_probe(clients, bucket, attributes, completely=not reason)
    except ArchiverError as error:
        if not _is_unsupported(error):
            raise
        return [CheckResult("archives", "bad", f"{bucket} refuses a worker's writes: {error}", _STORE_REQUIREMENTS)]
    if not reason:
        return [CheckResult("archives", "ok", f"can be written to {bucket}")]
    remedy = f"optional, only for this check: {permission_hint('s3:DeleteObject', bucket_arn(bucket, PROBE_KEY))}"
    detail = f"uploads to {bucket} can be started; none was completed, because {reason}"
    return [CheckResult("archives", "ok", detail, remedy)]


async def _write_probe(clients: "Clients", bucket: str, attributes: Attributes, *, completely: bool) -> None:
    store, body, crc32 = S3Store(clients, bucket), memoryview(PROBE_BODY), zlib.crc32(PROBE_BODY)
    disposition, metadata = 'attachment; filename="check.zip"', {"probe": token_hex(8)}
    target = Target(PROBE_KEY, disposition, metadata, attributes=attributes)
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
    """Return why a written object could not be deleted, checked before one is written; empty if it could."""
    try:
        marker = await _delete_probe(clients, bucket)
    except ResourceNotFound:
        raise
    except ConfigurationError:
        return "it could not be deleted"
    if marker is None:
        return ""
    with suppress(ArchiverError):
        await _delete_probe(clients, bucket, marker)
    return "the bucket keeps versions"


async def _clean_up_probe(clients: "Clients", bucket: str) -> None:
    """Delete the probe object. If the bucket turns out to be versioned, also delete the written version."""
    marker = await _delete_probe(clients, bucket)
    if marker is not None:
        with suppress(ArchiverError):
            await _delete_probe(clients, bucket, marker)
            request = S3Request("HEAD", Location(bucket, PROBE_KEY))
            response = await clients.s3.call(f"HeadObject {PROBE_KEY}", request)
            await _delete_probe(clients, bucket, response.head.text(_VERSION))


async def _delete_probe(clients: "Clients", bucket: str, version: str | None = None) -> str | None:
    """Delete the probe object. Returns the version id of the delete marker if the bucket is versioned."""
    query = f"versionId={quote(version, safe='-_.~')}" if version else ""
    request = S3Request("DELETE", Location(bucket, PROBE_KEY), query=query)
    response = await clients.s3.call(f"DeleteObject {PROBE_KEY}", request, _DELETE_ERRORS)
    return response.head.text(_VERSION) or None


def _is_unsupported(error: ArchiverError) -> bool:
    """Return whether the store does not support the write; then no permission would help."""
    if isinstance(error, TransientError | ResourceNotFound | CredentialsError):
        return False
    return _DENIED_PATTERN.search(str(error)) is None
