"""Lanes of many roles: each request is signed with the role of its own object, whatever the lane asked for before."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aws.s3_reader_fixtures import ETAG, error_response, range_response
from aws.sts_responses import credentials_response, open_role_readers, sts_error
from http_client.scripted_server import make_response

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import SourceUnavailable, TransferInterrupted
from archiver.ports import WholeRead

EXPORTS, PHOTOS = "arn:aws:iam::210987654321:role/exports", "arn:aws:iam::321098765432:role/photos"
FAR = datetime(2100, 1, 1, tzinfo=UTC)
BOTH = {EXPORTS: None, PHOTOS: None}
OK = make_response("200 OK", b"a body", f"ETag: {ETAG}", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")
PAGE = make_response("200 OK", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")


def given(*keys: str) -> list[list[bytes]]:
    return [[credentials_response(key, expires=FAR)] for key in keys]


@dataclass
class Queue:
    """A ReadQueue: one object of one bucket for each of *roles*."""

    roles: list[str]
    asked: list[WholeRead] = field(default_factory=list)
    got: list[int] = field(default_factory=list)

    def next(self) -> WholeRead | None:
        number = len(self.asked)
        if number == len(self.roles):
            return None
        self.asked.append(WholeRead(number, Location("photos", f"{number}.jpg", self.roles[number]), "GET"))
        return self.asked[-1]

    def space(self, read: WholeRead, length: int) -> memoryview | None:
        return memoryview(bytearray(length))

    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        assert body is not None
        assert bytes(body) == b"a body"
        self.got.append(read.number)


async def test_each_object_is_asked_for_with_its_own_role_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue([EXPORTS, "", PHOTOS, PHOTOS, "", EXPORTS])
    async with open_role_readers(monkeypatch, BOTH, *given("ASIAEXPORTS", "ASIAPHOTOS"), s3=([OK],)) as env:
        assert await env.readers.serve(queue) is None

    assert env.keys == ["ASIAEXPORTS", "AKIDEXAMPLE", "ASIAPHOTOS", "ASIAPHOTOS", "AKIDEXAMPLE", "ASIAEXPORTS"]
    assert [b"TOKEN-ASIA" in request for request in env.s3.requests] == [True, False, True, True, False, True]
    assert env.s3.connections == 1
    assert queue.got == [0, 1, 2, 3, 4, 5]
    assert len(env.sts.requests) == 2


async def test_an_object_whose_role_is_refused_is_handed_back_and_asked_for_with_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Queue(["", EXPORTS, ""])
    async with open_role_readers(monkeypatch, BOTH, [sts_error("403 Forbidden", "AccessDenied")], s3=([OK],)) as env:
        unanswered = await env.readers.serve(queue)
        assert unanswered is not None
        assert (unanswered.read, EXPORTS in unanswered.reason) == (queue.asked[1], True)
        assert await env.readers.serve(queue) is None

    assert env.keys == ["AKIDEXAMPLE", "AKIDEXAMPLE"]
    assert queue.got == [0, 2]


async def test_what_s3_refuses_is_handed_back_and_the_patient_read_renews_the_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, expired = Queue([EXPORTS, EXPORTS]), [error_response("400 Bad Request", "ExpiredToken")]
    async with open_role_readers(
        monkeypatch, {EXPORTS: None}, *given("ASIAOLD", "ASIANEW"), s3=(expired, expired, [range_response()])
    ) as env:
        unanswered = await env.readers.serve(queue)
        assert unanswered is not None
        into = [memoryview(bytearray(20))]
        with pytest.raises(TransferInterrupted, match="have expired"):  # which the fetcher tries again
            await env.readers.read(unanswered.read.location, ETAG, 10, into)
        await env.readers.read(unanswered.read.location, ETAG, 10, into)

    assert env.keys == ["ASIAOLD", "ASIAOLD", "ASIANEW"]


async def test_a_prefix_is_listed_with_its_own_role(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_role_readers(monkeypatch, BOTH, *given("ASIAEXPORTS", "ASIAPHOTOS"), s3=([PAGE],)) as env:
        for role in (EXPORTS, "", PHOTOS):
            assert (await env.readers.list(Prefix(Location("photos", "src/", role)))).objects == []

    assert env.keys == ["ASIAEXPORTS", "AKIDEXAMPLE", "ASIAPHOTOS"]


async def test_a_refusal_of_the_role_in_a_listing_says_nothing_about_the_worker_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = [error_response("403 Forbidden", "InvalidToken")]
    async with open_role_readers(monkeypatch, {EXPORTS: None}, *given("ASIAEXPORTS"), s3=(refused,)) as env:
        with pytest.raises(SourceUnavailable, match=rf"role {EXPORTS} \(InvalidToken\)"):
            await env.readers.list(Prefix(Location("photos", "src/", EXPORTS)))
