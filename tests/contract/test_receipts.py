"""The contract of Receipts: on the fake and on S3."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeReceipts, FakeS3

from archiver.aws.clients import Clients
from archiver.core.attributes import Attributes
from archiver.core.locations import Location
from archiver.core.receipt import receipt_key
from archiver.doors.destination import open_receipts
from archiver.errors import ConfigurationError
from archiver.stages.receipt import Receipts

ARCHIVE = "3f/download.zip"
KEY, OTHER = receipt_key(ARCHIVE, "ab" * 16), receipt_key(ARCHIVE, "cd" * 16)


class Harness(Protocol):
    receipts: Receipts

    def content(self, key: str) -> bytes | None: ...
    def write(self, key: str) -> None: ...
    def tags(self, key: str) -> Mapping[str, str]: ...
    def elsewhere(self) -> Receipts:
        """Receipts in a bucket that does not exist."""


class FakeHarness:
    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.fake = FakeReceipts(self.s3)
        self.receipts: Receipts = self.fake

    def tags(self, key: str) -> Mapping[str, str]:
        return self.fake.attributes[key].tags

    def content(self, key: str) -> bytes | None:
        blob = self.s3.objects.get(Location("archives", key))
        return None if blob is None else blob.data

    def write(self, key: str) -> None:
        self.s3.put("archives", key, b"x")

    def elsewhere(self) -> Receipts:
        receipts = FakeReceipts(self.s3, "nowhere")
        receipts.gone = True
        return receipts


class S3Harness:
    def __init__(self, aws: EmulatedAws, clients: Clients) -> None:
        self.aws = aws
        self.clients = clients
        self.bucket = aws.bucket()
        self.receipts: Receipts = open_receipts(clients, self.bucket)

    def tags(self, key: str) -> Mapping[str, str]:
        found = self.aws.s3.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in found}

    def content(self, key: str) -> bytes | None:
        try:
            return bytes(self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.aws.s3.exceptions.NoSuchKey:
            return None

    def write(self, key: str) -> None:
        self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=b"x")

    def elsewhere(self) -> Receipts:
        return open_receipts(self.clients, "nowhere")


@pytest.fixture(params=["fake", "s3"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return FakeHarness()
    return S3Harness(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


async def keys(harness: Harness, folder: str = "3f/") -> list[str]:
    return sorted(one.key for one in await harness.receipts.list(folder))


async def test_a_receipt_is_written_and_a_retry_writes_the_same_again(harness: Harness) -> None:
    for _ in range(2):
        await harness.receipts.put(KEY, b"receipt")
    assert harness.content(KEY) == b"receipt"


async def test_a_receipt_has_the_tags_of_its_archive(harness: Harness) -> None:
    await harness.receipts.put(KEY, b"receipt", Attributes("private", None, {"archiver-expires-in": "7d"}))
    assert harness.tags(KEY) == {"archiver-expires-in": "7d"}


async def test_a_list_has_all_objects_of_the_folder_with_their_times(harness: Harness) -> None:
    await harness.receipts.put(KEY, b"1")
    await harness.receipts.put(OTHER, b"2")
    harness.write(ARCHIVE)
    harness.write("3g/download.zip")

    assert await keys(harness) == [ARCHIVE, KEY, OTHER]
    assert await keys(harness, "none/") == []
    (one,) = [one for one in await harness.receipts.list("3f/") if one.key == KEY]
    assert abs(one.modified - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_long_list_is_complete_and_its_keys_are_literal(harness: Harness) -> None:
    written = [f"3f/{number:03} a+b%20&<ü>\r.zip" for number in range(40)]
    for key in written:
        harness.write(key)
    assert await keys(harness) == written


async def test_a_deleted_receipt_is_gone_and_deleting_it_again_is_no_error(harness: Harness) -> None:
    await harness.receipts.put(KEY, b"1")
    await harness.receipts.put(OTHER, b"2")
    await harness.receipts.delete(KEY)
    await harness.receipts.delete(KEY)
    assert harness.content(KEY) is None
    assert await keys(harness) == [OTHER]


async def test_a_bucket_that_is_gone_is_a_configuration_error(harness: Harness) -> None:
    receipts = harness.elsewhere()
    with pytest.raises(ConfigurationError):
        await receipts.put(KEY, b"1")
    with pytest.raises(ConfigurationError):
        await receipts.list("3f/")
    with pytest.raises(ConfigurationError):
        await receipts.delete(KEY)
