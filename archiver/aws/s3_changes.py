"""
Changes of objects that are no archives: conditional deletes and copies, and empty objects.

A store that does not know `If-Match` of DeleteObject may ignore it, and delete whatever is there. So before the first
delete it has to prove that it refuses: an object beside the archives is written, and deleted with another ETag.
"""

import asyncio
import zlib
from secrets import token_hex

from archiver.aws.error_mapping import CREDENTIAL_ERROR_CODES, DENIED, NO_BUCKET, ErrorFactory, error_map
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_copy import CopyLimits, S3Copier, header_text
from archiver.aws.s3_errors import call_error, error_names, is_failure
from archiver.aws.s3_responses import full_object_crc32, size_and_etag
from archiver.aws.s3_transport import S3Request
from archiver.core.changes import Original, Outcome
from archiver.core.locations import PROBE_KEY, Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import MIN_MODIFIED
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable
from archiver.http.exchange import HttpResponse

_TOKEN = "archiver-token"  # noqa: S105 - the name of a metadata field
_PROBE_BODY = b"archiver: does this store delete on a condition?"
_OTHER_ETAG = '"00000000000000000000000000000000"'
_NOT_IMPLEMENTED = frozenset({"501", "NotImplemented", "MethodNotAllowed"})
_MISSING = frozenset({"404", "NoSuchKey"})
_NO_BUCKET_ERRORS = error_map(ConfigurationError, NO_BUCKET)


class _Refused(ArchiverError):
    """A permanent refusal of this one call."""


class S3Changes:
    """An ObjectChanges. *archives*: the bucket in which the store proves itself, as the worker may write there."""

    def __init__(self, calls: S3Calls, archives: str, limits: CopyLimits | None = None) -> None:
        self._calls = calls
        self._archives = archives
        self._copier = S3Copier(calls, limits or CopyLimits())
        self._proving = asyncio.Lock()
        self._is_conditional: bool | None = None

    async def head(self, location: Location) -> ObjectInfo | None:
        """A response to HEAD has no code, so a refused one is asked again with a GET of one byte."""
        checksum = (("x-amz-checksum-mode", "ENABLED"),)
        response = await self._calls.control(S3Request("HEAD", location, amz=checksum))
        head = response.head
        if head.status < 300:  # noqa: PLR2004
            return ObjectInfo(*size_and_etag(head), MIN_MODIFIED, crc32=full_object_crc32(head))
        if head.status == 404:  # noqa: PLR2004
            return None
        if head.status == 403:  # noqa: PLR2004
            got = await self._calls.control(S3Request("GET", location, lines="Range: bytes=0-0\r\n"))
            if is_failure(got) and error_names(got) & CREDENTIAL_ERROR_CODES:
                raise call_error(f"GetObject {location}", got)
            raise SourceUnavailable("source_denied", f"HEAD of {location} is denied")
        raise call_error(f"HeadObject {location}", response)

    async def delete(self, location: Location, etag: str) -> Outcome:
        if not header_text(etag):
            return "source_changed"
        if not await self.proves_conditional():
            return "not_conditional"
        response = await self._calls.control(S3Request("DELETE", location, lines=f"If-Match: {etag}\r\n"))
        if not is_failure(response) or error_names(response) & _MISSING:
            return "done"
        if response.head.status == 412:  # noqa: PLR2004
            return "source_changed"
        if error_names(response) & _NOT_IMPLEMENTED:
            return "not_conditional"
        return self._refusal(f"DeleteObject {location}", response)

    async def copy(self, original: Original, target: Location) -> Outcome:
        if not await self.proves_conditional():
            return "not_conditional"  # the original would stay beside its copy
        response = await self._copier.copy(original, target)
        if not isinstance(response, HttpResponse):
            return response
        if not is_failure(response):
            return "done"
        if response.head.status == 412:  # noqa: PLR2004
            return "source_changed"
        if error_names(response) & _MISSING:
            return "source_missing"
        return self._refusal(f"CopyObject {original.location} to {target}", response)

    async def create_empty(self, location: Location) -> Outcome:
        token = token_hex(16)  # shows that a write whose response was lost was our own
        amz = ((f"x-amz-meta-{_TOKEN}", token),)
        response = await self._calls.control(S3Request("PUT", location, lines="If-None-Match: *\r\n", amz=amz))
        if not is_failure(response):
            return "done"
        if response.head.status == 412:  # noqa: PLR2004
            found = await self._calls.control(S3Request("HEAD", location))
            return "done" if found.head.text(f"x-amz-meta-{_TOKEN}".encode()) == token else "name_conflict"
        return self._refusal(f"PutObject {location}", response)

    def _refusal(self, operation: str, response: HttpResponse) -> Outcome:
        """
        Return `source_denied` for a permanent refusal. Raises ConfigurationError (credentials, no such bucket),
        TransientError.
        """
        mapping: dict[str, ErrorFactory] = {**_NO_BUCKET_ERRORS, **error_map(_Refused, DENIED)}
        error = call_error(operation, response, mapping, on_refusal=_Refused)
        if isinstance(error, _Refused):
            return "source_denied"
        raise error

    async def proves_conditional(self) -> bool:
        """
        Return whether the store refuses to delete an object with another ETag; asked once. Raises ConfigurationError
        (denied), TransientError.
        """
        async with self._proving:
            if self._is_conditional is None:
                self._is_conditional = await self._prove()
            return self._is_conditional

    async def _prove(self) -> bool:
        probe = Location(self._archives, f"{PROBE_KEY}/receipt-{token_hex(16)}.json.gz")
        body = memoryview(_PROBE_BODY)
        await self._calls.send_body(f"PutObject {probe}", S3Request("PUT", probe, body=body), zlib.crc32(body))
        refused = await self._calls.control(S3Request("DELETE", probe, lines=f"If-Match: {_OTHER_ETAG}\r\n"))
        if refused.head.status == 412 or error_names(refused) & _NOT_IMPLEMENTED:  # noqa: PLR2004
            await self._calls.call(f"DeleteObject {probe}", S3Request("DELETE", probe))
            return refused.head.status == 412  # noqa: PLR2004
        if is_failure(refused):
            raise call_error(f"DeleteObject {probe}", refused, on_refusal=ConfigurationError)
        return False  # it is deleted: the condition was ignored
