"""Copies one version of an object: at once up to 5 GiB, else by parts, each on the condition of that version."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import is_failure
from archiver.aws.s3_part_copy import copy_source
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_upload import S3Upload, StoreCapabilities, UploadId
from archiver.aws.s3_xml import read_xml
from archiver.core.changes import Original, Outcome
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, RequestRefused
from archiver.http.exchange import HttpResponse
from archiver.http.parse import Head

PARTS_AT_ONCE = 4
_MAX_PARTS = 10_000
_CHECKSUM = ("x-amz-checksum-algorithm", "CRC32")  # of the copy: it shows whether the copy is what was archived
_KEPT_HEADERS = (
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "cache-control",
    "expires",
)
_METADATA = b"x-amz-meta-"
MAX_TAGGING = 64 * 1024
"""Bytes of an answer with ten tags, each of 384 characters that may be escaped."""


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """In bytes. *at_once*: the largest object that CopyObject copies; *part*: of larger ones, at least."""

    at_once: int = 5 * 1024**3
    part: int = 512 * 1024**2


class _Failed(Exception):
    """A call of a copy by parts failed. *response*: what it got."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__()
        self.response = response


class S3Copier:
    """Copies objects. Nothing is written over: a target that exists is refused, as far as the store can do that."""

    def __init__(self, calls: S3Calls, limits: CopyLimits) -> None:
        self._calls = calls
        self._limits = limits

    async def copy(self, original: Original, target: Location) -> HttpResponse | Outcome:
        """
        Copy *original* to *target*; return S3's response, successful or not, or how it ended otherwise. Raises
        TransferInterrupted (the outcome is unknown), ConfigurationError.
        """
        if not header_text(original.etag):
            return "source_changed"
        if original.size <= self._limits.at_once:
            amz = (*copy_source(original.location, original.etag), _CHECKSUM)
            return await self._calls.copy(S3Request("PUT", target, lines="If-None-Match: *\r\n", amz=amz))
        try:
            return await self._copy_by_parts(original, target)
        except _Failed as failed:
            return failed.response
        except ArchiveExists:
            return "name_conflict"
        except RequestRefused:  # the CRC-32 of the whole differs from what was archived
            return "not_copied"

    async def _copy_by_parts(self, original: Original, target: Location) -> Outcome:
        described = await self._describe(original)
        if described is None:
            return "not_copied"
        lines, amz = described
        created = await self._checked(
            S3Request(
                "POST",
                target,
                lines=lines,
                amz=(_CHECKSUM, ("x-amz-checksum-type", "FULL_OBJECT"), *amz),
                query="uploads=",
            )
        )
        upload_id = read_xml(created.body, "InitiateMultipartUploadResult").required("UploadId")
        upload = S3Upload(self._calls, UploadId(target, upload_id), {}, StoreCapabilities(completes_uploads=True))
        try:
            await self._copy_parts(upload, original)
            await upload.complete(original.size, original.crc32)
        except BaseException:
            await asyncio.shield(upload.abort())
            raise
        return "done"

    async def _copy_parts(self, upload: S3Upload, original: Original) -> None:
        places = asyncio.Semaphore(PARTS_AT_ONCE)

        async def copy_part(number: int, start: int, end: int) -> None:
            async with places:
                response = await upload.copy_part(number, copy_source(original.location, original.etag), (start, end))
                if response is not None:
                    raise _Failed(response)

        try:
            async with asyncio.TaskGroup() as parts:
                for number, (start, end) in enumerate(self._ranges(original.size), start=1):
                    parts.create_task(copy_part(number, start, end), name=f"copy.{number}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _ranges(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield the first and the last byte of each part."""
        part = max(self._limits.part, -(-size // _MAX_PARTS))
        for start in range(0, size, part):
            yield start, min(start + part, size) - 1

    async def _describe(self, original: Original) -> tuple[str, tuple[tuple[str, str], ...]] | None:
        """
        Return the unsigned header lines and the signed headers that give the copy what CopyObject copies: the type,
        the metadata and the tags. None: some of it can't be sent.
        """
        location, condition = original.location, f"If-Match: {original.etag}\r\n"
        head = (await self._checked(S3Request("HEAD", location, lines=condition))).head
        kept = {name: text for name in _KEPT_HEADERS if (text := head.text(name.encode()))}
        metadata = tuple(_metadata(head))
        if not all(header_text(text) for text in (*kept.values(), *(value for _, value in metadata))):
            return None
        if any(value != " ".join(value.split()) for _, value in metadata):
            return None
        lines = "".join(f"{name.title()}: {text}\r\n" for name, text in kept.items())
        if head.text(b"x-amz-tagging-count") in ("", "0"):
            return lines, metadata
        tagging = await self._checked(S3Request("GET", location, query="tagging=", body_limit=MAX_TAGGING))
        tags = [
            (tag.required("Key"), tag.text("Value"))
            for tag_set in read_xml(tagging.body, "Tagging").elements("TagSet")
            for tag in tag_set.elements("Tag")
        ]
        return lines, (*metadata, ("x-amz-tagging", urlencode(tags, quote_via=quote, safe="")))

    async def _checked(self, request: S3Request) -> HttpResponse:
        response = await self._calls.control(request)
        if is_failure(response):
            raise _Failed(response)
        return response


def _metadata(head: Head) -> Iterator[tuple[str, str]]:
    for name, value in head.fields.items():
        if name.startswith(_METADATA):
            yield name.decode("latin-1"), value.decode("latin-1")


def header_text(text: str) -> bool:
    """Return whether *text* can be sent in a header."""
    return text.isascii() and text.isprintable()
