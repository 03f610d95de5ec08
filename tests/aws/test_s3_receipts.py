"""Receipts on the wire: what S3 says to a write, and lists that are not whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aws.s3_reader_fixtures import FakeSession, error_response
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_receipts import S3Receipts
from archiver.aws.s3_transport import TransportConfig
from archiver.errors import ArchiverError, ConfigurationError, TransientError

KEY = "3f/receipt-1.json.gz"
OBJECT = "<Contents><Key>3f/a.zip</Key><LastModified>2024-02-29T12:34:56.000Z</LastModified><Size>1</Size></Contents>"


@asynccontextmanager
async def opened(*scripts: Script, bucket: str = "archives") -> AsyncIterator[tuple[ScriptedServer, S3Receipts]]:
    async with serve_scripts(*scripts) as server:
        config = TransportConfig(ca_bundle=shared_trust().bundle)
        calls = S3Calls.open(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        calls._retry_seconds = 0.0
        try:
            yield server, S3Receipts(calls, bucket)
        finally:
            await calls.close()


def page(*inner: str, end: str = "</ListBucketResult>") -> bytes:
    return make_response("200 OK", f"<ListBucketResult>{''.join(inner)}{end}".encode())


async def test_a_receipt_is_sent_with_its_type_and_checksum() -> None:
    async with opened([make_response("200 OK", b"", 'ETag: "e"')]) as (server, receipts):
        await receipts.put(KEY, b"receipt")
    (request,) = server.requests
    assert request.startswith(b"PUT /archives/3f/receipt-1.json.gz HTTP/1.1\r\n")
    assert b"Content-Type: application/gzip\r\n" in request
    assert b"\r\nx-amz-checksum-crc32: " in request


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error_response("403 Forbidden", "AccessDenied"), ConfigurationError),
        (error_response("404 Not Found", "NoSuchBucket"), ConfigurationError),
        (error_response("400 Bad Request", "BadDigest"), TransientError),
        (error_response("503 Slow Down", "SlowDown"), TransientError),
        (error_response("200 OK", "InternalError"), TransientError),
    ],
)
async def test_a_refused_write_is_sorted_like_that_of_an_archive(answer: bytes, expected: type[ArchiverError]) -> None:
    async with opened([answer]) as (_, receipts):
        with pytest.raises(expected):
            await receipts.put(KEY, b"receipt")


async def test_a_name_that_no_bucket_has_is_for_the_operator() -> None:
    async with opened([], bucket="no/bucket") as (_, receipts):
        with pytest.raises(ConfigurationError):
            await receipts.put(KEY, b"receipt")


async def test_pages_are_read_up_to_the_last() -> None:
    token = "<NextContinuationToken>1/a&amp;=</NextContinuationToken>"
    async with opened([page(OBJECT, token)], [page(OBJECT)]) as (server, receipts):
        assert [one.key for one in await receipts.list("3f/")] == ["3f/a.zip", "3f/a.zip"]
    assert b"?continuation-token=1%2Fa%26%3D&encoding-type=url&" in server.requests[1]


@pytest.mark.parametrize(
    "answer",
    [page(OBJECT, end=""), make_response("200 OK", b""), page(OBJECT.replace("2024-02-29", "2024-02-30"))],
    ids=["cut", "empty", "no date"],
)
async def test_a_list_that_is_not_whole_is_not_used(answer: bytes) -> None:
    async with opened([answer]) as (_, receipts):
        with pytest.raises(TransientError):
            await receipts.list("3f/")
