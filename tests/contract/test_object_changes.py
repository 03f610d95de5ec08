"""The contract of ObjectChanges: on the fake and on S3, copies by parts included."""

import zlib
from typing import Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeChanges, FakeS3

from archiver.aws.clients import Clients
from archiver.aws.s3_changes import S3Changes
from archiver.aws.s3_copy import CopyLimits
from archiver.core.changes import Original
from archiver.core.locations import Location
from archiver.errors import ConfigurationError
from archiver.stages.after import ObjectChanges

MIB = 1024 * 1024
KEY, TARGET = "src/a b+ü%.txt", "done/a b+ü%.txt"


class Harness(Protocol):
    changes: ObjectChanges
    bucket: str
    conditional_copies: bool

    def put(self, key: str, data: bytes) -> Original: ...
    def content(self, key: str) -> bytes | None: ...


class FakeHarness:
    bucket = "bucket"
    conditional_copies = True

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.changes: ObjectChanges = FakeChanges(self.s3)

    def put(self, key: str, data: bytes) -> Original:
        location = self.s3.put(self.bucket, key, data)
        return Original(location, self.s3.objects[location].etag, len(data), zlib.crc32(data))

    def content(self, key: str) -> bytes | None:
        blob = self.s3.objects.get(Location(self.bucket, key))
        return None if blob is None else blob.data


class S3Harness:
    conditional_copies = False  # moto ignores the condition

    def __init__(self, aws: EmulatedAws, clients: Clients, limits: CopyLimits) -> None:
        self.aws = aws
        self.bucket = aws.bucket()
        self.changes: ObjectChanges = S3Changes(clients.s3, aws.bucket(), limits)

    def put(self, key: str, data: bytes) -> Original:
        etag = self.aws.s3.put_object(
            Bucket=self.bucket, Key=key, Body=data, ContentType="text/x", Metadata={"a": "b"}, Tagging="k=a%2Bb"
        )["ETag"]
        return Original(Location(self.bucket, key), etag, len(data), zlib.crc32(data))

    def content(self, key: str) -> bytes | None:
        try:
            return bytes(self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.aws.s3.exceptions.NoSuchKey:
            return None


@pytest.fixture(params=["fake", "s3", "parts"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return FakeHarness()
    limits = CopyLimits() if request.param == "s3" else CopyLimits(at_once=1, part=5 * MIB)
    return S3Harness(request.getfixturevalue("aws"), request.getfixturevalue("clients"), limits)


async def test_an_object_is_deleted_at_its_version_and_deleting_it_again_is_done_as_well(harness: Harness) -> None:
    original = harness.put(KEY, b"a")
    for _ in range(2):
        assert await harness.changes.delete(original.location, original.etag) == "done"
    assert harness.content(KEY) is None


async def test_another_version_is_not_deleted(harness: Harness) -> None:
    original = harness.put(KEY, b"a")
    harness.put(KEY, b"b")
    assert await harness.changes.delete(original.location, original.etag) == "source_changed"
    assert await harness.changes.delete(original.location, '"e"\r\nx-amz-bypass: 1') == "source_changed"
    assert harness.content(KEY) == b"b"


@pytest.mark.parametrize("size", [0, 3, 11 * MIB])
async def test_a_copy_has_the_same_bytes_and_leaves_the_original(harness: Harness, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    original = harness.put(KEY, data)

    assert await harness.changes.copy(original, Location(harness.bucket, TARGET)) == "done"

    assert harness.content(TARGET) == harness.content(KEY) == data
    found = await harness.changes.head(Location(harness.bucket, TARGET))
    assert found is not None
    assert found.size == size
    assert found.crc32 == zlib.crc32(data) or found.etag == original.etag


async def test_a_missing_object_is_neither_found_nor_copied(harness: Harness) -> None:
    gone = Original(Location(harness.bucket, KEY), '"0"', 3, 0)
    assert await harness.changes.head(gone.location) is None
    assert await harness.changes.copy(gone, Location(harness.bucket, TARGET)) == "source_missing"
    assert harness.content(TARGET) is None


async def test_another_version_is_not_copied(harness: Harness) -> None:
    if not harness.conditional_copies:
        pytest.skip("this emulator copies whatever is there")
    original = harness.put(KEY, b"a")
    harness.put(KEY, b"b")
    assert await harness.changes.copy(original, Location(harness.bucket, TARGET)) == "source_changed"
    assert harness.content(TARGET) is None


async def test_an_empty_object_is_created_and_never_written_over_another(harness: Harness) -> None:
    assert await harness.changes.create_empty(Location(harness.bucket, TARGET)) == "done"
    assert harness.content(TARGET) == b""
    assert await harness.changes.create_empty(Location(harness.bucket, TARGET)) == "name_conflict"
    harness.put(KEY, b"a")
    assert await harness.changes.create_empty(Location(harness.bucket, KEY)) == "name_conflict"
    assert harness.content(KEY) == b"a"


async def test_what_copies_by_parts_keep_is_what_other_copies_keep(aws: EmulatedAws, clients: Clients) -> None:
    harness = S3Harness(aws, clients, CopyLimits(at_once=1, part=5 * MIB))
    original = harness.put(KEY, bytes(6 * MIB))

    assert await harness.changes.copy(original, Location(harness.bucket, TARGET)) == "done"

    told = aws.s3.head_object(Bucket=harness.bucket, Key=TARGET)
    assert (told["ContentType"], told["Metadata"]) == ("text/x", {"a": "b"})
    tags = aws.s3.get_object_tagging(Bucket=harness.bucket, Key=TARGET)["TagSet"]
    assert tags == [{"Key": "k", "Value": "a+b"}]
    assert aws.s3.list_multipart_uploads(Bucket=harness.bucket).get("Uploads", []) == []


async def test_a_bucket_that_does_not_exist_is_a_configuration_error(aws: EmulatedAws, clients: Clients) -> None:
    changes, nowhere = S3Changes(clients.s3, aws.bucket()), Location("nowhere-at-all", "k")
    with pytest.raises(ConfigurationError):
        await changes.create_empty(nowhere)
    with pytest.raises(ConfigurationError):
        await changes.delete(nowhere, '"e"')


async def test_the_store_proves_its_condition_once_and_nothing_is_left(aws: EmulatedAws, clients: Clients) -> None:
    harness = S3Harness(aws, clients, CopyLimits())
    archives = aws.bucket()
    changes = S3Changes(clients.s3, archives)
    one, two = harness.put("1", b"a"), harness.put("2", b"b")
    assert await changes.delete(one.location, one.etag) == "done"
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=archives)

    aws.s3.delete_bucket(Bucket=archives)
    assert await changes.delete(two.location, two.etag) == "done"
