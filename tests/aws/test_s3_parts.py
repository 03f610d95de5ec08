"""ListParts on the wire: pages, what is malformed, and uploads that are gone."""

import re

import pytest
from aws.failing_clients import answer
from aws.test_s3_calls import COMPLETED, TARGET, calling, store
from http_client.scripted_server import make_response

from archiver.aws.s3_calls import encode_crc32
from archiver.aws.s3_transport import S3Request
from archiver.core.kept import StoredPart
from archiver.errors import ArchiverError, TransientError
from archiver.http.exchange import HttpResponse

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


def listed(numbers: range, *, more: bool) -> bytes:
    """A page of parts with the ETags of SSE-KMS: no MD5 of anything, here with characters that XML escapes."""
    crc = f"<ChecksumCRC32>{encode_crc32(7)}</ChecksumCRC32><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
    part = "<Part><PartNumber>{}</PartNumber><LastModified>2026-11-30T09:00:00.000Z</LastModified>{}</Part>"
    rest = "<ETag>&quot;kms+/&amp;&lt;{}=&quot;</ETag><Size>5242880</Size>" + crc
    return page(*(part.format(number, rest.format(number)) for number in numbers), more=more)


async def test_an_upload_of_ten_thousand_parts_is_gone_on_with_by_the_etags_of_its_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten pages of 1,000; Complete names what the store has named, whatever it is."""
    bodies: list[bytes] = []

    async def complete(request: S3Request) -> HttpResponse:
        bodies.append(bytes(request.body))
        return answer(COMPLETED.format(""))

    pages = [[listed(range(at + 1, at + 1001), more=at < 9000)] for at in range(0, 10_000, 1000)]
    async with calling(*pages) as (server, calls):
        monkeypatch.setattr(calls, "complete", complete)
        found = await store(calls).uploads.resume(TARGET, "u")
        assert found is not None
        upload, parts = found
        await upload.complete(10_000 * 5_242_880, 1)

    assert len(server.requests) == 10 and len(parts) == 10_000 and {part.crc32 for part in parts} == {7}
    named = re.findall(rb"<ETag>(.*?)</ETag><ChecksumCRC32>(.*?)</ChecksumCRC32><PartNumber>(.*?)</Part", bodies[0])
    assert [int(number) for _, _, number in named] == [*range(1, 10_001)]
    assert named[0][:2] == (b"&quot;kms+/&amp;&lt;1=&quot;", encode_crc32(7).encode())


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
