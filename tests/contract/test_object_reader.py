"""The contract of ObjectReader, on the fake and on S3."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from emulator import EmulatedAws
from fakes import FakeReader, FakeS3

from archiver.aws.clients import Clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.core.locations import Location
from archiver.errors import SourceChanged, SourceUnavailable
from archiver.ports import ObjectReader

BODY = bytes(range(256)) * 1200  # more than one piece of the fake, and of a socket


@dataclass
class Harness:
    """A reader, and how to write, remove and freeze the objects of one bucket."""

    reader: ObjectReader
    bucket: str
    put: Callable[[str, bytes], object]
    remove: Callable[[str], object]
    freeze: Callable[[str], object]

    def at(self, key: str) -> Location:
        return Location(self.bucket, key)


def on_fake() -> Harness:
    s3 = FakeS3()
    return Harness(
        reader=FakeReader(s3),
        bucket="photos",
        put=lambda key, data: s3.put("photos", key, data, content_type="image/png"),
        remove=lambda key: s3.objects.pop(Location("photos", key)),
        freeze=lambda key: s3.make_unavailable(Location("photos", key), "source_archived"),
    )


def on_s3(aws: EmulatedAws, reader: S3Reader) -> Harness:
    bucket = aws.bucket()

    def put(key: str, data: bytes, storage: str = "STANDARD") -> object:
        return aws.s3.put_object(
            Bucket=bucket, Key=key, Body=data, ContentType="image/png", ChecksumAlgorithm="CRC32", StorageClass=storage
        )

    return Harness(
        reader=reader,
        bucket=bucket,
        put=put,
        remove=lambda key: aws.s3.delete_object(Bucket=bucket, Key=key),
        freeze=lambda key: put(key, BODY, "GLACIER"),
    )


@pytest.fixture
async def reader(aws: EmulatedAws, clients: Clients) -> AsyncIterator[S3Reader]:
    config = TransportConfig(ca_bundle=aws.bundle)
    reader = S3Reader(clients.session, Endpoint(aws.endpoint, clients.sqs_control.meta.region_name), config)
    yield reader
    await reader.close()


@pytest.fixture(params=["fake", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return on_fake()
    return on_s3(request.getfixturevalue("aws"), request.getfixturevalue("reader"))


async def test_head_tells_size_etag_date_and_type(harness: Harness) -> None:
    harness.put("a.png", BODY)
    info = await harness.reader.head(harness.at("a.png"))
    assert (info.size, info.content_type) == (len(BODY), "image/png")
    assert info.etag.startswith('"')
    assert info.modified.tzinfo is UTC
    assert info.modified <= datetime.now(UTC)


async def test_a_missing_object_is_source_missing(harness: Harness) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        await harness.reader.head(harness.at("nothing.png"))
    assert caught.value.code == "source_missing"


async def test_an_object_in_a_bucket_that_does_not_exist_is_source_missing(harness: Harness) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        await harness.reader.head(Location("no-such-bucket", "a.png"))
    assert caught.value.code == "source_missing"


async def test_an_object_that_sleeps_is_source_archived(harness: Harness) -> None:
    harness.put("a.png", BODY)
    harness.freeze("a.png")
    with pytest.raises(SourceUnavailable) as caught:
        await harness.reader.head(harness.at("a.png"))
    assert caught.value.code == "source_archived"


@pytest.mark.parametrize(
    ("start", "sizes"), [(0, [len(BODY)]), (1000, [1]), (70_001, [3, 100_000, 5]), (0, [7, 65_536])]
)
async def test_a_read_fills_the_views_one_after_the_other_and_nothing_else(
    harness: Harness, start: int, sizes: list[int]
) -> None:
    harness.put("a.png", BODY)
    info = await harness.reader.head(harness.at("a.png"))
    room = bytearray(b"." * (sum(sizes) + len(sizes)))
    views, at = [], 0
    for size in sizes:
        views.append(memoryview(room)[at : at + size])
        at += size + 1  # one byte between the views that is no one's

    await harness.reader.read(harness.at("a.png"), info.etag, start, views)

    assert b"".join(views) == BODY[start : start + sum(sizes)]
    assert room.count(b".") >= len(sizes)
    assert [room[sum(sizes[: n + 1]) + n] for n in range(len(sizes))] == [ord(".")] * len(sizes)


async def test_a_replaced_object_is_source_changed(harness: Harness) -> None:
    harness.put("a.png", BODY)
    info = await harness.reader.head(harness.at("a.png"))
    harness.put("a.png", BODY[::-1])
    with pytest.raises(SourceChanged):
        await harness.reader.read(harness.at("a.png"), info.etag, 0, [memoryview(bytearray(10))])


async def test_an_object_that_was_removed_after_the_plan_is_gone(harness: Harness) -> None:
    harness.put("a.png", BODY)
    info = await harness.reader.head(harness.at("a.png"))
    harness.remove("a.png")
    with pytest.raises(SourceChanged) as caught:
        await harness.reader.read(harness.at("a.png"), info.etag, 0, [memoryview(bytearray(10))])
    assert caught.value.gone


async def test_an_object_that_sleeps_since_it_was_planned_is_source_archived_and_not_changed(harness: Harness) -> None:
    harness.put("a.png", BODY)
    info = await harness.reader.head(harness.at("a.png"))
    harness.freeze("a.png")
    with pytest.raises(SourceUnavailable) as caught:
        await harness.reader.read(harness.at("a.png"), info.etag, 0, [memoryview(bytearray(10))])
    assert caught.value.code == "source_archived"


@pytest.mark.parametrize("key", ["a b/ü+%20&?#.png", "/a//b.jpg", "a/./b/../c.txt", "emoji-\U0001f600"])
async def test_keys_are_literal(harness: Harness, key: str) -> None:
    harness.put(key, BODY)
    info = await harness.reader.head(harness.at(key))
    into = bytearray(len(BODY))
    await harness.reader.read(harness.at(key), info.etag, 0, [memoryview(into)])
    assert into == BODY


async def test_many_reads_at_once_do_not_mix(harness: Harness) -> None:
    bodies = {f"{number}.bin": bytes([number]) * (1000 + number) for number in range(40)}
    for key, body in bodies.items():
        harness.put(key, body)

    async def whole(key: str) -> bytes:
        info = await harness.reader.head(harness.at(key))
        into = bytearray(info.size)
        await harness.reader.read(harness.at(key), info.etag, 0, [memoryview(into)])
        return bytes(into)

    assert dict(zip(bodies, await asyncio.gather(*map(whole, bodies)), strict=True)) == bodies
