"""UploadPartCopy on the wire: what is asked for, and what every answer means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aws.s3_reader_fixtures import FakeSession, error_response
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, ServerAction, make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_calls import COMPLETE_TIMEOUTS, S3Calls
from archiver.aws.s3_headers import S3Headers
from archiver.aws.s3_transport import S3Transport, TransportConfig
from archiver.aws.s3_upload import S3Upload, UploadId
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import ArchiveExists, ArchiverError, CopyRefused, SourceChanged, TransferInterrupted
from archiver.http.pool import HttpTimeouts

SOURCE = ObjectVersion(Location("videos", "my folder/é+1.mp4"), '"e1"', version="v 1")
COPIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n  <CopyPartResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<ETag>&quot;p1&quot;</ETag>{}</CopyPartResult>"
)
OK = make_response("200 OK", COPIED.format("<ChecksumCRC32>AAAABw==</ChecksumCRC32>").encode())


@asynccontextmanager
async def upload(*scripts: Script, headers: S3Headers | None = None) -> AsyncIterator[tuple[ScriptedServer, S3Upload]]:
    async with serve_scripts(*scripts) as server:
        config = TransportConfig(HttpTimeouts(), shared_trust().bundle, headers=headers or S3Headers())
        transport = S3Transport(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        try:
            calls = S3Calls(transport, transport, transport, retry_seconds=0)
            yield server, S3Upload(calls, UploadId(Location("archives", "d/a.zip"), "u"))
        finally:
            await transport.close()


async def copy(*script: bytes | ServerAction, source: ObjectVersion = SOURCE, headers: S3Headers | None = None) -> str:
    """Copy a range; return the requests."""
    async with upload(*([answer] for answer in script), headers=headers) as (server, begun):
        assert await begun.copy(3, source, 10, 5) == 7
        return b"\n".join(server.requests).decode()


async def test_a_range_of_one_version_is_copied_on_the_condition_of_its_etag() -> None:
    request = await copy(OK)

    assert request.startswith("PUT /archives/d/a.zip?partNumber=3&uploadId=u HTTP/1.1\r\n")
    assert "x-amz-copy-source:/videos/my%20folder/%C3%A9%2B1.mp4?versionId=v%201\r\n" in request.replace(": ", ":")
    assert 'x-amz-copy-source-if-match:"e1"\r\n' in request.replace(": ", ":")
    assert "x-amz-copy-source-range:bytes=10-14\r\n" in request.replace(": ", ":")
    assert "Content-Length: 0\r\n" in request


async def test_the_payer_and_the_owner_of_the_source_are_named() -> None:
    request = await copy(OK, headers=S3Headers(requester_pays=True, owners={"videos": "1" * 12, "archives": "2" * 12}))

    assert "x-amz-request-payer:requester" in request.replace(": ", ":")
    assert f"x-amz-source-expected-bucket-owner:{'1' * 12}" in request.replace(": ", ":")
    assert f"x-amz-expected-bucket-owner:{'2' * 12}" in request.replace(": ", ":")


async def test_where_versions_may_not_be_read_the_etag_is_enough() -> None:
    """To name a version takes s3:GetObjectVersion, which a worker need not have."""
    first, second = (await copy(error_response("403 Forbidden", "AccessDenied"), OK)).split("PUT ")[1:]

    assert "versionId" in first
    assert "versionId" not in second
    assert "copy-source-if-match" in second


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (error_response("412 Precondition Failed", "PreconditionFailed"), SourceChanged),
        (error_response("404 Not Found", "NoSuchKey"), SourceChanged),
        (error_response("404 Not Found", "NoSuchVersion"), SourceChanged),
        (error_response("404 Not Found", "NoSuchUpload"), ArchiveExists),
        (error_response("200 OK", "PreconditionFailed"), SourceChanged),
        (error_response("503 Slow Down", "SlowDown"), TransferInterrupted),
        (error_response("500 Oh", "InternalError"), TransferInterrupted),
        (error_response("200 OK", "InternalError"), TransferInterrupted),
        (error_response("200 OK", "SlowDown"), TransferInterrupted),
        (error_response("400 Bad Request", "RequestTimeout"), TransferInterrupted),
        (error_response("403 Forbidden", "AccessDenied"), CopyRefused),
        (error_response("400 Bad Request", "InvalidRequest"), CopyRefused),
        (error_response("501 Not Implemented", "NotImplemented"), CopyRefused),
        (error_response("404 Not Found", "SomethingElse"), CopyRefused),
        (error_response("301 Moved Permanently", "PermanentRedirect"), CopyRefused),
        (make_response("200 OK", COPIED.format("").encode()), CopyRefused),
        (make_response("200 OK", COPIED.format("<ChecksumCRC32>zzz</ChecksumCRC32>").encode()), CopyRefused),
        (ServerAction.CLOSE, TransferInterrupted),
    ],
)
async def test_every_answer_has_its_meaning(answer: bytes | ServerAction, error: type[ArchiverError]) -> None:
    async with upload([answer]) as (_, begun):
        with pytest.raises(error) as caught:
            await begun.copy(1, SOURCE._replace(version=None), 0, 1)
    if isinstance(caught.value, TransferInterrupted) and isinstance(answer, bytes):
        assert caught.value.throttled == (b"SlowDown" in answer)


async def test_an_etag_that_would_break_the_header_is_no_version_of_any_object() -> None:
    async with upload([]) as (server, begun):
        with pytest.raises(SourceChanged):
            await begun.copy(1, SOURCE._replace(etag='"a\r\nb"'), 0, 1)
    assert not server.requests


def test_a_copy_may_be_silent_for_minutes() -> None:
    """S3 sends nothing while it copies: no alarm for stalled bodies."""
    assert min(COMPLETE_TIMEOUTS.response, COMPLETE_TIMEOUTS.stall, COMPLETE_TIMEOUTS.window) >= 300
