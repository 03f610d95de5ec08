"""Interprets S3's responses: as object data or as an error of `archiver.errors`. No I/O."""

import base64
import re
from typing import NamedTuple

from archiver.aws.error_mapping import CREDENTIAL_ERROR_CODES, is_transient
from archiver.core.objects import ObjectInfo
from archiver.core.plan import MIN_MODIFIED
from archiver.errors import (
    ArchiverError,
    Code,
    CredentialsRefused,
    SourceArchived,
    SourceChanged,
    SourceUnavailable,
    TransferInterrupted,
)
from archiver.http.dates import http_date
from archiver.http.exchange import HttpResponse
from archiver.http.parse import Head, ProtocolError, body_length

_CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,19})-(\d{1,19})/(?:\d{1,19}|\*)")

_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
EXPIRED_TOKEN_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_CREDENTIAL_STATUSES = frozenset({301, 308, 401, 407})  # wrong region; unknown to a store or a proxy
_TRANSIENT_STATUSES = frozenset({408, 412, 416, 425})
_ARCHIVED = "the object is archived; restore it first"
_DENIED = (
    "access denied; S3 also returns this for a missing key without s3:ListBucket, "
    "and for every key of a requester-pays bucket without S3_REQUEST_PAYER"
)
_UNAVAILABLE: dict[str, tuple[Code, str]] = {
    "NoSuchKey": ("source_missing", "no such key or bucket"),
    "NoSuchBucket": ("source_missing", "no such bucket"),
    "InvalidBucketName": ("source_missing", "the bucket name is invalid"),
    "InvalidURI": ("source_missing", "the key is invalid"),
    "KeyTooLongError": ("source_missing", "the key is longer than S3 allows"),
    "AccessDenied": ("source_denied", _DENIED),
    "AllAccessDisabled": ("source_denied", "all access to the bucket is disabled"),
    "AccountProblem": ("source_denied", "the bucket's account has a problem"),
    "InvalidObjectState": ("source_archived", _ARCHIVED),
}
_READ_DENIED: tuple[Code, str] = (
    "source_denied",
    "HEAD is allowed, but reading is denied; check the object's KMS key, the bucket policy and the bucket's limits",
)
_KMS_DENIED: tuple[Code, str] = ("source_denied", "KMS denies decryption of the object; grant kms:Decrypt")
_CUSTOMER_KEY: tuple[Code, str] = ("source_denied", "the object is encrypted with a customer key (SSE-C)")


class ExpectedRange(NamedTuple):
    """The bytes *start* to *end* (inclusive) of the version *etag*."""

    etag: str
    start: int
    end: int

    def check(self, head: Head) -> None:
        """
        Check that a successful response has these bytes. Raises SourceChanged for another ETag, else
        TransferInterrupted.

        A 200 is valid if the range begins at 0: the HTTP client checks that the body has the expected length.
        """
        etag = head.fields.get(b"etag")
        if etag is None:
            raise TransferInterrupted("the response has no ETag")
        if etag.decode("latin-1") != self.etag:
            raise SourceChanged(f"ETag {etag.decode('latin-1')} instead of {self.etag}")
        if head.status == 200 and self.start == 0:  # noqa: PLR2004
            return
        if head.status != 206:  # noqa: PLR2004
            raise TransferInterrupted(f"status {head.status} for a range request")
        content_range = _CONTENT_RANGE.fullmatch(head.fields.get(b"content-range", b""))
        if content_range is None or (int(content_range[1]), int(content_range[2])) != (self.start, self.end):
            raise TransferInterrupted("Content-Range differs from the requested range")


def object_info(head: Head) -> ObjectInfo:
    """
    Return the object data of a successful HEAD.

    An invalid date becomes the earliest one that a zip can hold. Raises SourceUnavailable if the object is archived,
    TransferInterrupted if length or ETag is missing.
    """
    restored = 'ongoing-request="false"' in head.text(b"x-amz-restore")
    tiered = bool(head.text(b"x-amz-archive-status"))
    if (tiered or head.text(b"x-amz-storage-class") in ("GLACIER", "DEEP_ARCHIVE")) and not restored:
        restoring = 'ongoing-request="true"' in head.text(b"x-amz-restore")
        raise SourceArchived(_ARCHIVED, restoring=restoring, tiered=tiered)
    size, etag = size_and_etag(head)
    modified = http_date(head.text(b"last-modified")) or MIN_MODIFIED
    version = head.text(b"x-amz-version-id") or None
    return ObjectInfo(size, etag, modified, head.text(b"content-type"), full_object_crc32(head), version=version)


def size_and_etag(head: Head) -> tuple[int, str]:
    """Return size and ETag of the object of a successful HEAD. Raises TransferInterrupted if one is missing."""
    etag = head.text(b"etag")
    try:
        size = body_length("GET", head)  # the length of a GET's body: HEAD itself has none
    except ProtocolError as error:
        raise TransferInterrupted(str(error)) from error
    missing = [name for name, absent in (("Content-Length", size < 0), ("ETag", not etag)) if absent]
    if missing:
        raise TransferInterrupted(f"the response to HEAD has no {' and no '.join(missing)}")
    return size, etag


def full_object_crc32(head: Head) -> int | None:
    """Return the CRC-32 of the whole object; None for a composite one (`…-N`), which is a CRC of the parts' CRCs."""
    if head.text(b"x-amz-checksum-type") not in ("", "FULL_OBJECT"):
        return None
    return decode_crc32(head.text(b"x-amz-checksum-crc32"))


def decode_crc32(text: str) -> int | None:
    """Return the CRC-32 that *text* has in base64; None if it has none."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one; so is what text beyond ASCII raises
        return None
    return int.from_bytes(value, "big") if len(value) == 4 else None  # noqa: PLR2004


def error_code(response: HttpResponse) -> str:
    """Return S3's error code; empty if the response has none (for example to HEAD)."""
    match = _CODE.search(response.body)
    return match[1].decode() if match else ""


def redirect_region(response: HttpResponse) -> str:
    """Return the bucket's region if the response reports that the request went to another one; else empty."""
    if response.head.status not in (301, 307, 400):
        return ""
    match = _REGION.search(response.body)
    return response.head.text(b"x-amz-bucket-region") or (match[1].decode() if match else "")


def read_error(response: HttpResponse, *, pinned: bool = False) -> ArchiverError:
    """
    Return the error of a failed HEAD or GET. *pinned*: a read of the planned version, after a successful HEAD.

    Every 4xx is an error of that object, except for transient errors, refused credentials and version conflicts: no
    list of a store's codes is complete.
    """
    status, code = response.head.status, error_code(response)
    failure = server_error(response, code, _describe(response, code))
    if failure is not None:
        return failure
    if code in CREDENTIAL_ERROR_CODES or status in _CREDENTIAL_STATUSES:
        return CredentialsRefused(_credentials_message(status, code), code or str(status))
    if pinned and status in (404, 412, 416):
        return SourceChanged(_describe(response, code), gone=status == 404)  # noqa: PLR2004
    if not 400 <= status < 500 or status in _TRANSIENT_STATUSES or is_transient({code}):  # noqa: PLR2004
        return TransferInterrupted(_describe(response, code))
    reason, detail = _source_error(response, code, pinned=pinned)
    if reason == "source_missing" and status == 404:  # noqa: PLR2004 - the detail is enough
        return SourceUnavailable(reason, detail)
    return SourceUnavailable(reason, f"{detail} ({_describe(response, code)})" if detail else _describe(response, code))


def _source_error(response: HttpResponse, code: str, *, pinned: bool) -> tuple[Code, str]:
    if code.upper().startswith("KMS") or b"kms:" in response.body:
        return _KMS_DENIED
    if code == "AccessDenied" and pinned:
        return _READ_DENIED
    if code in _UNAVAILABLE:
        return _UNAVAILABLE[code]
    if code == "InvalidRequest" and b"Server Side Encryption" in response.body:
        return _CUSTOMER_KEY
    if response.head.status in (404, 410):
        return _UNAVAILABLE["NoSuchKey"]
    return "source_denied", ""


def server_error(response: HttpResponse, code: str, text: str) -> ArchiverError | None:
    """Return the error with *text* of a throttled or failed response; None if the server does not fail."""
    status = response.head.status
    if status in (429, 503) or code in _THROTTLED or code.endswith(("ThrottlingException", "Throttling")):
        return TransferInterrupted(text, throttled=True)
    if status >= 500:  # noqa: PLR2004
        return TransferInterrupted(text)
    return None


def _credentials_message(status: int, code: str) -> str:
    return f"S3 refuses the worker's credentials, clock or region: {code or status}"


def _describe(response: HttpResponse, code: str) -> str:
    return f"S3 returned {response.head.status} {code}".rstrip()
