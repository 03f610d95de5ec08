"""What a file store does beyond the law of stores: one file, whole or not there."""

import asyncio
import threading
import zlib
from pathlib import Path

import pytest

from archiver.cli.file_store import FileStore, publish_exclusively
from archiver.errors import ConfigurationError, Rejected
from archiver.ports import MultipartUpload, Target

SIZE = 1000
FIRST, SECOND, LAST = b"a" * SIZE, b"b" * SIZE, b"the end"
WHOLE = FIRST + SECOND + LAST
TARGET = Target("any/key.zip", "attachment", {"token": "t"}, SIZE)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def send(upload: MultipartUpload, number: int, body: bytes) -> None:
    await upload.upload_part(number, memoryview(body), zlib.crc32(body))


async def test_parts_in_any_order_and_at_once_become_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    upload = await FileStore(path).create_upload(TARGET)
    async with asyncio.TaskGroup() as tasks:
        for number, body in ((3, LAST), (1, FIRST), (2, SECOND)):
            tasks.create_task(send(upload, number, body))
    assert not path.exists()

    stored = await upload.complete(len(WHOLE), zlib.crc32(WHOLE))

    assert path.read_bytes() == WHOLE
    assert (stored.size, stored.crc32, stored.metadata) == (len(WHOLE), zlib.crc32(WHOLE), TARGET.metadata)
    assert files_in(tmp_path) == [path]


async def test_file_is_hidden_until_it_is_whole_and_nothing_is_left_of_one_that_was_given_up(tmp_path: Path) -> None:
    upload = await FileStore(tmp_path / "a.zip").create_upload(TARGET)
    await send(upload, 2, SECOND)
    assert [path.name[0] for path in files_in(tmp_path)] == ["."]

    await upload.abort()

    assert files_in(tmp_path) == []


@pytest.mark.parametrize("bodies", [{1: FIRST, 3: LAST}, {2: SECOND, 3: LAST}, {1: FIRST, 2: LAST, 3: LAST}, {}])
async def test_file_with_a_hole_never_appears(tmp_path: Path, bodies: dict[int, bytes]) -> None:
    upload = await FileStore(tmp_path / "a.zip").create_upload(TARGET)
    for number, body in bodies.items():
        await send(upload, number, body)
    size = sum(len(body) for body in bodies.values())

    with pytest.raises(Rejected, match="internal"):
        await upload.complete(size or 1, zlib.crc32(b"".join(bodies.values())))

    assert not (tmp_path / "a.zip").exists()
    await upload.abort()


async def test_file_whose_parts_do_not_have_the_archives_crc_never_appears(tmp_path: Path) -> None:
    upload = await FileStore(tmp_path / "a.zip").create_upload(TARGET)
    for number, body in ((1, SECOND), (2, FIRST), (3, LAST)):
        await send(upload, number, body)

    with pytest.raises(Rejected, match="CRC-32"):
        await upload.complete(len(WHOLE), zlib.crc32(WHOLE))

    assert not (tmp_path / "a.zip").exists()
    await upload.abort()


async def test_file_that_something_else_shortened_never_appears(tmp_path: Path) -> None:
    upload = await FileStore(tmp_path / "a.zip").create_upload(TARGET)
    for number, body in ((1, FIRST), (2, SECOND), (3, LAST)):
        await send(upload, number, body)
    (partial,) = files_in(tmp_path)
    partial.write_bytes(WHOLE[:-1])

    with pytest.raises(Rejected, match=f"the file has {len(WHOLE) - 1}"):
        await upload.complete(len(WHOLE), zlib.crc32(WHOLE))
    await upload.abort()

    assert files_in(tmp_path) == []


async def test_what_stood_there_is_replaced_at_the_end_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"before")
    upload = await FileStore(path, force=True).create_upload(TARGET)
    await send(upload, 1, LAST)
    assert path.read_bytes() == b"before"

    await upload.complete(len(LAST), zlib.crc32(LAST))

    assert path.read_bytes() == LAST
    assert files_in(tmp_path) == [path]


async def test_file_that_appeared_in_the_meantime_is_told_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    store = FileStore(path)
    path.write_bytes(b"someone else's")

    with pytest.raises(ConfigurationError, match="--force"):
        await store.put(TARGET, memoryview(LAST), zlib.crc32(LAST))

    assert path.read_bytes() == b"someone else's"
    assert files_in(tmp_path) == [path]


async def test_cancelled_part_is_waited_for_before_its_buffer_is_anyones_again(tmp_path: Path) -> None:
    upload = await FileStore(tmp_path / "a.zip").create_upload(TARGET)
    busy, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(busy.set)
        go_on.wait(10)

    holding = asyncio.create_task(upload._in_thread(hold))
    await busy.wait()
    holding.cancel()
    await asyncio.sleep(0)
    holding.cancel()
    await asyncio.sleep(0)
    assert not holding.done()

    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await upload.abort()


async def test_begin_that_is_cancelled_leaves_no_file(tmp_path: Path) -> None:
    beginning = asyncio.create_task(FileStore(tmp_path / "a.zip").create_upload(TARGET))
    await asyncio.sleep(0)
    beginning.cancel()

    with pytest.raises(asyncio.CancelledError):
        await beginning

    assert files_in(tmp_path) == []


def _no_links(partial: Path, path: Path) -> None:
    raise PermissionError(1, "Operation not permitted")  # FAT's answer


def test_file_systems_without_links_do_not_write_over_either(tmp_path: Path) -> None:
    partial, path = tmp_path / ".partial", tmp_path / "a.zip"
    partial.write_bytes(WHOLE)
    publish_exclusively(partial, path, _no_links)
    assert path.read_bytes() == WHOLE
    assert files_in(tmp_path) == [path]

    partial.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        publish_exclusively(partial, path, _no_links)
    assert path.read_bytes() == WHOLE


def test_name_that_was_claimed_is_free_again_where_the_file_could_not_take_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish_exclusively(tmp_path / "gone", tmp_path / "a.zip", _no_links)
    assert files_in(tmp_path) == []


async def test_folder_that_takes_no_file_is_told_in_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"^/proc/a\.zip: can't be written: "):
        await FileStore(Path("/proc/a.zip")).create_upload(TARGET)
