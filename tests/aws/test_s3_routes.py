"""With which credentials, and in which region, a bucket is read and written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aws.s3_reader_fixtures import (
    BODY,
    ETAG,
    OBJECT_HEADERS,
    PHOTO,
    FakeCredentials,
    FakeSession,
    error_response,
    expect_head_error,
    expect_read_error,
    head,
    open_s3_reader,
    range_response,
)
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

from archiver.aws.endpoint import BucketEndpoint, Endpoint
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.aws.s3_upload import S3Upload, UploadId
from archiver.core.locations import Location
from archiver.errors import ConfigurationError, CredentialsRefused
from archiver.http.pool import Origin


async def test_expired_token_is_renewed_once() -> None:
    session = FakeSession(FakeCredentials(token="OLD"), FakeCredentials(token="NEW"))
    into = bytearray(20)
    async with open_s3_reader(
        [error_response("400 Bad Request", "ExpiredToken")], [range_response()], session=session
    ) as (server, reader):
        await reader.read(PHOTO, ETAG, 10, [memoryview(into)])
    assert [b"x-amz-security-token: NEW" in request for request in server.requests] == [False, True]
    assert into == BODY[10:30]


async def test_expired_token_without_another_is_not_tried_again() -> None:
    async with open_s3_reader([error_response("400 Bad Request", "ExpiredToken")]) as (server, reader):
        assert isinstance(await expect_read_error(reader), ConfigurationError)
        assert len(server.requests) == 1


@pytest.mark.parametrize("keys", [None, OSError("SECRETKEY")])
async def test_credentials_that_cannot_be_had_are_ours_to_mend(keys: Exception | None) -> None:
    async with open_s3_reader([range_response()], session=FakeSession(keys)) as (server, reader):
        assert isinstance(await expect_read_error(reader), ConfigurationError)
        assert server.requests == []


class Rerouted(Endpoint):
    """AWS's names, reached at a server of ours."""

    port = 0

    def resolve(self, bucket: str) -> BucketEndpoint:
        return replace(super().resolve(bucket), origin=Origin(tls=True, host="127.0.0.1", port=self.port))


@asynccontextmanager
async def on_aws(*scripts: Script) -> AsyncIterator[tuple[ScriptedServer, S3Reader]]:
    async with serve_scripts(*scripts) as server:
        endpoint = Rerouted("https://s3.us-east-1.amazonaws.com", "us-east-1")
        endpoint.port = server.port
        reader = S3Reader(FakeSession(), endpoint, TransportConfig(ca_bundle=shared_trust().bundle))
        try:
            yield server, reader
        finally:
            await reader.close()


MOVED = {
    "301": make_response("301 Moved Permanently", b"", "x-amz-bucket-region: eu-west-1"),
    "307": make_response("307 Temporary Redirect", b"", "x-amz-bucket-region: eu-west-1"),
    "400": make_response("400 Bad Request", b"", "x-amz-bucket-region: eu-west-1"),
    "400 with a body": make_response(
        "400 Bad Request", b"<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"
    ),
}


@pytest.mark.parametrize("said", MOVED.values(), ids=MOVED.keys())
async def test_bucket_elsewhere_is_read_there_and_remembered(said: bytes) -> None:
    async with on_aws([said], [range_response()]) as (server, reader):
        for _ in range(2):
            await reader.read(PHOTO, ETAG, 10, [memoryview(bytearray(20))])
    hosts = [request.split(b"\r\nHost: ")[1].split(b"\r\n")[0] for request in server.requests]
    assert hosts == [b"photos.s3.us-east-1.amazonaws.com"] + 2 * [b"photos.s3.eu-west-1.amazonaws.com"]
    assert [b"/eu-west-1/s3/aws4_request" in request for request in server.requests] == [False, True, True]


async def test_head_of_a_bucket_elsewhere_is_asked_there() -> None:
    async with on_aws([make_response("301 Moved", b"", "x-amz-bucket-region: eu-west-1")], [head(*OBJECT_HEADERS)]) as (
        server,
        reader,
    ):
        assert (await reader.head(PHOTO)).size == 5
        assert len(server.requests) == 2


async def test_buckets_that_send_us_back_and_forth_are_followed_once() -> None:
    there, back = (
        make_response("301 Moved", b"", f"x-amz-bucket-region: {region}") for region in ("eu-west-1", "us-east-1")
    )
    async with on_aws([there], [back]) as (server, reader):
        assert isinstance(await expect_read_error(reader), CredentialsRefused)
        assert len(server.requests) == 2


async def test_head_of_a_bucket_that_has_moved_for_good_is_no_interruption() -> None:
    async with open_s3_reader([make_response("301 Moved", b"")]) as (server, reader):
        assert isinstance(await expect_head_error(reader), CredentialsRefused)
        assert len(server.requests) == 1


async def test_redirect_of_a_custom_endpoint_is_not_followed() -> None:
    async with open_s3_reader([make_response("301 Moved", b"", "x-amz-bucket-region: eu-west-1")]) as (server, reader):
        assert isinstance(await expect_read_error(reader), CredentialsRefused)
        assert len(server.requests) == 1


async def test_parts_that_learn_a_region_together_all_arrive_there() -> None:
    """The first answer teaches the region; the others, which were under way, carry the same news."""
    malformed = error_response("400 Bad Request", "AuthorizationHeaderMalformed").replace(
        b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 400 Bad Request\r\nx-amz-bucket-region: eu-west-1\r\n"
    )
    all_asked = asyncio.Event()

    class Region:
        """Says where the bucket is once four requests have come to the wrong place."""

        def __init__(self) -> None:
            self.asked: list[bytes] = []

        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    asked = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(10)
                    self.asked.append(asked)
                    if len(self.asked) == 4:
                        all_asked.set()
                    await all_asked.wait()
                    right = b"/eu-west-1/s3/aws4_request" in asked
                    writer.write(make_response("200 OK", b"", 'ETag: "e"') if right else malformed)
            except (asyncio.IncompleteReadError, OSError):
                writer.close()

    region = Region()
    async with await asyncio.start_server(region.serve, "127.0.0.1", 0, ssl=shared_trust().server_context) as listening:
        endpoint = Rerouted("https://s3.us-east-1.amazonaws.com", "us-east-1")
        endpoint.port = listening.sockets[0].getsockname()[1]
        calls = S3Calls.open(FakeSession(), endpoint, TransportConfig(ca_bundle=shared_trust().bundle))
        upload, body = S3Upload(calls, UploadId(Location("archives", "a.zip"), "id")), memoryview(b"0123456789")
        await asyncio.gather(*(upload.upload_part(number, body, 0) for number in range(1, 5)))
        await calls.close()
    assert len(region.asked) == 8
