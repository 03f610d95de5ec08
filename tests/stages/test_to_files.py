"""Objects into files: whole, pinned, checked, and within the memory budget."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import SourceChanged, TransferInterrupted, TransientError
from archiver.stages import checksums, to_files
from archiver.stages.to_files import FileReader, FileToFill
from stages.builders import StageEnv, random_bytes

KIB = 1024


class Room:
    """A stage, and a folder that its files go to."""

    def __init__(self, folder: Path) -> None:
        self.stage = StageEnv(total=3 * 64 * KIB)
        self.folder = folder

    def file(self, name: str, data: bytes, *, crc: bool = True) -> FileToFill:
        location = self.stage.s3.put("source", name, data)
        blob = self.stage.s3.objects[location]
        return FileToFill(name, ObjectVersion(location, blob.etag, blob.crc32 if crc else None), len(data))

    def create(self, path: str) -> int:
        return os.open(self.folder / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def reader(self) -> FileReader:
        return FileReader(self.stage.fetcher, self.stage.budget, self.create, self.stage.progress)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_objects_of_any_size_become_files(room: Room) -> None:
    contents = {f"{size}": random_bytes(size) for size in (0, 1, 64 * KIB, 64 * KIB + 1, 300 * KIB)}
    before = open_descriptors()

    await room.reader().read([room.file(name, data) for name, data in contents.items()])

    assert {name: (room.folder / name).read_bytes() for name in contents} == contents
    assert room.stage.progress.files == len(contents)
    assert room.stage.budget.used == 0
    assert open_descriptors() == before


async def test_nothing_to_read_is_no_error(room: Room) -> None:
    await room.reader().read([])


async def test_files_larger_than_the_budget_pass_through_it(room: Room) -> None:
    data = random_bytes(1024 * KIB)

    await room.reader().read([room.file("large", data)])

    assert (room.folder / "large").read_bytes() == data
    assert room.stage.reader.gauge.peak <= room.stage.budget.total


async def test_an_interrupted_read_goes_on_where_it_stopped(room: Room) -> None:
    data = random_bytes(64 * KIB)
    file = room.file("one", data)
    room.stage.reader.faults.plan("read", TransferInterrupted("lost", received=10))

    await room.reader().read([file])

    assert (room.folder / "one").read_bytes() == data


async def test_an_object_that_is_no_longer_the_planned_version_is_told(room: Room) -> None:
    file = room.file("one", b"old")
    room.stage.s3.put("source", "one", b"new")
    before = open_descriptors()

    with pytest.raises(SourceChanged) as raised:
        await room.reader().read([room.file("other", b"x" * 1000), file])

    assert raised.value.location == Location("source", "one")
    assert open_descriptors() == before
    assert room.stage.budget.used == 0


async def test_bytes_that_do_not_have_the_stores_crc_are_read_again_and_then_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = room.file("one", b"data")
    wrong = file._replace(version=file.version._replace(crc32=1))
    right: Callable[[memoryview], int] = checksums.crc32
    results = iter([0])
    monkeypatch.setattr(to_files, "crc32", lambda view: next(results, None) or right(view))

    await room.reader().read([file])
    with pytest.raises(TransientError, match="CRC-32"):
        await room.reader().read([wrong])

    assert room.stage.progress.files == 1
