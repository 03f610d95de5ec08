"""The contract of ObjectReader, on the fake and on S3."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from emulator import EmulatedAws
from fakes import FakeReader, FakeS3

from archiver.aws import s3_list
from archiver.aws.clients import Clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.core.locations import Location
from archiver.core.objects import Listed
from archiver.core.select import Prefix
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
    set_page_size: Callable[[int], object]

    def at(self, key: str) -> Location:
        return Location(self.bucket, key)


def on_fake() -> Harness:
    s3 = FakeS3()
    reader = FakeReader(s3)
    return Harness(
        reader=reader,
        bucket="photos",
        put=lambda key, data: s3.put("photos", key, data, content_type="image/png"),
        remove=lambda key: s3.objects.pop(Location("photos", key)),
        freeze=lambda key: s3.make_unavailable(Location("photos", key), "source_archived"),
        set_page_size=lambda size: setattr(reader, "page_size", size),
    )


def on_s3(aws: EmulatedAws, reader: S3Reader, patch: pytest.MonkeyPatch) -> Harness:
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
        set_page_size=lambda size: patch.setattr(s3_list, "PAGE_SIZE", size),
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
    return on_s3(
        request.getfixturevalue("aws"), request.getfixturevalue("reader"), request.getfixturevalue("monkeypatch")
    )


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


ODD_KEYS = [
    "odd/ leading and trailing ",
    "odd/+plus%20percent%",
    "odd/a//b",
    "odd/../c",
    "odd/\x01\x1f\x7f",
    "odd/tab\t.",
    "odd/<&>\"']]>",
    "odd/\u202egpj.exe",
    "odd/\U0001f600e\u0301",
    "odd/folder/",
]


async def listed(harness: Harness, prefix: str, *, recursive: bool = True) -> list[Listed]:
    page = await harness.reader.list(Prefix(harness.at(prefix), recursive))
    found = [*page.objects]
    while page.next:
        page = await harness.reader.list(Prefix(harness.at(prefix), recursive), page.next)
        found += page.objects
    return found


async def test_a_listing_tells_what_head_tells_but_the_type_and_the_crc(harness: Harness) -> None:
    harness.put("a/1.png", BODY)
    harness.put("a/2.png", b"")
    harness.put("b.png", b"b")

    found = await listed(harness, "a/")

    assert [(one.key, one.size, one.archived) for one in found] == [
        ("a/1.png", len(BODY), False),
        ("a/2.png", 0, False),
    ]
    head = await harness.reader.head(harness.at("a/1.png"))
    assert found[0].info == head._replace(content_type="", crc32=None, modified=found[0].modified)
    assert abs((found[0].modified - head.modified).total_seconds()) < 1  # HEAD's date has whole seconds
    assert await listed(harness, "nothing/") == []


async def test_a_listing_is_in_the_order_of_the_bytes_of_keys_and_all_keys_are_literal(harness: Harness) -> None:
    for key in ODD_KEYS:
        harness.put(key, key.encode())
    found = await listed(harness, "odd/")
    assert [one.key for one in found] == sorted(ODD_KEYS, key=str.encode)
    for one in found:
        assert [each.key for each in await listed(harness, one.key)] == [one.key]
        into = bytearray(one.size)
        await harness.reader.read(harness.at(one.key), one.etag, 0, [memoryview(into)])
        assert into.decode() == one.key


async def test_a_listing_that_is_not_recursive_leaves_out_what_lies_deeper(harness: Harness) -> None:
    for key in ("p", "p/1", "p/2/3", "poly/4", "q"):
        harness.put(key, b"x")
    assert [one.key for one in await listed(harness, "p", recursive=False)] == ["p"]
    assert [one.key for one in await listed(harness, "p/", recursive=False)] == ["p/1"]
    assert [one.key for one in await listed(harness, "", recursive=False)] == ["p", "q"]


async def test_a_listing_of_many_pages_has_each_object_once_while_others_come_and_go(harness: Harness) -> None:
    harness.set_page_size(3)
    for number in range(4):
        harness.put(f"k/{number}", b"")
    first = await harness.reader.list(Prefix(harness.at("k/")))
    harness.put("k/0a", b"")  # before the next page: too late
    harness.put("k/9", b"")
    harness.remove("k/3")

    second = await harness.reader.list(Prefix(harness.at("k/")), first.next)

    assert [one.key for one in first.objects] == ["k/0", "k/1", "k/2"]
    assert ([one.key for one in second.objects], second.next) == (["k/9"], "")


async def test_an_object_of_a_listing_that_sleeps_is_told(harness: Harness) -> None:
    harness.put("a.png", BODY)
    harness.freeze("a.png")
    assert [one.archived for one in await listed(harness, "a")] == [True]


async def test_a_bucket_that_does_not_exist_can_not_be_listed(harness: Harness) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        await harness.reader.list(Prefix(Location("no-such-bucket", "a/")))
    assert caught.value.code == "source_missing"
