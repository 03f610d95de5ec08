"""ListParts on the wire: pages, what is malformed, and uploads that are gone."""

import pytest
from aws.test_s3_calls import TARGET, calling, store
from http_client.scripted_server import make_response

from archiver.core.kept import StoredPart
from archiver.errors import ArchiverError, TransientError

PART = "<Part><PartNumber>{}</PartNumber><Size>5</Size><ETag>&quot;e&quot;</ETag>{}</Part>"


def page(*parts: str, more: bool = False) -> bytes:
    listed = f"<ListPartsResult><IsTruncated>{str(more).lower()}</IsTruncated>{''.join(parts)}</ListPartsResult>"
    return make_response("200 OK", listed.encode())


async def test_every_page_is_asked_for_and_a_crc_is_read_where_there_is_one() -> None:
    crc = "<ChecksumCRC32>AAAB/w==</ChecksumCRC32>"
    first, last = page(PART.format(1, crc), PART.format(3, ""), more=True), page(PART.format(4, ""))
    async with calling([first], [last]) as (server, calls):
        found = await store(calls).uploads.resume(TARGET, "a/b+c")
    assert found is not None
    assert found[1] == [StoredPart(1, 5, '"e"', 0x1FF), StoredPart(3, 5, '"e"', None), StoredPart(4, 5, '"e"', None)]
    asked = [request.split(b" ")[1] for request in server.requests]
    assert asked == [
        b"/archives/d/a.zip?part-number-marker=0&uploadId=a%2Fb%2Bc",
        b"/archives/d/a.zip?part-number-marker=3&uploadId=a%2Fb%2Bc",
    ]


async def test_a_checksum_of_another_kind_is_none() -> None:
    """Of a composite checksum, or one of another length."""
    async with calling([page(PART.format(1, "<ChecksumCRC32>AAAB</ChecksumCRC32>"))]) as (_, calls):
        found = await store(calls).uploads.resume(TARGET, "u")
    assert found is not None and found[1][0].crc32 is None


@pytest.mark.parametrize(
    "body",
    [
        page(PART.format("x", "")),
        page(PART.format(1, "<ChecksumCRC32>!</ChecksumCRC32>")),
        page("<Part><PartNumber>1</PartNumber><Size>5</Size></Part>"),
        make_response("200 OK", b"<ListPartsResult>"),
    ],
    ids=["number", "checksum", "no ETag", "cut"],
)
async def test_a_page_that_can_not_be_read_is_no_list(body: bytes) -> None:
    async with calling([body]) as (_, calls):
        with pytest.raises(TransientError):
            await store(calls).uploads.resume(TARGET, "u")


async def test_a_listing_that_does_not_go_on_ends() -> None:
    again = page(PART.format(1, ""), more=True)
    async with calling([again], [again]) as (server, calls):
        with pytest.raises(TransientError, match="does not end"):
            await store(calls).uploads.resume(TARGET, "u")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [("404 Not Found", "NoSuchUpload", None), ("403 Forbidden", "AccessDenied", TransientError)],
)
async def test_an_upload_that_is_gone_is_none_and_a_refusal_is_told(
    status: str, code: str, raised: type[ArchiverError] | None
) -> None:
    refusal = make_response(status, f"<Error><Code>{code}</Code></Error>".encode())
    async with calling([refusal]) as (_, calls):
        if raised is None:
            assert await store(calls).uploads.resume(TARGET, "u") is None
            return
        with pytest.raises(raised):
            await store(calls).uploads.resume(TARGET, "u")
