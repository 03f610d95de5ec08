"""Listings of S3, page by page: what is asked for, what is read, and what is refused."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from aws.s3_reader_fixtures import error_response, open_s3_reader
from http_client.scripted_server import make_response

from archiver.aws.s3_list import MAX_PAGE_BYTES, PAGE_SIZE, parse_page
from archiver.core.locations import Location
from archiver.core.objects import Listed
from archiver.core.plan import MIN_MODIFIED
from archiver.core.select import Prefix
from archiver.errors import ArchiverError, CredentialsRefused, SourceUnavailable, TransferInterrupted

SRC = Prefix(Location("photos", "src/ü &+"))
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def contents(key: str = "src/a", **fields: str) -> str:
    given = {"Key": key, "LastModified": "2026-11-28T09:30:00.000Z", "ETag": "&quot;e&quot;", "Size": "5", **fields}
    return f"<Contents>{''.join(f'<{name}>{text}</{name}>' for name, text in given.items() if text)}</Contents>"


def page(*objects: str, more: str = "<IsTruncated>false</IsTruncated>", namespace: str = NAMESPACE) -> bytes:
    root = f"<ListBucketResult{namespace}>{more}{''.join(objects)}</ListBucketResult>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()


def truncated(token: str) -> str:
    return f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"


def ok(body: bytes) -> bytes:
    return make_response("200 OK", body, "Content-Type: application/xml")


async def list_error(*responses: bytes, token: str = "") -> ArchiverError:
    async with open_s3_reader(*([response] for response in responses)) as (_, reader):
        with pytest.raises(ArchiverError) as caught:
            await reader.list(SRC, token)
    return caught.value


async def test_a_page_is_asked_for_with_a_signed_and_sorted_query() -> None:
    async with open_s3_reader([ok(page())], [ok(page())]) as (server, reader):
        await reader.list(SRC)
        await reader.list(Prefix(SRC.location, recursive=False), "1/+= é")
    first, second = (request.split(b"\r\n", 1)[0].decode() for request in server.requests)
    assert first == ("GET /photos/?encoding-type=url&list-type=2&max-keys=1000&prefix=src%2F%C3%BC%20%26%2B HTTP/1.1")
    query = second.split()[1].partition("?")[2]
    assert query.split("&") == sorted(query.split("&"))
    assert parse_qs(query)["continuation-token"] == ["1/+= é"]
    assert parse_qs(query)["delimiter"] == ["/"]
    assert b"\r\nx-amz-optional-object-attributes: RestoreStatus\r\n" in server.requests[0]


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_page_tells_of_each_object_and_of_the_next_page(namespace: str, chunked: bool) -> None:
    body = page(contents("src%2Fa+b%2B%01"), contents("src/b"), more=truncated("t/1+="), namespace=namespace)
    body = body.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>")
    if chunked:
        pieces = b"".join(
            b"%x\r\n%s\r\n" % (len(body[at : at + 100]), body[at : at + 100]) for at in range(0, len(body), 100)
        )
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    else:
        answer = ok(body)
    async with open_s3_reader([answer]) as (_, reader):
        found = await reader.list(Prefix(Location("photos", "src/")))
    modified = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
    assert found.objects == [Listed("src/a b+\x01", 5, '"e"', modified), Listed("src/b", 5, '"e"', modified)]
    assert found.next == "t/1+="


def test_keys_are_taken_as_they_are_where_the_store_does_not_encode_them() -> None:
    assert parse_page(page(contents("src/a+b%20")), "src/").objects[0].key == "src/a+b%20"


@pytest.mark.parametrize(
    ("storage", "extra", "archived"),
    [
        ("GLACIER", "", True),
        ("DEEP_ARCHIVE", "", True),
        ("GLACIER_IR", "", False),
        ("STANDARD", "", False),
        ("", "", False),
        ("GLACIER", "<IsRestoreInProgress>true</IsRestoreInProgress>", True),
        ("GLACIER", "<RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate>", False),
    ],
)
def test_an_object_that_sleeps_is_told_unless_it_was_restored(storage: str, extra: str, archived: bool) -> None:
    one = contents(StorageClass=storage, RestoreStatus=extra)
    assert parse_page(page(one), "src/").objects[0].archived is archived


@pytest.mark.parametrize(("storage", "tiered"), [("INTELLIGENT_TIERING", True), ("GLACIER", False), ("", False)])
def test_whether_an_object_of_intelligent_tiering_sleeps_is_not_known(storage: str, tiered: bool) -> None:
    (one,) = parse_page(page(contents(StorageClass=storage)), "src/").objects
    assert (one.archived, one.tiered) == (storage == "GLACIER", tiered)


def test_etags_have_quotes_as_in_headers_and_a_date_that_is_none_is_the_earliest() -> None:
    (one,) = parse_page(page(contents(ETag="e", LastModified="yesterday")), "src/").objects
    assert (one.etag, one.modified) == ('"e"', MIN_MODIFIED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<ListBucketResult>",
        b"<html></html>",
        page(more=""),
        page(more="<IsTruncated>maybe</IsTruncated>"),
        page(more="<IsTruncated>true</IsTruncated>"),
        page(more=truncated("x" * 5000)),
        page(contents("other/a")),
        page(*[contents()] * (PAGE_SIZE + 1)),
        page(contents(Size="")),
        page(contents(Size="-1")),
        page(contents(Size="9" * 30)),
        page(contents(ETag="")),
        page(contents("")),
        page(contents("src/%ff"), more="<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + page(contents()),
        page(contents()) + b"x",
        page(contents("src/\x01")),
    ],
)
def test_a_page_that_is_anything_else_is_an_interruption_and_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(TransferInterrupted):
        parse_page(body, "src/")


async def test_a_page_that_leads_to_itself_or_is_too_long_is_an_interruption() -> None:
    assert isinstance(await list_error(ok(page(more=truncated("t"))), token="t"), TransferInterrupted)
    endless = page(contents("src/ü &amp;+")).replace(b"<Contents>", b" " * MAX_PAGE_BYTES + b"<Contents>")
    assert isinstance(await list_error(ok(endless)), TransferInterrupted)


@pytest.mark.parametrize(
    ("response", "code", "text"),
    [
        (error_response("403 Forbidden", "AccessDenied"), "source_denied", "s3:ListBucket on arn:aws:s3:::photos"),
        (error_response("403 Forbidden", "AllAccessDisabled"), "source_denied", "403 AllAccessDisabled"),
        (error_response("404 Not Found", "NoSuchBucket"), "source_missing", "no such bucket"),
        (error_response("400 Bad Request", "InvalidBucketName"), "source_missing", "bucket name is invalid"),
        (error_response("400 Bad Request", "XYZ"), "source_denied", "400 XYZ"),
    ],
)
async def test_a_prefix_that_can_not_be_listed_has_a_code_and_says_what_to_do(
    response: bytes, code: str, text: str
) -> None:
    problem = await list_error(response)
    assert isinstance(problem, SourceUnavailable)
    assert (problem.code, text in problem.detail) == (code, True)


@pytest.mark.parametrize(
    ("responses", "kind"),
    [
        ([error_response("503 Slow Down", "SlowDown")], TransferInterrupted),
        ([error_response("500 Internal Server Error", "InternalError")], TransferInterrupted),
        ([error_response("403 Forbidden", "InvalidAccessKeyId")], CredentialsRefused),
        ([error_response("403 Forbidden", "RequestTimeTooSkewed")], CredentialsRefused),
    ],
)
async def test_other_errors_are_those_of_reads(responses: Sequence[bytes], kind: type[ArchiverError]) -> None:
    assert isinstance(await list_error(*responses), kind)
