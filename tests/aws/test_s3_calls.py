"""Calls of S3 on the wire: how often they are sent, how long they are waited for, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit
from xml.sax.saxutils import escape

import pytest
from aws.failing_clients import answer
from aws.s3_reader_fixtures import FakeSession, error_response
from certificates import shared_trust
from emulator import EmulatedAws
from http_client.scripted_server import Script, ScriptedServer, ServerAction, make_response, serve_scripts
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.clients import Clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_calls import BODY_TIMEOUTS, COMPLETE_TIMEOUTS, CONTROL_TIMEOUTS, S3Calls
from archiver.aws.s3_store import S3Store, check_bucket
from archiver.aws.s3_transport import S3Request, S3Transport, TransportConfig
from archiver.aws.s3_upload import S3Upload, UploadId
from archiver.aws.s3_uploads import MAX_PAGES
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ArchiverError, ConfigurationError, TransientError
from archiver.http.exchange import HttpResponse
from archiver.http.pool import HttpTimeouts
from archiver.ports import Target

PLACE = Location("archives", "d/a.zip")
TARGET = Target("d/a.zip", "attachment", {"archiver-token": "t"})
BUSY = error_response("503 Slow Down", "SlowDown")
COMPLETED = (
    '<?xml version="1.0" encoding="UTF-8"?>{}<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/'
    '2006-03-01/"><Location>http://x/?a&amp;b</Location><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>'
)


def store(calls: S3Calls) -> S3Store:
    nothing: Any = None
    return S3Store(Clients(nothing, nothing, nothing, nothing, calls), "archives")


@asynccontextmanager
async def calling(
    *scripts: Script, limits: HttpTimeouts | None = None
) -> AsyncIterator[tuple[ScriptedServer, S3Calls]]:
    """Calls of a server that gives these answers; the pauses between attempts are left out."""
    async with serve_scripts(*scripts) as server:
        config = TransportConfig(limits or HttpTimeouts(), shared_trust().bundle)
        transport = S3Transport(FakeSession(), Endpoint(server.url, "us-east-1"), config)
        try:
            yield server, S3Calls(transport, transport, transport, retry_seconds=0)
        finally:
            await transport.close()


# Attempts


@pytest.mark.parametrize("failure", [BUSY, error_response("500 Oh", "InternalError"), ServerAction.CLOSE])
@pytest.mark.parametrize(
    "call",
    [
        lambda calls: check_bucket(calls, "archives"),
        lambda calls: store(calls).find("d/a.zip"),
        lambda calls: store(calls).create_upload(TARGET),
        lambda calls: store(calls).abort_uploads("d/a.zip"),
        lambda calls: S3Upload(calls, UploadId(PLACE, "u")).abort(),
    ],
    ids=["bucket", "find", "begin", "list", "abort"],
)
async def test_a_call_that_fails_in_passing_is_sent_four_times(
    call: Callable[[S3Calls], Any], failure: bytes | ServerAction
) -> None:
    async with calling([failure]) as (server, calls):
        with pytest.raises(TransientError):
            await call(calls)
    assert len(server.requests) == 4


async def test_a_call_that_succeeds_the_second_time_has_succeeded() -> None:
    async with calling([BUSY], [make_response("200 OK")]) as (server, calls):
        await check_bucket(calls, "archives")
    assert server.requests[1].startswith(b"HEAD /archives/ HTTP/1.1\r\n")


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "400 Bad Request", "501 Not Implemented"])
async def test_a_call_that_is_refused_is_sent_once(status: str) -> None:
    async with calling([make_response(status)]) as (server, calls):
        with pytest.raises(ArchiverError):
            await check_bucket(calls, "archives")
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [BUSY, ServerAction.CLOSE])
async def test_complete_is_sent_once_whatever_happens(failure: bytes | ServerAction) -> None:
    """Before each repetition the worker looks at its lease."""
    async with calling([failure]) as (server, calls):
        with pytest.raises(TransientError):
            await S3Upload(calls, UploadId(PLACE, "u")).complete(0, 0)
    assert len(server.requests) == 1


async def test_complete_is_not_sent_again_on_a_new_connection_where_a_kept_one_ends() -> None:
    """S3 may have completed the upload: whether it did is for HEAD to say."""
    async with calling([make_response("200 OK")], [ServerAction.CLOSE]) as (server, calls):
        await check_bucket(calls, "archives")
        with pytest.raises(TransientError, match="connection lost"):
            await S3Upload(calls, UploadId(PLACE, "u")).complete(0, 0)
    assert [request.partition(b" ")[0] for request in server.requests] == [b"HEAD", b"POST"]


async def test_a_bucket_that_can_not_be_called_so_is_a_setting_to_mend() -> None:
    async with calling([]) as (_, calls):
        with pytest.raises(ConfigurationError, match="bucket name"):
            await check_bucket(calls, "no bucket!")


# Time


def test_each_kind_of_call_has_its_own_patience() -> None:
    assert (CONTROL_TIMEOUTS.response, BODY_TIMEOUTS.response) == (20, 60)
    late = COMPLETE_TIMEOUTS
    assert (late.response, late.stall, late.window, late.window_bytes) == (600, 600, 600, 0)


async def test_an_answer_to_complete_may_come_late_behind_white_space() -> None:
    """S3 sends a head and spaces while it joins the parts."""
    xml = COMPLETED.format("\n  \n").encode()
    chunks = [b"6\r\n      \r\n", f"{len(xml):x}\r\n".encode() + xml + b"\r\n", b"0\r\n\r\n"]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pauses = [ServerAction.PAUSE] * 30
    script: Script = [head, *pauses, chunks[0], *pauses, chunks[1], *pauses, chunks[2]]
    # As in production, no window asks for a number of bytes; the clock ticks quickly.
    async with calling(script, limits=HttpTimeouts(window=0.1, window_bytes=0)) as (_, calls):
        stored = await S3Upload(calls, UploadId(PLACE, "u"), {"a": "b"}).complete(0, 7)
    assert (stored.size, stored.etag, stored.crc32, stored.metadata) == (0, '"e-1"', 7, {"a": "b"})


# Answers


def completion(body: str) -> list[bytes]:
    return [make_response("200 OK", body.encode())]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("  \n<Error><Code>InternalError</Code><Message>again</Message></Error>", TransientError),
        ('<?xml version="1.0"?>\n \n<Error><Code>AccessDenied</Code></Error>', TransientError),
        ("<Error><Code>PreconditionFailed</Code></Error>", ArchiveExists),
        ("<Error>", TransientError),
        ("", TransientError),
        (COMPLETED.format("")[:-5], TransientError),
        (COMPLETED.format("").replace("ETag", "Tag"), TransientError),
        ("<html></html>", TransientError),
    ],
)
async def test_a_200_is_no_completion_unless_it_says_so(body: str, expected: type[ArchiverError]) -> None:
    async with calling(completion(body)) as (_, calls):
        with pytest.raises(expected):
            await S3Upload(calls, UploadId(PLACE, "u")).complete(0, 0)


async def test_an_upload_begins_with_what_describes_the_archive_and_its_id_is_literal() -> None:
    identity = 'a&b<"é+/='
    begun = f"<InitiateMultipartUploadResult><UploadId>{escape(identity)}</UploadId></InitiateMultipartUploadResult>"
    async with calling([make_response("200 OK", begun.encode())], [make_response("404 Not Found")]) as (server, calls):
        upload = await store(calls).create_upload(TARGET)
        await upload.abort()
    first, second = (request.decode() for request in server.requests)
    assert first.startswith("POST /archives/d/a.zip?uploads= HTTP/1.1\r\n")
    for line in (
        "Content-Type: application/zip",
        "Content-Disposition: attachment",
        "Content-Length: 0",
        "x-amz-checksum-algorithm: CRC32",
        "x-amz-checksum-type: FULL_OBJECT",
        "x-amz-meta-archiver-token: t",
    ):
        assert f"\r\n{line}\r\n" in first
    assert second.startswith("DELETE /archives/d/a.zip?uploadId=")
    assert parse_qs(urlsplit(second.split(" ")[1]).query) == {"uploadId": [identity]}


@pytest.mark.parametrize("body", ["", "<html></html>", "<InitiateMultipartUploadResult/>"])
async def test_an_upload_without_an_id_has_not_begun(body: str) -> None:
    async with calling([make_response("200 OK", body.encode())]) as (_, calls):
        with pytest.raises(TransientError):
            await store(calls).create_upload(TARGET)


async def test_an_error_is_told_with_the_servers_reason_but_not_where_it_may_quote_credentials() -> None:
    reason = "Key arn:aws:kms:x &lt;disabled&gt;"
    async with calling([error_response("400 No", "KMS.DisabledException", reason)]) as (_, calls):
        with pytest.raises(ConfigurationError, match=r"CreateMultipartUpload d/a\.zip: Key arn:aws:kms:x <disabled> "):
            await store(calls).create_upload(TARGET)
    async with calling([error_response("403 No", "SignatureDoesNotMatch", "SECRET")]) as (_, calls):
        with pytest.raises(ConfigurationError) as caught:
            await store(calls).create_upload(TARGET)
    assert "SECRET" not in str(caught.value)


# Listings


class Listing:
    """A bucket with multipart uploads of these keys, listed in pages; each is gone after one abort."""

    def __init__(self, keys: list[str], page: int, *, encodes: bool) -> None:
        self.uploads = [(key, f"id&{number}") for number, key in enumerate(keys)]
        self.page, self.encodes = page, encodes
        self.aborted: list[tuple[str, str]] = []

    async def request(self, request: S3Request) -> HttpResponse:
        asked = {name: found[0] for name, found in parse_qs(request.query, keep_blank_values=True).items()}
        assert request.query == "&".join(sorted(request.query.split("&")))
        if request.method == "DELETE":
            self.aborted.append((request.location.key, asked["uploadId"]))
            return answer("<Error><Code>NoSuchUpload</Code></Error>", status=404)
        assert (request.location, request.body_limit) == (Location("archives", ""), 4 << 20)
        start = [mark for _, mark in self.uploads].index(asked["upload-id-marker"]) + 1 if "key-marker" in asked else 0
        return answer(self._page(self.uploads[start : start + self.page], more=start + self.page < len(self.uploads)))

    def _page(self, uploads: list[tuple[str, str]], *, more: bool) -> str:
        listed = "".join(
            f"<Upload><Key>{self._told(key)}</Key><UploadId>{escape(mark)}</UploadId>"
            "<Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>"
            for key, mark in uploads
        )
        if more:
            key, mark = uploads[-1]
            listed += f"<NextKeyMarker>{self._told(key)}</NextKeyMarker><NextUploadIdMarker>{escape(mark)}"
            listed += "</NextUploadIdMarker>"
        encoding = "<EncodingType>url</EncodingType>" if self.encodes else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListMultipartUploadsResult>{encoding}{truncated}{listed}</ListMultipartUploadsResult>"

    def _told(self, key: str) -> str:
        return quote_plus(key) if self.encodes else escape(key)

    async def close(self) -> None:
        """Nothing is open."""


KEYS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), min_size=1)


@given(
    key=KEYS,
    others=st.lists(KEYS | st.just("+"), max_size=5),
    page=st.integers(1, 4),
    encodes=st.booleans(),
    at=st.integers(0, 5),
)
def test_every_upload_of_the_key_is_found_on_every_page(
    key: str, others: list[str], page: int, encodes: bool, at: int
) -> None:
    listing = Listing([*others[:at], key, *others[at:], key + "+", key], page, encodes=encodes)
    asyncio.run(store(S3Calls(listing, listing, listing, retry_seconds=0)).abort_uploads(key))
    assert listing.aborted == [upload for upload in listing.uploads if upload[0] == key]


@pytest.mark.parametrize(("before", "aborted"), [(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 0), (None, 1)])
async def test_uploads_begun_at_that_time_or_later_are_spared(before: datetime | None, aborted: int) -> None:
    listing = Listing(["k"], 1, encodes=True)
    await store(S3Calls(listing, listing, listing)).abort_uploads("k", before)
    assert len(listing.aborted) == aborted


BAD_PAGES = [
    "",
    "<ListMultipartUploadsResult>",
    "<html></html>",
    "<Error><Code>Odd</Code></Error>",
    *[
        f"<ListMultipartUploadsResult>{inside}</ListMultipartUploadsResult>"
        for inside in (
            "<Upload><UploadId>u</UploadId></Upload>",
            "<Upload><Key>k</Key></Upload>",
            "<Upload><Key>k</Key><UploadId>u</UploadId><Initiated>once</Initiated></Upload>",
            "<IsTruncated>true</IsTruncated>",
            "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>",
        )
    ],
]


@pytest.mark.parametrize("page", BAD_PAGES)
async def test_a_page_that_can_not_be_read_or_does_not_lead_on_aborts_nothing(page: str) -> None:
    async with calling([make_response("200 OK", page.encode())]) as (server, calls):
        with pytest.raises(TransientError):
            await store(calls).abort_uploads("k", datetime.now(UTC))
    assert len(server.requests) <= 2 < MAX_PAGES
    assert {request.partition(b" ")[0] for request in server.requests} == {b"GET"}


async def test_a_page_of_more_than_64_kib_is_read_whole() -> None:
    listing = Listing([f"k{'x' * 1000}{number}" for number in range(300)] + ["k"], 1000, encodes=True)
    page = listing._page(listing.uploads, more=False).encode()
    async with calling([make_response("200 OK", page)], [make_response("404 Not Found")]) as (server, calls):
        await store(calls).abort_uploads("k")
    assert len(page) > 300_000
    assert server.requests[1].startswith(b"DELETE /archives/k?uploadId=id%26300 ")


# Beside the archives


async def test_a_small_object_is_written_and_replaced(aws: EmulatedAws, clients: Clients) -> None:
    bucket = aws.bucket()
    for body in (b"", b"{}"):
        await S3Store(clients, bucket).put_small("d/a b.json", body, "application/json", {"archiver-token": "t"})
    found = aws.s3.get_object(Bucket=bucket, Key="d/a b.json")
    assert (found["Body"].read(), found["ContentType"]) == (b"{}", "application/json")
    assert found["Metadata"] == {"archiver-token": "t"}


async def test_a_small_object_that_is_refused_is_said_with_its_key() -> None:
    async with calling([error_response("403 No", "AccessDenied")]) as (_, calls):
        with pytest.raises(ConfigurationError, match=r"PutObject d/a\.json: .*AccessDenied"):
            await store(calls).put_small("d/a.json", b"", "application/json")
