"""What S3's answers to HEAD and GET mean: they become facts or errors of this service; no I/O."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

from archiver.aws.faults import DENIED, NO_BUCKET
from archiver.aws.http_exchange import Answer
from archiver.aws.http_parse import Head, ProtocolError, body_length
from archiver.core.plan import ObjectInfo
from archiver.errors import (
    ArchiverError,
    Code,
    ConfigurationFault,
    Interrupted,
    SourceChanged,
    SourceUnavailable,
    Temporary,
)

_CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,19})-(\d{1,19})/(?:\d{1,19}|\*)")
_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_OURS_TO_MEND = EXPIRED | {
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_ARCHIVED = "the object is archived and has to be restored first"
_DENIED = "access denied; without s3:ListBucket S3 says this of a missing key, too"
_UNAVAILABLE: dict[str, tuple[Code, str]] = {
    "NoSuchKey": ("source_missing", "no such key or bucket"),
    "NoSuchBucket": ("source_missing", "no such bucket"),
    "InvalidBucketName": ("source_missing", "no bucket can have this name"),
    "InvalidURI": ("source_missing", "no key can have this name"),
    "KeyTooLongError": ("source_missing", "the key is longer than S3 allows"),
    "AccessDenied": ("source_denied", _DENIED),
    "AllAccessDisabled": ("source_denied", "all access to the bucket is disabled"),
    "AccountProblem": ("source_denied", "the bucket's account has a problem"),
    "InvalidObjectState": ("source_archived", _ARCHIVED),
}
_KMS_DENIED: tuple[Code, str] = ("source_denied", "KMS does not decrypt the object for us")
_CUSTOMER_KEY: tuple[Code, str] = ("source_denied", "the object is encrypted with a key that we don't have")


class Wanted(NamedTuple):
    """The bytes *start* to *end* (inclusive) of the version *etag*."""

    etag: str
    start: int
    end: int

    def check(self, head: Head) -> None:
        """
        Refuse a success that brings anything else: raises SourceChanged on another ETag, Interrupted on the rest.

        A 200 from the object's start will do: a body that fills the views exactly is then the whole of it. That it
        does is the HTTP client's to see to.
        """
        etag = head.fields.get(b"etag")
        if etag is None:
            raise Interrupted("no ETag in the answer")
        if etag.decode("latin-1") != self.etag:
            raise SourceChanged(f"ETag {etag.decode('latin-1')} instead of {self.etag}")
        if head.status == 200 and self.start == 0:  # noqa: PLR2004
            return
        if head.status != 206:  # noqa: PLR2004
            raise Interrupted(f"status {head.status} to a range request")
        given = _CONTENT_RANGE.fullmatch(head.fields.get(b"content-range", b""))
        if given is None or (int(given[1]), int(given[2])) != (self.start, self.end):
            raise Interrupted("another Content-Range than was asked for")


def object_info(head: Head) -> ObjectInfo:
    """What a HEAD says. Raises SourceUnavailable where the object sleeps, Interrupted where something is wanting."""
    restored = 'ongoing-request="false"' in head.text(b"x-amz-restore")
    frozen = head.text(b"x-amz-storage-class") in ("GLACIER", "DEEP_ARCHIVE") or head.text(b"x-amz-archive-status")
    if frozen and not restored:
        raise SourceUnavailable("source_archived", _ARCHIVED)
    modified = http_date(head.text(b"last-modified"))
    etag = head.text(b"etag")
    try:
        size = body_length("GET", head)  # of a GET: HEAD itself has no body
    except ProtocolError as error:
        raise Interrupted(str(error)) from error
    if size < 0 or modified is None or not etag:
        raise Interrupted("HEAD without length, Last-Modified or ETag")
    return ObjectInfo(size, etag, modified, head.text(b"content-type"), _crc32(head))


def http_date(text: str) -> datetime | None:
    """An HTTP date (RFC 9110, IMF-fixdate; ours to write: `Sun, 06 Nov 1994 08:49:37 GMT`), None where it is none."""
    match = _DATE.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    day, month, year, *clock = match.groups()
    hour, minute, second = map(int, clock)
    try:
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _crc32(head: Head) -> int | None:
    """The CRC-32 of the whole object; not of its parts' CRCs, which is what a composite one (`…-N`) is."""
    text = head.text(b"x-amz-checksum-crc32")
    if head.text(b"x-amz-checksum-type") not in ("", "FULL_OBJECT"):
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return int.from_bytes(value, "big") if len(value) == 4 else None  # noqa: PLR2004


def error_code(answer: Answer) -> str:
    """S3's code for an error, empty where it gave none (HEAD has no body)."""
    match = _CODE.search(answer.body)
    return match[1].decode() if match else ""


def other_region(answer: Answer) -> str:
    """The region that a wrongly addressed bucket is in, as far as the answer tells; else empty."""
    if answer.head.status not in (301, 307, 400):
        return ""
    match = _REGION.search(answer.body)
    return answer.head.text(b"x-amz-bucket-region") or (match[1].decode() if match else "")


def head_problem(answer: Answer) -> ArchiverError:
    """Why an object can't be had, from an error with a code."""
    code = error_code(answer)
    general = _general_problem(answer, code)
    if general is not None:
        return general
    reason = _UNAVAILABLE.get(code)
    if code.startswith("KMS.") or (code == "AccessDenied" and b"kms:" in answer.body):
        reason = _KMS_DENIED
    elif code == "InvalidRequest" and b"Server Side Encryption" in answer.body:
        reason = _CUSTOMER_KEY
    elif reason is None and answer.head.status == 404:  # noqa: PLR2004
        reason = _UNAVAILABLE["NoSuchKey"]
    return SourceUnavailable(*reason) if reason else Interrupted(_named(answer, code))


def read_problem(answer: Answer) -> ArchiverError:
    """Why a read of a planned object failed."""
    code = error_code(answer)
    general = _general_problem(answer, code)
    if general is not None:
        return general
    if answer.head.status in (404, 412, 416) or code in _UNAVAILABLE or code.startswith("KMS."):
        return SourceChanged(_named(answer, code))
    return Interrupted(_named(answer, code))


def write_problem(answer: Answer) -> ArchiverError:
    """Why a part was not taken: the bucket refuses us or is gone, which is ours to mend; all else may pass."""
    code = error_code(answer)
    if code in DENIED | NO_BUCKET or code.startswith("KMS."):
        return ConfigurationFault(_named(answer, code))
    return _general_problem(answer, code) or Temporary(_named(answer, code))


def _general_problem(answer: Answer, code: str) -> ArchiverError | None:
    status = answer.head.status
    if status in (429, 503) or code in _THROTTLED or code.endswith(("ThrottlingException", "Throttling")):
        return Interrupted(_named(answer, code), throttled=True)
    if code in _OURS_TO_MEND:
        return ConfigurationFault(f"S3 refuses our credentials or clock: {code}")
    if status >= 500:  # noqa: PLR2004
        return Interrupted(_named(answer, code))
    return None


def _named(answer: Answer, code: str) -> str:
    return f"S3 answered {answer.head.status} {code}".rstrip()
