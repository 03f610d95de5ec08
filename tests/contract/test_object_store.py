"""The contract of ObjectStore and MultipartUpload: on the fake, on S3, and on a file, which keeps one archive."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeS3, FakeStore

from archiver.aws.clients import Clients
from archiver.aws.s3_store import S3Store
from archiver.cli.file_store import FileStore
from archiver.core.attributes import Attributes
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ArchiveExists,
    ArchiverError,
    ConfigurationError,
    CopyRefused,
    Rejected,
    SourceChanged,
    TransientError,
)
from archiver.ports import MultipartUpload, ObjectStore, Target

MIB = 1024 * 1024
FIRST = bytes(range(256)) * (5 * MIB // 256)
LAST = b"the end"
WHOLE = FIRST + LAST
TARGET = Target("3f/download.zip", 'attachment; filename="a.zip"', {"request": "abc", "token": "t-1"}, len(FIRST))


class Harness(Protocol):
    """A store, and a look behind it. *taken*: what a write raises where an archive stands already."""

    store: ObjectStore
    taken: type[ArchiverError]

    def content(self, key: str) -> bytes | None: ...
    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]: ...
    def pending(self) -> list[str]: ...
    def attributes(self, key: str) -> Attributes: ...
    def elsewhere(self) -> ObjectStore:
        """A store on a bucket that does not exist."""


class FakeHarness:
    taken: type[ArchiverError] = ArchiveExists

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.memory = FakeStore(self.s3)
        self.store: ObjectStore = self.memory

    def content(self, key: str) -> bytes | None:
        blob = self.s3.objects.get(Location(self.memory.bucket, key))
        return None if blob is None else blob.data

    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]:
        blob = self.s3.objects[Location(self.memory.bucket, key)]
        return blob.content_type, blob.disposition, blob.metadata

    def attributes(self, key: str) -> Attributes:
        return self.memory.attributes[key]

    def pending(self) -> list[str]:
        return sorted(upload.target.key for upload in self.memory.pending.values())

    def elsewhere(self) -> ObjectStore:
        store = FakeStore(self.s3, "nowhere")
        store.gone = True
        return store


class S3Harness:
    taken: type[ArchiverError] = ArchiveExists

    def __init__(self, aws: EmulatedAws, clients: Clients) -> None:
        self.aws = aws
        self.clients = clients
        self.bucket = aws.bucket()
        self.store: ObjectStore = S3Store(clients, self.bucket)

    def content(self, key: str) -> bytes | None:
        try:
            return bytes(self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.aws.s3.exceptions.NoSuchKey:
            return None

    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]:
        told = self.aws.s3.head_object(Bucket=self.bucket, Key=key)
        return told["ContentType"], told.get("ContentDisposition", ""), told["Metadata"]

    def attributes(self, key: str) -> Attributes:
        tags = self.aws.s3.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
        public = "AllUsers" in str(self.aws.s3.get_object_acl(Bucket=self.bucket, Key=key)["Grants"])
        storage_class = self.aws.s3.head_object(Bucket=self.bucket, Key=key).get("StorageClass")
        return Attributes("public-read" if public else None, storage_class, {tag["Key"]: tag["Value"] for tag in tags})

    def pending(self) -> list[str]:
        told = self.aws.s3.list_multipart_uploads(Bucket=self.bucket)
        return sorted(upload["Key"] for upload in told.get("Uploads", []))

    def elsewhere(self) -> ObjectStore:
        return S3Store(self.clients, "nowhere")


class FileHarness:
    """The archive is one file, whatever its key."""

    taken: type[ArchiverError] = ConfigurationError

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.zip"
        self.store: ObjectStore = FileStore(self.path)

    def content(self, key: str) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]:
        raise NotImplementedError("nothing stands beside a file")

    def attributes(self, key: str) -> Attributes:
        raise NotImplementedError("nothing stands beside a file")

    def pending(self) -> list[str]:
        return [path.name for path in self.path.parent.iterdir() if path != self.path]

    def elsewhere(self) -> ObjectStore:
        return FileStore(self.path.parent / "nowhere" / "a.zip")


@pytest.fixture(params=["fake", "s3", "file"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return FakeHarness()
    if request.param == "file":
        return FileHarness(request.getfixturevalue("tmp_path"))
    return S3Harness(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


# moto takes any CRC, and answers calls on an aborted upload with 500. What the adapter makes of S3's answers to
# those is tested in tests/aws/test_s3_answers.py.
fake_and_file = pytest.mark.parametrize("harness", ["fake", "file"], indirect=True)
# A file store holds one archive, and nothing of what stands beside it.
in_buckets = pytest.mark.parametrize("harness", ["fake", "s3"], indirect=True)


async def send(upload: MultipartUpload, number: int, body: bytes) -> None:
    await upload.upload_part(number, memoryview(body), zlib.crc32(body))


@in_buckets
async def test_an_archive_put_at_once_is_found_with_all_that_stands_beside_it(harness: Harness) -> None:
    await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))

    found = await harness.store.find(TARGET.key)
    assert found is not None
    assert (found.size, found.crc32, dict(found.metadata)) == (len(LAST), zlib.crc32(LAST), dict(TARGET.metadata))
    assert found.etag.startswith('"')
    assert harness.content(TARGET.key) == LAST
    assert harness.described(TARGET.key) == ("application/zip", TARGET.disposition, TARGET.metadata)


@in_buckets
@pytest.mark.parametrize("parts", [False, True])
async def test_an_archive_has_the_attributes_that_it_should_have(harness: Harness, *, parts: bool) -> None:
    attributes = Attributes("public-read", "STANDARD_IA", {"cost centre": "a/b é", "archiver-expires-in": "7d"})
    target = replace(TARGET, attributes=attributes)
    if parts:
        upload = await harness.store.create_upload(target)
        await send(upload, 1, LAST)
        await upload.complete(len(LAST), zlib.crc32(LAST))
    else:
        await harness.store.put(target, memoryview(LAST), zlib.crc32(LAST))
    assert harness.attributes(TARGET.key) == attributes


async def test_nothing_is_found_where_nothing_is(harness: Harness) -> None:
    assert await harness.store.find("not/here.zip") is None


async def test_a_put_never_writes_over_an_archive(harness: Harness) -> None:
    await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    with pytest.raises(harness.taken):
        await harness.store.put(TARGET, memoryview(b"other"), zlib.crc32(b"other"))
    assert harness.content(TARGET.key) == LAST


@in_buckets
@pytest.mark.parametrize("parts", [False, True])
async def test_an_object_that_may_be_overwritten_is_replaced_and_described_anew(
    harness: Harness, *, parts: bool
) -> None:
    stored = await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    for overwrites, body in ((stored.etag, b"second"), ("*", b"third")):
        target = replace(TARGET, overwrites=overwrites, content_type="text/plain", disposition="")
        if parts:
            upload = await harness.store.create_upload(target)
            await send(upload, 1, body)
            await upload.complete(len(body), zlib.crc32(body))
        else:
            await harness.store.put(target, memoryview(body), zlib.crc32(body))
        assert harness.content(TARGET.key) == body
        assert harness.described(TARGET.key)[0] == "text/plain"


@pytest.mark.parametrize("harness", ["fake"], indirect=True)  # moto has no If-Match for writes; see test_s3_bodies.py
async def test_an_object_that_is_no_longer_the_one_to_replace_is_kept(harness: Harness) -> None:
    await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    with pytest.raises(ArchiveExists):
        await harness.store.put(replace(TARGET, overwrites='"other"'), memoryview(b"x"), zlib.crc32(b"x"))
    assert harness.content(TARGET.key) == LAST


@fake_and_file
async def test_a_put_whose_crc_is_wrong_leaves_nothing(harness: Harness) -> None:
    with pytest.raises(TransientError):
        await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(b"other"))
    assert harness.content(TARGET.key) is None


@pytest.mark.parametrize("harness", ["fake"], indirect=True)
async def test_a_copied_part_is_what_it_was_copied_from(harness: FakeHarness) -> None:
    """S3's adapter has its own tests, in tests/aws and tests/e2e: the emulator has no CRC-32 of a copied part."""
    source = harness.s3.put("videos", "v.mp4", b"-" + FIRST)
    version = ObjectVersion(source, harness.s3.objects[source].etag)
    upload = await harness.store.create_upload(TARGET)
    assert await upload.copy(1, version, 1, len(FIRST)) == zlib.crc32(FIRST)
    await send(upload, 2, LAST)
    await upload.complete(len(WHOLE), zlib.crc32(WHOLE))
    assert harness.content(TARGET.key) == WHOLE


@pytest.mark.parametrize("harness", ["fake"], indirect=True)
@pytest.mark.parametrize(("body", "gone"), [(WHOLE[::-1], False), (None, True)])
async def test_another_version_is_not_copied(harness: FakeHarness, body: bytes | None, gone: bool) -> None:
    version = ObjectVersion(Location("videos", "v.mp4"), '"planned"')
    if body is not None:
        harness.s3.put("videos", "v.mp4", body)
    upload = await harness.store.create_upload(TARGET)
    with pytest.raises(SourceChanged) as caught:
        await upload.copy(1, version, 0, len(FIRST))
    assert caught.value.gone == gone


@fake_and_file
async def test_what_is_too_small_and_what_goes_into_a_file_is_not_copied(harness: Harness) -> None:
    version = ObjectVersion(Location("videos", "v.mp4"), '"e"')
    if isinstance(harness, FakeHarness):
        version = version._replace(etag=harness.s3.objects[harness.s3.put("videos", "v.mp4", FIRST)].etag)
    upload = await harness.store.create_upload(TARGET)
    with pytest.raises(CopyRefused):
        await upload.copy(1, version, 0, len(FIRST))
    await upload.abort()


@in_buckets
async def test_parts_in_any_order_become_one_archive_that_appears_at_complete(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 2, LAST)
    await send(upload, 1, FIRST)
    assert await harness.store.find(TARGET.key) is None

    await upload.complete(len(WHOLE), zlib.crc32(WHOLE))

    found = await harness.store.find(TARGET.key)
    assert found is not None
    assert (found.size, found.crc32, dict(found.metadata)) == (len(WHOLE), zlib.crc32(WHOLE), dict(TARGET.metadata))
    assert found.etag.endswith('-2"')
    assert harness.content(TARGET.key) == WHOLE
    assert harness.described(TARGET.key) == ("application/zip", TARGET.disposition, TARGET.metadata)
    assert harness.pending() == []


async def test_a_part_that_is_sent_again_takes_the_place_of_the_first(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, b"x" * len(FIRST))
    await send(upload, 1, FIRST)
    await send(upload, 2, LAST)
    await upload.complete(len(WHOLE), zlib.crc32(WHOLE))
    assert harness.content(TARGET.key) == WHOLE


@fake_and_file
async def test_a_part_whose_crc_is_wrong_is_refused_and_can_be_sent_again(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    with pytest.raises(TransientError):
        await upload.upload_part(1, memoryview(LAST), zlib.crc32(b"other"))
    await send(upload, 1, LAST)
    await upload.complete(len(LAST), zlib.crc32(LAST))
    assert harness.content(TARGET.key) == LAST


async def test_complete_never_writes_over_an_archive_and_the_upload_can_still_be_aborted(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, LAST)
    await harness.store.put(TARGET, memoryview(b"first"), zlib.crc32(b"first"))
    with pytest.raises(harness.taken):
        await upload.complete(len(LAST), zlib.crc32(LAST))
    await upload.abort()
    assert harness.content(TARGET.key) == b"first"
    assert harness.pending() == []


async def test_a_size_that_was_not_sent_is_a_defect_and_nothing_appears(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, LAST)
    with pytest.raises(Rejected, match="internal"):
        await upload.complete(len(LAST) + 1, zlib.crc32(LAST))
    assert harness.content(TARGET.key) is None


async def test_a_small_part_in_the_middle_is_a_defect_and_nothing_appears(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, LAST)
    await send(upload, 2, LAST)
    with pytest.raises(Rejected, match="internal"):
        await upload.complete(2 * len(LAST), zlib.crc32(LAST + LAST))
    assert harness.content(TARGET.key) is None


async def test_an_aborted_upload_is_gone_and_aborting_it_again_is_no_error(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, LAST)
    await upload.abort()
    await upload.abort()
    assert harness.pending() == []
    assert harness.content(TARGET.key) is None


@fake_and_file
async def test_an_aborted_upload_takes_nothing_more(harness: Harness) -> None:
    upload = await harness.store.create_upload(TARGET)
    await send(upload, 1, LAST)
    await upload.abort()
    with pytest.raises((ArchiveExists, TransientError)):  # moto says 500, S3 NoSuchUpload
        await send(upload, 2, LAST)
    with pytest.raises((ArchiveExists, TransientError)):
        await upload.complete(len(LAST), zlib.crc32(LAST))
    assert harness.content(TARGET.key) is None


@in_buckets
async def test_a_sweep_aborts_every_upload_of_that_key_and_of_no_other(harness: Harness) -> None:
    longer = Target(TARGET.key + ".2", TARGET.disposition, {})
    for target in (TARGET, TARGET, longer):
        await send(await harness.store.create_upload(target), 1, LAST)
    await harness.store.abort_uploads(TARGET.key)
    assert harness.pending() == [longer.key]


@in_buckets
async def test_a_sweep_spares_what_was_begun_later(harness: Harness) -> None:
    await send(await harness.store.create_upload(TARGET), 1, LAST)

    await harness.store.abort_uploads(TARGET.key, datetime(2001, 1, 1, tzinfo=UTC))
    assert harness.pending() == [TARGET.key]

    await harness.store.abort_uploads(TARGET.key, datetime(2101, 1, 1, tzinfo=UTC))
    assert harness.pending() == []


async def test_a_sweep_spares_a_finished_archive(harness: Harness) -> None:
    await harness.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    await harness.store.abort_uploads(TARGET.key)
    assert harness.content(TARGET.key) == LAST


async def test_a_bucket_that_is_gone_is_a_configuration_fault_of_the_write(harness: Harness) -> None:
    store = harness.elsewhere()
    assert await store.find(TARGET.key) is None
    with pytest.raises(ConfigurationError):
        await store.create_upload(TARGET)
    with pytest.raises(ConfigurationError):
        await store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))


@in_buckets
@pytest.mark.parametrize("key", ["a b/ü+%20&?.zip", "a//b/./c.zip"])
async def test_keys_are_literal(harness: Harness, key: str) -> None:
    target = Target(key, TARGET.disposition, {})
    upload = await harness.store.create_upload(target)
    await send(upload, 1, LAST)
    await upload.complete(len(LAST), zlib.crc32(LAST))
    assert harness.content(key) == LAST
    assert await harness.store.find(key) is not None
