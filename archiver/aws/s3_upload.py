"""The MultipartUpload on S3: an archive becomes visible only when complete, and no object is overwritten."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from archiver.aws.error_mapping import DENIED, NO_BUCKET, ErrorFactory, error_map
from archiver.aws.s3_calls import S3Calls, encode_crc32
from archiver.aws.s3_errors import WRITE_ERRORS, call_error, error_names, is_failure, write_error
from archiver.aws.s3_part_copy import NO_CRC32, copy_error, copy_source, is_denied
from archiver.aws.s3_responses import decode_crc32
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_xml import CompletedPart, completion_body, read_xml
from archiver.core.kept import StoredPart
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ConfigurationError,
    CopyRefused,
    Rejected,
    RequestRefused,
    SourceChanged,
    TransientError,
)
from archiver.http.exchange import HttpResponse
from archiver.ports import StoredArchive, Target

MAX_ABORT_ATTEMPTS = 5
ABORT_RETRY_SECONDS = 0.2  # seconds

_internal_error = partial(Rejected, "internal")
# NoSuchUpload and 412 may follow an own success whose response was lost: the caller checks the key with HEAD.
_COMPLETE_ERRORS: dict[str, ErrorFactory] = (
    WRITE_ERRORS
    | error_map(TransientError, {"404"})  # no code, so not from S3
    | error_map(_internal_error, {"EntityTooLarge", "EntityTooSmall", "InvalidPartOrder"})
)
# Also returned by stores that do not support CRC-32 checksums of whole objects.
_UNSUPPORTED_CODES = frozenset({"BadDigest", "InvalidPart", "InvalidRequest"})
_CHECKSUM_HINT = "; stores without FULL_OBJECT checksums respond like this: run `archiver check`"
_KNOWN_CAPABLE_ERRORS = error_map(RequestRefused, {"BadDigest", "InvalidPart"}) | error_map(
    _internal_error, {"InvalidRequest"}
)
_GONE = NO_BUCKET | {"NoSuchUpload", "404"}


@dataclass(slots=True)
class StoreCapabilities:
    """
    Proven capabilities of the store.

    After one completed upload, a refused completion is an error of that upload, not missing support in the store.
    """

    completes_uploads: bool = False

    @property
    def completion_errors(self) -> dict[str, ErrorFactory]:
        """The mapping of error codes of CompleteMultipartUpload."""
        if self.completes_uploads:
            return _COMPLETE_ERRORS | _KNOWN_CAPABLE_ERRORS
        return _COMPLETE_ERRORS | error_map(lambda text: ConfigurationError(text + _CHECKSUM_HINT), _UNSUPPORTED_CODES)


class UploadId(NamedTuple):
    """A multipart upload of the object at *location*."""

    location: Location
    id: str

    @property
    def query(self) -> str:
        """The parameter of S3's calls, encoded."""
        return f"uploadId={quote(self.id, safe='-_.~')}"


def condition(target: Target) -> str:
    """Return the header line that keeps a write from replacing what it may not replace."""
    if target.overwrites == "*":
        return ""
    return f"If-Match: {target.overwrites}\r\n" if target.overwrites else "If-None-Match: *\r\n"


@dataclass(slots=True)
class S3Upload:
    """The MultipartUpload that `S3Store.create_upload` started. It records only parts that S3 acknowledged."""

    _calls: S3Calls
    _upload: UploadId
    _metadata: Mapping[str, str] = field(default_factory=dict)
    _capabilities: StoreCapabilities = field(default_factory=StoreCapabilities)
    _condition: str = "If-None-Match: *\r\n"
    _sent: dict[int, CompletedPart] = field(default_factory=dict, init=False)
    _sizes: dict[int, int] = field(default_factory=dict, init=False)

    @property
    def id(self) -> str:
        return self._upload.id

    def add_stored(self, parts: Iterable[StoredPart]) -> None:
        """Record parts that S3 lists as part of this upload."""
        for number, size, etag, crc in parts:
            self._sent[number] = CompletedPart(number, etag, "" if crc is None else encode_crc32(crc))
            self._sizes[number] = size

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        query = f"partNumber={number}&{self._upload.query}"
        request = S3Request("PUT", self._upload.location, query=query, body=body)
        etag = await self._calls.send_body(f"UploadPart {self._upload.location.key}", request, crc32)
        self._sent[number] = CompletedPart(number, etag, encode_crc32(crc32))
        self._sizes[number] = len(body)

    async def copy(self, number: int, source: ObjectVersion, start: int, length: int) -> int:
        """The condition is always the ETag; the version is named as well, where there is one and that is allowed."""
        location, span = source.location, (start, start + length - 1)
        if not (source.etag.isascii() and source.etag.isprintable()):  # it would break the header line
            raise SourceChanged("no object has this ETag")
        response = await self.copy_part(number, copy_source(location, source.etag, source.version), span, location)
        if response is not None and is_denied(response) and source.version is not None:
            response = await self.copy_part(number, copy_source(location, source.etag), span, location)
        if response is not None:
            raise copy_error(response, location)
        crc32 = decode_crc32(self._sent[number].crc32)
        if crc32 is None:
            raise CopyRefused(NO_CRC32, location)
        return crc32

    async def copy_part(
        self, number: int, source: tuple[tuple[str, str], ...], span: tuple[int, int], at: Location | None = None
    ) -> HttpResponse | None:
        """
        Copy the bytes *span* (first and last) of another object as part *number*; *source*: the headers that name it,
        *at*: where it is. Return S3's response if it failed. Raises TransferInterrupted.
        """
        first, last = span
        query = f"partNumber={number}&{self._upload.query}"
        amz = (*source, ("x-amz-copy-source-range", f"bytes={first}-{last}"))
        bucket = "" if at is None else at.bucket
        response = await self._calls.copy(
            S3Request("PUT", self._upload.location, amz=amz, query=query, copied_bucket=bucket)
        )
        if is_failure(response):
            return response
        part = read_xml(response.body, "CopyPartResult")
        self._sent[number] = CompletedPart(number, part.required("ETag"), part.text("ChecksumCRC32"))
        self._sizes[number] = last - first + 1
        return None

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """Also raises Rejected ("internal") if S3's parts differ from the recorded ones."""
        if sum(self._sizes.values()) != size:
            raise _internal_error(f"{size} bytes were planned, {sum(self._sizes.values())} were sent")
        request = S3Request(
            "POST",
            self._upload.location,
            lines=f"{self._condition}Content-Type: application/xml\r\n",
            amz=(
                ("x-amz-checksum-crc32", encode_crc32(crc32)),
                ("x-amz-checksum-type", "FULL_OBJECT"),
                ("x-amz-mp-object-size", str(size)),
            ),
            query=self._upload.query,
            body=memoryview(completion_body(self._sent[number] for number in sorted(self._sent))),
        )
        response = await self._calls.complete(request)
        if is_failure(response):
            operation = f"CompleteMultipartUpload {self._upload.location.key}"
            raise write_error(operation, response, self._capabilities.completion_errors)
        etag = read_xml(response.body, "CompleteMultipartUploadResult").required("ETag")
        self._capabilities.completes_uploads = True
        return StoredArchive(size, etag, crc32, self._metadata)

    async def abort(self) -> None:
        """
        Abort until S3 finds no upload, at most `MAX_ABORT_ATTEMPTS` times: a part in flight can outlive one abort.
        """
        key, query = self._upload.location.key, self._upload.query
        for _ in range(MAX_ABORT_ATTEMPTS):
            abort = S3Request("DELETE", self._upload.location, query=query)
            if await self._is_gone(f"AbortMultipartUpload {key}", abort, _GONE):
                return
            # If ListParts is denied, the abort is assumed to have worked.
            parts = S3Request("GET", self._upload.location, query=f"max-parts=1&{query}")
            if await self._is_gone(f"ListParts {key}", parts, _GONE | DENIED):
                return
            await asyncio.sleep(ABORT_RETRY_SECONDS)
        raise TransientError(f"the upload of {key} still exists after {MAX_ABORT_ATTEMPTS} aborts")

    async def _is_gone(self, operation: str, request: S3Request, gone: frozenset[str]) -> bool:
        response = await self._calls.control(request)
        if not is_failure(response):
            return False
        if error_names(response) & gone:
            return True
        raise call_error(operation, response)
