"""The contract of ObjectRestorer, on the fake and on S3."""

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from emulator import EmulatedAws
from fakes import FakeReader, FakeRestorer, FakeS3

from archiver.aws.clients import Clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_restore import S3Restorer
from archiver.aws.s3_transport import TransportConfig
from archiver.core.locations import Location
from archiver.errors import SourceArchived, SourceUnavailable
from archiver.ports import ObjectReader, ObjectRestorer


@dataclass
class Harness:
    """A restorer and a reader of one bucket; *put* writes an object, *archived* or not; *finish* ends its restore."""

    restorer: ObjectRestorer
    reader: ObjectReader
    bucket: str
    put: Callable[[str, bool], object]
    finish: Callable[[Location], object]

    def at(self, key: str) -> Location:
        return Location(self.bucket, key)


def on_fake() -> Harness:
    s3 = FakeS3()
    restorer = FakeRestorer(s3)

    def put(key: str, archived: bool) -> None:
        location = s3.put("photos", key, b"cold")
        if archived:
            s3.make_unavailable(location, "source_archived")

    return Harness(restorer, FakeReader(s3), "photos", put, restorer.finish)


@pytest.fixture
async def on_s3(aws: EmulatedAws, clients: Clients) -> AsyncIterator[Harness]:
    bucket = aws.bucket()
    config = TransportConfig(ca_bundle=aws.bundle)
    endpoint = Endpoint(aws.endpoint, clients.sqs_control.meta.region_name)
    reader = S3Reader(clients.session, endpoint, config)
    restorer = S3Restorer(lambda _: nullcontext(reader))

    def put(key: str, archived: bool) -> None:
        storage = "GLACIER" if archived else "STANDARD"
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"cold", StorageClass=storage)

    yield Harness(restorer, reader, bucket, put, lambda _: None)  # the emulator restores at once
    await reader.close()


@pytest.fixture(params=["fake", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    return on_fake() if request.param == "fake" else request.getfixturevalue("on_s3")


@pytest.mark.parametrize("key", ["a.jpg", "ä ö/%41+b?c&d=e.jpg"])
async def test_a_restored_object_is_readable(harness: Harness, key: str) -> None:
    harness.put(key, True)
    with pytest.raises(SourceArchived) as archived:
        await harness.reader.head(harness.at(key))
    assert (archived.value.restoring, archived.value.tiered) == (False, False)

    await harness.restorer.restore(harness.at(key), "Standard", 3)
    harness.finish(harness.at(key))
    assert (await harness.reader.head(harness.at(key))).size == 4


async def test_a_restore_may_be_asked_for_again(harness: Harness) -> None:
    harness.put("a", True)
    for _ in range(2):
        await harness.restorer.restore(harness.at("a"), "Bulk", 1)


async def test_a_missing_object_can_not_be_restored(harness: Harness) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        await harness.restorer.restore(harness.at("none"), "Standard", 1)
    assert refused.value.code == "source_missing"


async def test_a_restore_that_runs_is_told_by_head() -> None:
    harness = on_fake()
    harness.put("a", True)
    await harness.restorer.restore(harness.at("a"), "Standard", 1)
    with pytest.raises(SourceArchived) as archived:
        await harness.reader.head(harness.at("a"))
    assert archived.value.restoring
