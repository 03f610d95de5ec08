"""The law of ObjectStore and MultipartUpload, on the twin, on S3, and on a file as far as one archive can keep it."""

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
from emulator import Aws
from fakes import MemoryS3, MemoryStore

from archiver.aws.clients import Clients
from archiver.aws.s3 import S3Store
from archiver.cli.file_store import FileStore
from archiver.core.locations import Location
from archiver.errors import ArchiveExists, ArchiverError, ConfigurationFault, Rejected, Temporary
from archiver.ports import MultipartUpload, ObjectStore, Target

MIB = 1024 * 1024
FIRST = bytes(range(256)) * (5 * MIB // 256)
LAST = b"the end"
WHOLE = FIRST + LAST
TARGET = Target("3f/download.zip", 'attachment; filename="a.zip"', {"request": "abc", "token": "t-1"}, len(FIRST))


class Bench(Protocol):
    """A store, and a look behind it. *taken*: what a write raises where an archive stands already."""

    store: ObjectStore
    taken: type[ArchiverError]

    def content(self, key: str) -> bytes | None: ...
    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]: ...
    def pending(self) -> list[str]: ...
    def elsewhere(self) -> ObjectStore:
        """A store on a bucket that does not exist."""


class TwinBench:
    taken: type[ArchiverError] = ArchiveExists

    def __init__(self) -> None:
        self.s3 = MemoryS3()
        self.memory = MemoryStore(self.s3)
        self.store: ObjectStore = self.memory

    def content(self, key: str) -> bytes | None:
        blob = self.s3.blobs.get(Location(self.memory.bucket, key))
        return None if blob is None else blob.data

    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]:
        blob = self.s3.blobs[Location(self.memory.bucket, key)]
        return blob.content_type, blob.disposition, blob.metadata

    def pending(self) -> list[str]:
        return sorted(upload.target.key for upload in self.memory.pending.values())

    def elsewhere(self) -> ObjectStore:
        store = MemoryStore(self.s3, "nowhere")
        store.gone = True
        return store


class S3Bench:
    taken: type[ArchiverError] = ArchiveExists

    def __init__(self, aws: Aws, clients: Clients) -> None:
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
        return told["ContentType"], told["ContentDisposition"], told["Metadata"]

    def pending(self) -> list[str]:
        told = self.aws.s3.list_multipart_uploads(Bucket=self.bucket)
        return sorted(upload["Key"] for upload in told.get("Uploads", []))

    def elsewhere(self) -> ObjectStore:
        return S3Store(self.clients, "nowhere")


class FileBench:
    """The archive is one file, whatever its key."""

    taken: type[ArchiverError] = ConfigurationFault

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a.zip"
        self.store: ObjectStore = FileStore(self.path)

    def content(self, key: str) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def described(self, key: str) -> tuple[str, str, Mapping[str, str]]:
        raise NotImplementedError("nothing stands beside a file")

    def pending(self) -> list[str]:
        return [path.name for path in self.path.parent.iterdir() if path != self.path]

    def elsewhere(self) -> ObjectStore:
        return FileStore(self.path.parent / "nowhere" / "a.zip")


@pytest.fixture(params=["twin", "s3", "file"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "twin":
        return TwinBench()
    if request.param == "file":
        return FileBench(request.getfixturevalue("tmp_path"))
    return S3Bench(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


# moto takes any CRC, and answers calls on an aborted upload with 500. What the adapter makes of S3's answers to
# those is tested in tests/aws/test_s3_answers.py.
beside_moto = pytest.mark.parametrize("bench", ["twin", "file"], indirect=True)
# A file store holds one archive, and nothing of what stands beside it.
in_buckets = pytest.mark.parametrize("bench", ["twin", "s3"], indirect=True)


async def send(upload: MultipartUpload, number: int, body: bytes) -> None:
    await upload.part(number, memoryview(body), zlib.crc32(body))


@in_buckets
async def test_an_archive_put_at_once_is_found_with_all_that_stands_beside_it(bench: Bench) -> None:
    await bench.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))

    found = await bench.store.find(TARGET.key)
    assert found is not None
    assert (found.size, found.crc32, dict(found.metadata)) == (len(LAST), zlib.crc32(LAST), dict(TARGET.metadata))
    assert found.etag.startswith('"')
    assert bench.content(TARGET.key) == LAST
    assert bench.described(TARGET.key) == ("application/zip", TARGET.disposition, TARGET.metadata)


async def test_nothing_is_found_where_nothing_is(bench: Bench) -> None:
    assert await bench.store.find("not/here.zip") is None


async def test_a_put_never_writes_over_an_archive(bench: Bench) -> None:
    await bench.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    with pytest.raises(bench.taken):
        await bench.store.put(TARGET, memoryview(b"other"), zlib.crc32(b"other"))
    assert bench.content(TARGET.key) == LAST


@beside_moto
async def test_a_put_whose_crc_is_wrong_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(Temporary):
        await bench.store.put(TARGET, memoryview(LAST), zlib.crc32(b"other"))
    assert bench.content(TARGET.key) is None


@in_buckets
async def test_parts_in_any_order_become_one_archive_that_appears_at_complete(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 2, LAST)
    await send(upload, 1, FIRST)
    assert await bench.store.find(TARGET.key) is None

    await upload.complete(len(WHOLE), zlib.crc32(WHOLE))

    found = await bench.store.find(TARGET.key)
    assert found is not None
    assert (found.size, found.crc32, dict(found.metadata)) == (len(WHOLE), zlib.crc32(WHOLE), dict(TARGET.metadata))
    assert found.etag.endswith('-2"')
    assert bench.content(TARGET.key) == WHOLE
    assert bench.described(TARGET.key) == ("application/zip", TARGET.disposition, TARGET.metadata)
    assert bench.pending() == []


async def test_a_part_that_is_sent_again_takes_the_place_of_the_first(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, b"x" * len(FIRST))
    await send(upload, 1, FIRST)
    await send(upload, 2, LAST)
    await upload.complete(len(WHOLE), zlib.crc32(WHOLE))
    assert bench.content(TARGET.key) == WHOLE


@beside_moto
async def test_a_part_whose_crc_is_wrong_is_refused_and_can_be_sent_again(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    with pytest.raises(Temporary):
        await upload.part(1, memoryview(LAST), zlib.crc32(b"other"))
    await send(upload, 1, LAST)
    await upload.complete(len(LAST), zlib.crc32(LAST))
    assert bench.content(TARGET.key) == LAST


async def test_complete_never_writes_over_an_archive_and_the_upload_can_still_be_aborted(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, LAST)
    await bench.store.put(TARGET, memoryview(b"first"), zlib.crc32(b"first"))
    with pytest.raises(bench.taken):
        await upload.complete(len(LAST), zlib.crc32(LAST))
    await upload.abort()
    assert bench.content(TARGET.key) == b"first"
    assert bench.pending() == []


async def test_a_size_that_was_not_sent_is_a_defect_and_nothing_appears(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, LAST)
    with pytest.raises(Rejected, match="internal"):
        await upload.complete(len(LAST) + 1, zlib.crc32(LAST))
    assert bench.content(TARGET.key) is None


async def test_a_small_part_in_the_middle_is_a_defect_and_nothing_appears(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, LAST)
    await send(upload, 2, LAST)
    with pytest.raises(Rejected, match="internal"):
        await upload.complete(2 * len(LAST), zlib.crc32(LAST + LAST))
    assert bench.content(TARGET.key) is None


async def test_an_aborted_upload_is_gone_and_aborting_it_again_is_no_error(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, LAST)
    await upload.abort()
    await upload.abort()
    assert bench.pending() == []
    assert bench.content(TARGET.key) is None


@beside_moto
async def test_an_aborted_upload_takes_nothing_more(bench: Bench) -> None:
    upload = await bench.store.begin(TARGET)
    await send(upload, 1, LAST)
    await upload.abort()
    with pytest.raises((ArchiveExists, Temporary)):  # moto says 500, S3 NoSuchUpload
        await send(upload, 2, LAST)
    with pytest.raises((ArchiveExists, Temporary)):
        await upload.complete(len(LAST), zlib.crc32(LAST))
    assert bench.content(TARGET.key) is None


@in_buckets
async def test_a_sweep_aborts_every_upload_of_that_key_and_of_no_other(bench: Bench) -> None:
    longer = Target(TARGET.key + ".2", TARGET.disposition, {})
    for target in (TARGET, TARGET, longer):
        await send(await bench.store.begin(target), 1, LAST)
    await bench.store.sweep(TARGET.key)
    assert bench.pending() == [longer.key]


@in_buckets
async def test_a_sweep_spares_what_was_begun_later(bench: Bench) -> None:
    await send(await bench.store.begin(TARGET), 1, LAST)

    await bench.store.sweep(TARGET.key, datetime(2001, 1, 1, tzinfo=UTC))
    assert bench.pending() == [TARGET.key]

    await bench.store.sweep(TARGET.key, datetime(2101, 1, 1, tzinfo=UTC))
    assert bench.pending() == []


async def test_a_sweep_spares_a_finished_archive(bench: Bench) -> None:
    await bench.store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))
    await bench.store.sweep(TARGET.key)
    assert bench.content(TARGET.key) == LAST


async def test_a_bucket_that_is_gone_is_a_configuration_fault_of_the_write(bench: Bench) -> None:
    store = bench.elsewhere()
    assert await store.find(TARGET.key) is None
    with pytest.raises(ConfigurationFault):
        await store.begin(TARGET)
    with pytest.raises(ConfigurationFault):
        await store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))


@in_buckets
@pytest.mark.parametrize("key", ["a b/ü+%20&?.zip", "a//b/./c.zip"])
async def test_keys_are_literal(bench: Bench, key: str) -> None:
    target = Target(key, TARGET.disposition, {})
    upload = await bench.store.begin(target)
    await send(upload, 1, LAST)
    await upload.complete(len(LAST), zlib.crc32(LAST))
    assert bench.content(key) == LAST
    assert await bench.store.find(key) is not None
