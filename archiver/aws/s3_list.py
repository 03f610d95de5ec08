"""
Listings of S3 (ListObjectsV2): one page per call, read strictly and within bounds.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from archiver.aws.s3_responses import error_code, read_error
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_xml import Element, MalformedXmlError, read_xml
from archiver.core.locations import Location
from archiver.core.objects import Listed, ListPage
from archiver.core.plan import MIN_MODIFIED
from archiver.core.policy import bucket_arn, permission_hint
from archiver.core.select import Prefix
from archiver.errors import ArchiverError, SourceUnavailable, TransferInterrupted
from archiver.http.dates import http_date
from archiver.http.exchange import HttpResponse

PAGE_SIZE = 1000
"""Objects of a page: S3 returns no more."""

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""Maximum bytes of a page: 1,000 keys of 1,024 bytes, each byte as `%XX`, and 4 KiB for what else is told of each."""

MAX_TOKEN_LENGTH = 4096

_RESTORE_STATUS = (("x-amz-optional-object-attributes", "RestoreStatus"),)
_ARCHIVED_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_SIZE = re.compile(r"[0-9]{1,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")

Send = Callable[[S3Request], Awaitable[HttpResponse]]


async def list_page(send: Send, prefix: Prefix, token: str) -> ListPage:
    """List one page of *prefix*: the first one, or the one for *token*. Raises as `S3Reader.list` does."""
    location = prefix.location
    request = S3Request(
        "GET",
        Location(location.bucket, ""),
        into=None,
        amz=_RESTORE_STATUS,
        query=_query(prefix, token),
        body_limit=MAX_PAGE_BYTES,
    )
    response = await send(request)
    if response.head.status != 200:  # noqa: PLR2004
        raise _list_error(response, location.bucket)
    page = await asyncio.to_thread(parse_page, response.body, location.key)  # 10 ms
    if page.next and page.next == token:
        raise TransferInterrupted("the listing does not advance")
    return page


def _query(prefix: Prefix, token: str) -> str:
    """Return the query, sorted by name. Keys come URL-encoded: XML can't hold all characters of a key."""
    fields = {
        "continuation-token": token,
        "delimiter": "" if prefix.recursive else "/",
        "encoding-type": "url",
        "list-type": "2",
        "max-keys": str(PAGE_SIZE),
        "prefix": prefix.location.key,
    }
    return "&".join(f"{name}={quote(value, safe='~')}" for name, value in fields.items() if value)


def parse_page(body: bytes, prefix: str) -> ListPage:
    """Read a page of a listing of *prefix*. Raises TransferInterrupted if it is anything else, or incomplete."""
    try:
        page = read_xml(body, "ListBucketResult")
        objects = [_listed(page, element) for element in page.elements("Contents")]
    except MalformedXmlError as error:
        raise TransferInterrupted(str(error)) from None
    if len(objects) > PAGE_SIZE or not all(listed.key.startswith(prefix) for listed in objects):
        raise TransferInterrupted("the listing has objects that were not asked for")
    return ListPage(objects, _next_token(page))


def _next_token(page: Element) -> str:
    truncated, token = page.text("IsTruncated"), page.text("NextContinuationToken")
    if truncated not in ("true", "false") or (truncated == "true") != bool(token) or len(token) > MAX_TOKEN_LENGTH:
        raise TransferInterrupted("the listing does not say whether it is complete")
    return token


def _listed(page: Element, element: Element) -> Listed:
    size, etag = element.required("Size"), element.required("ETag")
    if not _SIZE.fullmatch(size):
        raise TransferInterrupted("the listing has an object without a size")
    storage_class = element.text("StorageClass")
    archived = storage_class in _ARCHIVED_CLASSES and not any(
        status.text("RestoreExpiryDate") for status in element.elements("RestoreStatus")
    )
    quoted = etag if etag.startswith(('"', "W/")) else f'"{etag}"'  # some stores leave the quotes out here
    return Listed(
        page.decode(element.required("Key")),
        int(size),
        quoted,
        _date(element.text("LastModified")),
        archived,
        storage_class == "INTELLIGENT_TIERING",
    )


@lru_cache(maxsize=1024)  # objects that were written together have one date, and share it in memory
def _date(text: str) -> datetime:
    """Return S3's date. One that is none becomes the earliest that a zip can hold, as in a HEAD."""
    if _DATE.fullmatch(text):  # in a sixth of the time
        with suppress(ValueError):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    return http_date(text) or MIN_MODIFIED


def _list_error(response: HttpResponse, bucket: str) -> ArchiverError:
    error = read_error(response)
    if not isinstance(error, SourceUnavailable):
        return error
    if error.code != "source_denied":
        return SourceUnavailable(error.code, "no such bucket" if response.head.status == 404 else error.detail)  # noqa: PLR2004
    reason = f"S3 returned {response.head.status} {error_code(response)}".rstrip()
    hint = permission_hint("s3:ListBucket", bucket_arn(bucket))
    return SourceUnavailable(error.code, f"listing the prefix is denied ({reason}); {hint}")
