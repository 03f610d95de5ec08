"""What S3's answers to HEAD and GET mean: they become facts or errors of this service; no I/O."""

import base64
import binascii
import re
from typing import NamedTuple

from archiver.aws.error_mapping import REFUSED, passing, refuses
from archiver.core.plan import EARLIEST, ObjectInfo
from archiver.errors import (
    Answered,
    ArchiveExists,
    ArchiverError,
    Code,
    ConfigurationFault,
    CredentialsRefused,
    Interrupted,
    SourceChanged,
    SourceUnavailable,
    Temporary,
)
from archiver.http.dates import http_date
from archiver.http.exchange import Answer
from archiver.http.parse import Head, ProtocolError, body_length

_CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,64})</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,19})-(\d{1,19})/(?:\d{1,19}|\*)")

_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_REFUSED_BY_STATUS = frozenset({301, 308, 401, 407})  # the bucket is elsewhere; a store or a proxy does not know us
_MAY_PASS_BY_STATUS = frozenset({408, 412, 416, 425})
_OF_THE_BODY = frozenset({"EntityTooLarge", "EntityTooSmall"})
"""Refusals of one write for its own bytes: another write may be taken."""

_ARCHIVED = "the object is archived and has to be restored first"
_DENIED = (
    "access denied; without s3:ListBucket S3 says this of a missing key, too, "
    "and of every key where the requester has to pay (S3_REQUEST_PAYER)"
)
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
_READ_DENIED: tuple[Code, str] = (
    "source_denied",
    "HEAD is allowed, reading is not: look at the key that encrypts the object, the bucket's policy and its limits",
)
_KMS_DENIED: tuple[Code, str] = ("source_denied", "KMS does not decrypt the object for us: grant kms:Decrypt")
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
    """
    What a HEAD says. Raises SourceUnavailable where the object sleeps, Interrupted where length or ETag is wanting.

    A date that can't be read is the earliest one that a zip can hold: no reason to do without the file.
    """
    restored = 'ongoing-request="false"' in head.text(b"x-amz-restore")
    frozen = head.text(b"x-amz-storage-class") in ("GLACIER", "DEEP_ARCHIVE") or head.text(b"x-amz-archive-status")
    if frozen and not restored:
        raise SourceUnavailable("source_archived", _ARCHIVED)
    etag = head.text(b"etag")
    try:
        size = body_length("GET", head)  # of a GET: HEAD itself has no body
    except ProtocolError as error:
        raise Interrupted(str(error)) from error
    wanting = [name for name, absent in (("Content-Length", size < 0), ("ETag", not etag)) if absent]
    if wanting:
        raise Interrupted(f"the answer to HEAD has no {' and no '.join(wanting)}")
    modified = http_date(head.text(b"last-modified")) or EARLIEST
    return ObjectInfo(size, etag, modified, head.text(b"content-type"), _crc32(head))


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


def object_problem(answer: Answer, *, pinned: bool = False) -> ArchiverError:
    """
    Why an object can't be had: one table for HEAD and GET. *pinned*: the answer to a read of a planned version, after
    a HEAD that was answered.

    Every 4xx is a verdict on that object, but for those that speak of the moment, of us, or of the version: a store
    has more codes than anyone can list.
    """
    status, code = answer.head.status, error_code(answer)
    general = _general_problem(answer, code)
    if general is not None:
        return general
    if code in REFUSED or status in _REFUSED_BY_STATUS:
        return CredentialsRefused(_refused(status, code), code or str(status))
    if pinned and status in (404, 412, 416):
        return SourceChanged(_named(answer, code), gone=status == 404)  # noqa: PLR2004
    if not 400 <= status < 500 or status in _MAY_PASS_BY_STATUS or passing({code}):  # noqa: PLR2004
        return Interrupted(_named(answer, code))
    why, words = _verdict(answer, code, pinned=pinned)
    if why == "source_missing" and status == 404:  # noqa: PLR2004 - the words say it
        return SourceUnavailable(why, words)
    return SourceUnavailable(why, f"{words} ({_named(answer, code)})" if words else _named(answer, code))


def _verdict(answer: Answer, code: str, *, pinned: bool) -> tuple[Code, str]:
    if code.upper().startswith("KMS") or b"kms:" in answer.body:
        return _KMS_DENIED
    if code == "AccessDenied" and pinned:
        return _READ_DENIED
    if code in _UNAVAILABLE:
        return _UNAVAILABLE[code]
    if code == "InvalidRequest" and b"Server Side Encryption" in answer.body:
        return _CUSTOMER_KEY
    if answer.head.status in (404, 410):
        return _UNAVAILABLE["NoSuchKey"]
    return "source_denied", ""


def write_problem(answer: Answer) -> ArchiverError:
    """
    Why a body was not taken. A refusal of a write of ours is ours to mend, whatever its name; what is wrong with this
    one body, with the moment or with the store may pass.
    """
    status, code = answer.head.status, error_code(answer)
    if status == 412:  # noqa: PLR2004
        return ArchiveExists(_named(answer, code))
    if code in REFUSED:
        return ConfigurationFault(_refused(status, code))
    if code in _OF_THE_BODY:
        return Answered(_named(answer, code))
    if refuses(status, {code}):
        return ConfigurationFault(_named(answer, code))
    return _general_problem(answer, code) or Temporary(_named(answer, code))


def _general_problem(answer: Answer, code: str) -> ArchiverError | None:
    status = answer.head.status
    if status in (429, 503) or code in _THROTTLED or code.endswith(("ThrottlingException", "Throttling")):
        return Interrupted(_named(answer, code), throttled=True)
    if status >= 500:  # noqa: PLR2004
        return Interrupted(_named(answer, code))
    return None


def _refused(status: int, code: str) -> str:
    return f"S3 refuses our credentials, clock or region: {code or status}"


def _named(answer: Answer, code: str) -> str:
    return f"S3 answered {answer.head.status} {code}".rstrip()
