"""Names in S3: where objects lie, which may be read, and where an archive goes."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote

from archiver.core.messages import Link
from archiver.core.paths import sanitize_component
from archiver.errors import Rejected

PROBE_KEY = ".archiver-check"
"""The name of an object that need not exist: asking for it tells whether a bucket answers."""

MAX_KEY_BYTES = 1024
"""Bytes of UTF-8 in a key ("Naming Amazon S3 objects", S3 user guide)."""

_URI = re.compile(r"s3://(arn:[^/]*:accesspoint/[^/]*|[^/]*)/?(.*)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9.\-_]{3,255}")  # VALID_BUCKET of botocore; S3's older buckets may be this odd
_ACCESS_POINT = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):s3:(?P<region>[a-z0-9-]{2,40}):(?P<account>[0-9]{12})"
    r":accesspoint/(?P<name>[a-z0-9][a-z0-9-]{1,48}[a-z0-9])"
)
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"  # attr-char of RFC 5987, beside letters and digits


@dataclass(frozen=True, slots=True)
class Location:
    """One object: *bucket* and *key*, both literal."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_bucket_name(text: str) -> bool:
    """Tell whether a bucket can have this name, or an access point this ARN."""
    return _BUCKET.fullmatch(text) is not None or access_point(text) is not None


def access_point(bucket: str) -> re.Match[str] | None:
    """The parts (partition, region, account, name) of an access point's ARN in a bucket's place; None: it is none."""
    return _ACCESS_POINT.fullmatch(bucket)


def split_bucket(entry: str) -> tuple[str, str]:
    """The bucket, or the ARN of the access point, that `bucket/prefix` begins with, and the prefix."""
    point = _ACCESS_POINT.match(entry)
    if point is not None and entry[point.end() :][:1] in ("", "/"):
        return point[0], entry[point.end() + 1 :]
    bucket, _, prefix = entry.partition("/")
    return bucket, prefix


def parse_source(text: str, default_bucket: str | None) -> Location:
    """
    Read a request's `source`, literally: `s3://bucket/key` (scheme in any case), else a key in *default_bucket*.

    Raises Rejected `invalid_request`.
    """
    uri = _URI.fullmatch(text)
    bucket, key = (uri[1], uri[2]) if uri else (default_bucket, text)
    if not key:
        raise Rejected("invalid_request", "names no key")
    if bucket is None:
        raise Rejected(
            "invalid_request", "is a bare key, and this service has no S3_SOURCE_BUCKET: write s3://bucket/key"
        )
    if not is_bucket_name(bucket):
        raise Rejected("invalid_request", f"names a bucket that can't exist: {bucket[:80]!a}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise Rejected("invalid_request", "holds half of a surrogate pair, which is not text") from None
    if size > MAX_KEY_BYTES:
        raise Rejected("invalid_request", f"has a key of {size} bytes; S3 has at most {MAX_KEY_BYTES}")
    return Location(bucket, key)


@dataclass(frozen=True, slots=True)
class AllowList:
    """
    What requests may name. Prefixes are compared byte for byte.

    *prefixes* holds, for each allowed bucket, the beginnings of allowed keys ("" for all of the bucket). None allows
    all but *destination_bucket*: an archive is never read back into another by accident.
    """

    destination_bucket: str
    prefixes: dict[str, tuple[str, ...]] | None = field(default=None)

    @classmethod
    def parse(cls, text: str | None, destination_bucket: str) -> Self:
        """
        Read the setting: `bucket`, `bucket/` and `bucket/prefix/`, comma-separated and trimmed; None is unset.

        Raises ValueError with a sentence for each bad entry.
        """
        if text is None:
            return cls(destination_bucket)
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        problems = [] if entries else ["it names no bucket"]
        prefixes: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            bucket, prefix = split_bucket(entry)
            if not is_bucket_name(bucket):
                problems.append(f"`{entry}` does not begin with the name of a bucket")
            elif prefix and not prefix.endswith("/"):
                problems.append(f"`{entry}` lacks the last `/`: it would allow `{entry}-of-someone-else` too")
            prefixes[bucket] = (*prefixes.get(bucket, ()), prefix)
        if problems:
            raise ValueError("; ".join(problems))
        return cls(destination_bucket, prefixes)

    def allows(self, location: Location) -> bool:
        """Tell whether a request may name *location*."""
        if self.prefixes is None:
            return location.bucket != self.destination_bucket
        return location.key.startswith(self.prefixes.get(location.bucket, ()))

    def allows_any_in(self, bucket: str) -> bool:
        """Tell whether any object of *bucket* may be named."""
        return bucket != self.destination_bucket if self.prefixes is None else bucket in self.prefixes

    def probe(self, bucket: str) -> Location | None:
        """A location in *bucket* that may be asked for, None where none may be. No object is meant to be there."""
        if not self.allows_any_in(bucket):
            return None
        prefixes = ("",) if self.prefixes is None else self.prefixes[bucket]
        return Location(bucket, f"{prefixes[0]}{PROBE_KEY}")


def archive_digest(secret: str | None, queue_arn: str, job_id: str | None, message_id: str) -> str:
    """
    Name the job: 64 hex digits, the same for each delivery, and for each message with the same *job_id*.

    HMAC-SHA-256 under *secret*; plain SHA-256 where there is none, and then who knows queue and id can compute it.
    """
    identity = f"job\n{job_id}" if job_id is not None else f"msg\n{message_id}"
    text = f"v1\n{queue_arn}\n{identity}".encode()
    return (hmac.new(secret.encode(), text, hashlib.sha256) if secret else hashlib.sha256(text)).hexdigest()


def archive_key(digest: str, prefix: str) -> str:
    """Make the archive's key in the destination bucket."""
    return f"{digest}/{prefix}.zip"


def archive_url(base_url: str | None, bucket: str, key: str) -> str:
    """Make the URL that the answer carries, unsigned; an `s3://` URI where there is no *base_url*."""
    return str(Location(bucket, key)) if base_url is None else f"{base_url.rstrip('/')}/{quote(key, safe='/')}"


@dataclass(frozen=True, slots=True)
class PlainLinks:
    """Links that anyone can use, as long as the archive is there. Without *base_url* they are `s3://` URIs."""

    base_url: str | None
    bucket: str

    async def link(self, key: str) -> Link:
        """The link to the archive at *key*."""
        return Link(archive_url(self.base_url, self.bucket, key))


def content_disposition(archive_name: str | None, prefix: str, sent_at: datetime) -> str:
    """
    Make the header that names the download: *archive_name* as one safe part with `.zip` at its end, or
    `{prefix}-{YYYY-MM-DD}.zip` of the UTC day of *sent_at* (aware).

    RFC 6266: an ASCII `filename`, and where that is not all of it, RFC 5987's `filename*`. A safe part holds no control
    character, quote or backslash, so nothing can end the value early.
    """
    name = sanitize_component(archive_name or f"{prefix}-{sent_at.astimezone(UTC):%Y-%m-%d}")
    if not name.lower().endswith(".zip"):
        name = sanitize_component(f"{name}.zip")
    # `%` followed by hex digits is decoded by some browsers even here (RFC 6266, appendix D).
    plain = "".join(char if char.isascii() and char != "%" else "_" for char in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"
    return f'attachment; filename="{plain}"{extended}'
