"""Names in S3: locations of objects, the list of allowed sources, keys and links of archives."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Self
from urllib.parse import quote

from archiver.core.messages import Link
from archiver.core.paths import sanitize_component
from archiver.errors import Rejected

PROBE_KEY = ".archiver-check"
"""The key that checks use to test access to a bucket. The object need not exist."""

MAX_KEY_BYTES = 1024
"""Maximum bytes of UTF-8 in a key ("Naming Amazon S3 objects", S3 user guide)."""

_URI = re.compile(r"s3://(arn:[^/]*:accesspoint/[^/]*|[^/]*)/?(.*)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9.\-_]{3,255}")  # VALID_BUCKET of botocore; old buckets may have such names
_ACCESS_POINT = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):s3:(?P<region>[a-z0-9-]{2,40}):(?P<account>[0-9]{12})"
    r":accesspoint/(?P<name>[a-z0-9][a-z0-9-]{1,48}[a-z0-9])"
)
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"  # attr-char of RFC 5987, in addition to letters and digits


class Location(NamedTuple):  # a tuple: one is made for each object, in a third of a dataclass's time
    """
    One object: *bucket* and *key*, both literal. *role*: ARN of the role that it is read with; "": the worker's own.
    """

    bucket: str
    key: str
    role: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_bucket_name(text: str) -> bool:
    """Return whether *text* is a valid bucket name, or a valid ARN of an access point."""
    return _BUCKET.fullmatch(text) is not None or access_point(text) is not None


def access_point(bucket: str) -> re.Match[str] | None:
    """Parse *bucket* as the ARN of an access point: partition, region, account, name. None if it is not one."""
    return _ACCESS_POINT.fullmatch(bucket)


def split_bucket(entry: str) -> tuple[str, str]:
    """Split `bucket/prefix` into the bucket (or the ARN of an access point) and the prefix."""
    point = _ACCESS_POINT.match(entry)
    if point is not None and entry[point.end() :][:1] in ("", "/"):
        return point[0], entry[point.end() + 1 :]
    bucket, _, prefix = entry.partition("/")
    return bucket, prefix


def parse_source(text: str, default_bucket: str | None, role: str = "") -> Location:
    """
    Parse a request's `source`: `s3://bucket/key` (scheme in any case), else a key in *default_bucket*. The key is taken
    literally, without URL decoding. *role*: see `Location`.

    Raises Rejected `invalid_request`.
    """
    bucket, key = _split_uri(text, default_bucket)
    if not key:
        raise Rejected("invalid_request", "has no key")
    return _location(bucket, key, role)


def parse_prefix(text: str, default_bucket: str | None, role: str = "") -> Location:
    """
    Parse a request's `prefix`, which is written like a `source`, but may be a bucket alone (`s3://bucket/`).

    Raises Rejected `invalid_request`.
    """
    return _location(*_split_uri(text, default_bucket), role)


def _location(bucket: str | None, key: str, role: str) -> Location:
    if bucket is None:
        raise Rejected(
            "invalid_request", "is a key without a bucket, and S3_SOURCE_BUCKET is not set: write s3://bucket/key"
        )
    if not is_bucket_name(bucket):
        raise Rejected("invalid_request", f"has an invalid bucket name: {bucket[:80]!a}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise Rejected("invalid_request", "contains half of a surrogate pair, which is not text") from None
    if size > MAX_KEY_BYTES:
        raise Rejected("invalid_request", f"has a key of {size} bytes; S3 allows at most {MAX_KEY_BYTES}")
    return Location(bucket, key, role)


def _split_uri(text: str, default_bucket: str | None) -> tuple[str | None, str]:
    uri = _URI.fullmatch(text)
    return (uri[1], uri[2]) if uri else (default_bucket, text)


@dataclass(frozen=True, slots=True)
class AllowList:
    """
    The sources that requests may name. Prefixes are compared byte by byte.

    *prefixes*: for each allowed bucket, the prefixes of allowed keys ("" for the whole bucket). None allows all buckets
    except *destination_bucket*, so that no archive is accidentally included in another one.
    """

    destination_bucket: str
    prefixes: dict[str, tuple[str, ...]] | None = field(default=None)

    @classmethod
    def parse(cls, text: str | None, destination_bucket: str) -> Self:
        """
        Parse the setting: `bucket`, `bucket/` and `bucket/prefix/`, comma-separated and trimmed. None: it is unset.

        Raises ValueError with one sentence for each invalid entry.
        """
        if text is None:
            return cls(destination_bucket)
        return cls.of([entry.strip() for entry in text.split(",") if entry.strip()], destination_bucket)

    @classmethod
    def of(cls, entries: Sequence[str], destination_bucket: str) -> Self:
        """Allow what *entries* name. Raises ValueError as `parse` does."""
        problems = [] if entries else ["it contains no bucket"]
        prefixes: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            bucket, prefix = split_bucket(entry)
            if not is_bucket_name(bucket):
                problems.append(f"`{entry}` does not start with a bucket name")
            elif prefix and not prefix.endswith("/"):
                problems.append(f"`{entry}` lacks the trailing `/`: it would also allow `{entry}-of-someone-else`")
            prefixes[bucket] = (*prefixes.get(bucket, ()), prefix)
        if problems:
            raise ValueError("; ".join(problems))
        return cls(destination_bucket, prefixes)

    def allows(self, location: Location) -> bool:
        """Return whether a request may name *location*: an object, or all objects whose keys begin with that key."""
        if self.prefixes is None:
            return location.bucket != self.destination_bucket
        return location.key.startswith(self.prefixes.get(location.bucket, ()))

    def allows_any_in(self, bucket: str) -> bool:
        """Return whether requests may name any object of *bucket*."""
        return bucket != self.destination_bucket if self.prefixes is None else bucket in self.prefixes

    def probe(self, bucket: str) -> Location | None:
        """Return an allowed location in *bucket* for checks; None if no key is allowed. The object need not exist."""
        if not self.allows_any_in(bucket):
            return None
        prefixes = ("",) if self.prefixes is None else self.prefixes[bucket]
        return Location(bucket, f"{prefixes[0]}{PROBE_KEY}")


@dataclass(frozen=True, slots=True)
class Role:
    """
    A role that requests may name. *sources*: what may be read with it. *external_id*: what the role's owner asks of
    whoever assumes it; None: nothing.
    """

    sources: AllowList
    external_id: str | None = field(default=None, repr=False)


def archive_digest(secret: str | None, queue_arn: str, job_id: str | None, message_id: str) -> str:
    """
    Return the id of the job: 64 hex digits, equal for each delivery, and for each message with the same *job_id*.

    HMAC-SHA-256 with the key *secret*. Without a secret, plain SHA-256: then anyone who knows the queue and the id can
    compute it.
    """
    identity = f"job\n{job_id}" if job_id is not None else f"msg\n{message_id}"
    text = f"v1\n{queue_arn}\n{identity}".encode()
    return (hmac.new(secret.encode(), text, hashlib.sha256) if secret else hashlib.sha256(text)).hexdigest()


def archive_key(digest: str, prefix: str) -> str:
    """Return the archive's key in the destination bucket."""
    return f"{digest}/{prefix}.zip"


def archive_url(base_url: str | None, bucket: str, key: str) -> str:
    """Return the archive's unsigned URL; an `s3://` URI if *base_url* is None."""
    return str(Location(bucket, key)) if base_url is None else f"{base_url.rstrip('/')}/{quote(key, safe='/')}"


@dataclass(frozen=True, slots=True)
class PlainLinks:
    """Creates unsigned links. They work for anyone until the archive is deleted. Without *base_url*: `s3://` URIs."""

    base_url: str | None
    bucket: str

    async def link(self, key: str) -> Link:
        """Return the link to the archive at *key*."""
        return Link(archive_url(self.base_url, self.bucket, key))


def content_disposition(archive_name: str | None, prefix: str, sent_at: datetime) -> str:
    """
    Return the Content-Disposition with the download's file name: *archive_name*, sanitized and with the extension
    `.zip`; or `{prefix}-{YYYY-MM-DD}.zip` with the UTC day of *sent_at* (aware).

    RFC 6266: an ASCII `filename`; if the name is not ASCII, also RFC 5987's `filename*`. A sanitized name contains no
    control character, quote or backslash, so nothing can end the value early.
    """
    name = sanitize_component(archive_name or f"{prefix}-{sent_at.astimezone(UTC):%Y-%m-%d}")
    if not name.lower().endswith(".zip"):
        name = sanitize_component(f"{name}.zip")
    # Some browsers decode `%` with two hex digits even here (RFC 6266, appendix D).
    plain = "".join(char if char.isascii() and char != "%" else "_" for char in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"
    return f'attachment; filename="{plain}"{extended}'
