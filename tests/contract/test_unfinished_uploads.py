"""The contract of UnfinishedUploads: on the fake and on S3."""

import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeS3, FakeStore, FakeUploads

from archiver.aws.clients import Clients
from archiver.aws.s3_store import S3Store
from archiver.errors import ArchiverError
from archiver.ports import MultipartUpload, ObjectStore, Target, UnfinishedUploads

FIRST = bytes(range(256)) * (5 * 1024 * 1024 // 256)
LAST = b"the end"
WHOLE = FIRST + LAST
TARGET = Target("3f/a+b ü.zip", "attachment", {"request": "abc", "archiver-token": "t-1"}, len(FIRST))


class Harness(Protocol):
    store: ObjectStore
    uploads: UnfinishedUploads
    elsewhere: UnfinishedUploads
    """In a bucket that does not exist."""


class FakeHarness:
    def __init__(self) -> None:
        store = FakeStore(FakeS3())
        self.store: ObjectStore = store
        self.uploads: UnfinishedUploads = FakeUploads(store)
        gone = FakeUploads(FakeStore(FakeS3(), "nowhere"))
        gone.store.gone = True
        self.elsewhere: UnfinishedUploads = gone


class S3Harness:
    def __init__(self, aws: EmulatedAws, clients: Clients) -> None:
        store = S3Store(clients, aws.bucket())
        self.store: ObjectStore = store
        self.uploads: UnfinishedUploads = store.uploads
        self.elsewhere: UnfinishedUploads = S3Store(clients, "nowhere").uploads


@pytest.fixture(params=["fake", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return FakeHarness()
    return S3Harness(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


async def send(upload: MultipartUpload, number: int, body: bytes) -> None:
    await upload.upload_part(number, memoryview(body), zlib.crc32(body))


async def test_another_worker_goes_on_with_an_upload_and_completes_it(harness: Harness) -> None:
    left = await harness.store.create_upload(TARGET)
    await send(left, 1, FIRST)

    found = await harness.uploads.resume(TARGET, left.id)
    assert found is not None
    upload, parts = found
    await send(upload, 2, LAST)
    stored = await upload.complete(len(WHOLE), zlib.crc32(WHOLE))

    assert [(part.number, part.size) for part in parts] == [(1, len(FIRST))]
    assert all(part.etag and part.crc32 in (None, zlib.crc32(FIRST)) for part in parts)
    assert (upload.id, stored.size) == (left.id, len(WHOLE))
    archive = await harness.store.find(TARGET.key)
    assert archive is not None and archive.metadata == TARGET.metadata and archive.crc32 == zlib.crc32(WHOLE)


async def test_parts_that_are_there_may_be_sent_again(harness: Harness) -> None:
    left = await harness.store.create_upload(TARGET)
    await send(left, 1, FIRST)
    found = await harness.uploads.resume(TARGET, left.id)
    assert found is not None
    await send(found[0], 1, FIRST)
    await send(found[0], 2, LAST)
    assert (await found[0].complete(len(WHOLE), zlib.crc32(WHOLE))).size == len(WHOLE)


async def test_an_upload_without_parts_is_gone_on_with(harness: Harness) -> None:
    left = await harness.store.create_upload(TARGET)
    found = await harness.uploads.resume(TARGET, left.id)
    assert found is not None and list(found[1]) == []


async def test_an_upload_that_was_aborted_is_none_and_aborting_it_again_is_no_error(harness: Harness) -> None:
    left = await harness.store.create_upload(TARGET)
    await send(left, 1, FIRST)
    for _ in range(2):
        await harness.uploads.abort(TARGET.key, left.id)
    assert await harness.uploads.resume(TARGET, left.id) is None
    assert await harness.uploads.list() == []


async def test_a_list_has_every_upload_of_the_prefix_and_when_it_was_begun(harness: Harness) -> None:
    other = Target("4f/b.zip", "attachment", {})
    one, two = await harness.store.create_upload(TARGET), await harness.store.create_upload(TARGET)
    three = await harness.store.create_upload(other)

    found = await harness.uploads.list()
    assert {(each.key, each.id) for each in found} == {
        (TARGET.key, one.id),
        (TARGET.key, two.id),
        (other.key, three.id),
    }
    assert all(each.begun < datetime.now(UTC) + timedelta(minutes=5) for each in found)  # moto: long ago
    assert [each.id for each in await harness.uploads.list("4f/")] == [three.id]


async def test_in_a_bucket_that_is_gone_there_is_no_upload(harness: Harness) -> None:
    with suppress(ArchiverError):
        assert await harness.elsewhere.resume(TARGET, "some-id") is None
