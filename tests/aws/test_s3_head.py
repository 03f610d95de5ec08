"""What HEAD says of objects, and why some can't be had."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from aws.s3_reader_fixtures import (
    BODY,
    ETAG,
    OBJECT_HEADERS,
    PHOTO,
    error_response,
    expect_head_error,
    head,
    open_s3_reader,
    range_response,
)
from http_client.scripted_server import make_response

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import MIN_MODIFIED
from archiver.errors import ConfigurationError, SourceUnavailable, TransferInterrupted


async def test_head_tells_the_facts() -> None:
    crc = base64.b64encode((0xDEADBEEF).to_bytes(4, "big")).decode()
    async with open_s3_reader(
        [head(*OBJECT_HEADERS, f"x-amz-checksum-crc32: {crc}", "x-amz-checksum-type: FULL_OBJECT")]
    ) as (
        server,
        reader,
    ):
        info = await reader.head(PHOTO)
    assert info == ObjectInfo(5, ETAG, datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), "image/jpeg", 0xDEADBEEF)
    assert server.requests[0].startswith(b"HEAD /photos/album/a%20b.jpg HTTP/1.1\r\n")
    assert b"\r\nx-amz-checksum-mode: ENABLED\r\n" in server.requests[0]


async def test_head_tells_the_version_where_the_bucket_keeps_versions() -> None:
    async with open_s3_reader([head(*OBJECT_HEADERS, "x-amz-version-id: 3/L4kqtJ")]) as (_, reader):
        assert (await reader.head(PHOTO)).version == "3/L4kqtJ"


@pytest.mark.parametrize(
    ("fields", "crc32"),
    [
        (["x-amz-checksum-crc32: AAAAAQ=="], 1),
        (["x-amz-checksum-crc32: AAAAAQ==-3"], None),
        (["x-amz-checksum-crc32: AAAAAQ==", "x-amz-checksum-type: COMPOSITE"], None),
        (["x-amz-checksum-crc32: AAAA"], None),
        (["x-amz-checksum-crc32: ?"], None),
        (["x-amz-checksum-crc32c: AAAAAQ=="], None),
        ([], None),
    ],
)
async def test_only_a_crc_of_the_whole_object_counts(fields: list[str], crc32: int | None) -> None:
    async with open_s3_reader([head(*OBJECT_HEADERS, *fields)]) as (_, reader):
        assert (await reader.head(PHOTO)).crc32 == crc32


@pytest.mark.parametrize(
    ("said", "wanting"),
    [
        (head(*OBJECT_HEADERS[1:]), "no ETag"),
        ("\r\n".join(["HTTP/1.1 200 OK", *OBJECT_HEADERS, "", ""]).encode(), "no Content-Length"),
        ("\r\n".join(["HTTP/1.1 200 OK", *OBJECT_HEADERS[1:], "", ""]).encode(), "no Content-Length and no ETag"),
        (head(*OBJECT_HEADERS, "Content-Length: 5"), "more than one content-length"),
    ],
)
async def test_head_that_lacks_length_or_etag_is_an_interruption_that_says_which(said: bytes, wanting: str) -> None:
    async with open_s3_reader([said]) as (_, reader):
        problem = await expect_head_error(reader)
    assert isinstance(problem, TransferInterrupted)
    assert wanting in str(problem)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Last-Modified: yesterday",),
        ("Last-Modified: Sun, 31 Feb 1994 08:49:37 GMT",),
    ],
)
async def test_date_that_cannot_be_read_is_no_reason_to_refuse_a_file(fields: Sequence[str]) -> None:
    async with open_s3_reader([head(OBJECT_HEADERS[0], *fields)]) as (_, reader):
        assert (await reader.head(PHOTO)).modified == MIN_MODIFIED


RESTORED = 'x-amz-restore: ongoing-request="false", expiry-date="Fri, 21 Dec 2035 00:00:00 GMT"'
ONGOING = 'x-amz-restore: ongoing-request="true"'


@pytest.mark.parametrize(
    ("fields", "asleep"),
    [
        (["x-amz-storage-class: GLACIER"], True),
        (["x-amz-storage-class: DEEP_ARCHIVE"], True),
        (["x-amz-storage-class: GLACIER", ONGOING], True),
        (["x-amz-storage-class: INTELLIGENT_TIERING", "x-amz-archive-status: ARCHIVE_ACCESS"], True),
        (["x-amz-storage-class: GLACIER", RESTORED], False),
        (["x-amz-storage-class: GLACIER_IR"], False),
        (["x-amz-storage-class: INTELLIGENT_TIERING"], False),
        (["x-amz-storage-class: STANDARD_IA"], False),
    ],
)
async def test_object_that_sleeps_in_an_archive_is_told(fields: list[str], asleep: bool) -> None:
    async with open_s3_reader([head(*OBJECT_HEADERS, *fields)]) as (_, reader):
        if asleep:
            problem = await expect_head_error(reader)
            assert isinstance(problem, SourceUnavailable)
            assert problem.code == "source_archived"
        else:
            assert (await reader.head(PHOTO)).size == 5


WHY = {
    "missing": ("404 Not Found", b"", "source_missing", 1),
    "denied": ("403 Forbidden", error_response("403 Forbidden", "AccessDenied"), "source_denied", 2),
    "kms": ("403 Forbidden", error_response("403 Forbidden", "AccessDenied", "not kms:Decrypt"), "source_denied", 2),
    "kms key disabled": (
        "400 Bad Request",
        error_response("400 Bad Request", "KMS.DisabledException"),
        "source_denied",
        2,
    ),
    "bucket disabled": ("403 Forbidden", error_response("403 Forbidden", "AllAccessDisabled"), "source_denied", 2),
    "customer's key": (
        "400 Bad Request",
        error_response("400 Bad Request", "InvalidRequest", "stored using a form of Server Side Encryption"),
        "source_denied",
        2,
    ),
    "gone meanwhile": ("403 Forbidden", error_response("404 Not Found", "NoSuchKey"), "source_missing", 2),
    "no bucket": ("403 Forbidden", error_response("404 Not Found", "NoSuchBucket"), "source_missing", 2),
    "key too long": ("400 Bad Request", error_response("400 Bad Request", "KeyTooLongError"), "source_missing", 2),
    "archived": ("403 Forbidden", error_response("403 Forbidden", "InvalidObjectState"), "source_archived", 2),
    "for a reason that is in no list": (
        "400 Bad Request",
        error_response("400 Bad Request", "XYZ"),
        "source_denied",
        2,
    ),
    "for legal reasons": ("451 No", make_response("451 No"), "source_denied", 2),
}


@pytest.mark.parametrize(("status", "why", "code", "asked"), WHY.values(), ids=WHY.keys())
async def test_head_without_a_code_is_explained_by_a_get_of_one_byte(
    status: str, why: bytes, code: str, asked: int
) -> None:
    async with open_s3_reader([head(status=status)], [why]) as (server, reader):
        problem = await expect_head_error(reader)
    assert isinstance(problem, SourceUnavailable)
    assert problem.code == code
    assert len(server.requests) == asked
    assert all(b"\r\nRange: bytes=0-0\r\n" in request for request in server.requests[1:])


async def test_denial_says_that_the_key_may_be_missing_and_names_kms_where_it_was_kms() -> None:
    async with open_s3_reader([head(status="403 Forbidden")], [error_response("403 Forbidden", "AccessDenied")]) as (
        _,
        reader,
    ):
        assert "s3:ListBucket" in str(await expect_head_error(reader))
    kms = error_response("403 Forbidden", "AccessDenied", "not kms:Decrypt")
    async with open_s3_reader([head(status="403 Forbidden")], [kms]) as (_, reader):
        assert "KMS" in str(await expect_head_error(reader))


@pytest.mark.parametrize(
    "code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"]
)
async def test_head_refused_for_credentials_or_clock_is_ours_to_mend_not_a_denial(code: str) -> None:
    async with open_s3_reader([head(status="403 Forbidden")], [error_response("403 Forbidden", code)]) as (_, reader):
        assert isinstance(await expect_head_error(reader), ConfigurationError)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Slow Down", "429 Too Many Requests"])
async def test_failing_head_is_neither_missing_nor_asked_again(status: str) -> None:
    async with open_s3_reader([head(status=status)]) as (server, reader):
        problem = await expect_head_error(reader)
    assert isinstance(problem, TransferInterrupted)
    assert problem.throttled == (status[0:3] != "500")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "why", [range_response(0, 1), make_response("200 OK", BODY), error_response("416 Range", "InvalidRange")]
)
async def test_head_refused_where_get_is_not_is_asked_once_more(why: bytes) -> None:
    async with open_s3_reader([head(status="403 Forbidden")], [why], [head(*OBJECT_HEADERS)]) as (_, reader):
        assert (await reader.head(PHOTO)).size == 5
    async with open_s3_reader([head(status="403 Forbidden")], [why], [head(status="403 Forbidden")]) as (_, reader):
        assert isinstance(await expect_head_error(reader), SourceUnavailable)


@pytest.mark.parametrize("location", [Location("a/b", "x"), Location("a\r\nb", "x"), Location("photos", "\ud800")])
async def test_name_that_nothing_can_have_is_missing_without_a_request(location: Location) -> None:
    async with open_s3_reader([head(*OBJECT_HEADERS)]) as (server, reader):
        with pytest.raises(SourceUnavailable, match="source_missing"):
            await reader.head(location)
        with pytest.raises(SourceUnavailable, match="source_missing"):
            await reader.read(location, ETAG, 0, [memoryview(bytearray(1))])
        assert server.requests == []
