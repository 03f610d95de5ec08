"""Files and streams into objects: whole, never over another's object, and visible only when complete."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeHold

from archiver.core.locations import Location
from archiver.errors import LeaseLost, Rejected, TransientError
from archiver.ports import Target
from archiver.stages import from_files, retry, upload
from archiver.stages.from_files import OWNER, Writer
from stages.builders import StageEnv, random_bytes

KIB = 1024
PART = 64 * KIB
TARGET = Target("out/a.bin", "", {"archiver-request": "r"}, content_type="application/octet-stream")
AT = Location("archives", TARGET.key)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 64 KiB, and no waits between tries."""
    monkeypatch.setattr(from_files, "part_size_for", lambda _size, most: min(PART, most))
    monkeypatch.setattr(retry, "BACKOFF_CAP", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "PART_RETRY_SECONDS", 0.0)


@pytest.fixture
def stage() -> Iterator[StageEnv]:
    """Yield a stage with a budget of four parts, of which nothing may be left in use."""
    stage = StageEnv(total=4 * PART)
    yield stage
    assert stage.budget.used == 0
    assert stage.store.pending == {}


def writer(stage: StageEnv, job: str = "job", *, overwrite: bool = False, hold: FakeHold | None = None) -> Writer:
    return Writer(stage.store, stage.budget, hold or FakeHold(), job, overwrite)


async def write(stage: StageEnv, folder: Path, data: bytes, writer: Writer) -> None:
    file = folder / "file"
    file.write_bytes(data)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        stored = await writer.write_file(TARGET, descriptor)
    finally:
        os.close(descriptor)
    assert stored.size == len(data)


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 10 * PART + 3])
async def test_a_file_of_any_size_becomes_one_object(stage: StageEnv, tmp_path: Path, size: int) -> None:
    data = random_bytes(size)

    await write(stage, tmp_path, data, writer(stage))

    blob = stage.s3.objects[AT]
    assert (blob.data, blob.content_type, blob.metadata[OWNER]) == (data, "application/octet-stream", "job")
    assert stage.store.gauge.peak <= stage.budget.total


@pytest.mark.parametrize("size", [3, PART + 1])
async def test_a_file_never_replaces_the_object_of_another(stage: StageEnv, tmp_path: Path, size: int) -> None:
    stage.s3.put("archives", TARGET.key, b"theirs")

    with pytest.raises(Rejected, match=r"name_conflict.*out/a\.bin"):
        await write(stage, tmp_path, random_bytes(size), writer(stage))

    assert stage.s3.objects[AT].data == b"theirs"


@pytest.mark.parametrize("size", [3, PART + 1])
async def test_a_job_replaces_what_it_wrote_itself_in_an_earlier_run(
    stage: StageEnv, tmp_path: Path, size: int
) -> None:
    await write(stage, tmp_path, b"first run", writer(stage))

    await write(stage, tmp_path, random_bytes(size), writer(stage))
    with pytest.raises(Rejected, match="name_conflict"):
        await write(stage, tmp_path, b"other", writer(stage, "other"))

    assert stage.s3.objects[AT].data == random_bytes(size)


async def test_the_operator_may_allow_to_overwrite(stage: StageEnv, tmp_path: Path) -> None:
    stage.s3.put("archives", TARGET.key, b"theirs")

    await write(stage, tmp_path, b"ours", writer(stage, overwrite=True))

    assert await writer(stage, overwrite=True).check(TARGET.key) == "*"
    assert stage.s3.objects[AT].data == b"ours"


async def test_what_a_write_would_replace_is_known_before(stage: StageEnv, tmp_path: Path) -> None:
    assert await writer(stage).check(TARGET.key) == ""
    await write(stage, tmp_path, b"ours", writer(stage))

    assert await writer(stage).check(TARGET.key) == stage.s3.objects[AT].etag
    with pytest.raises(Rejected, match="name_conflict"):
        await writer(stage, "other").check(TARGET.key)


async def test_an_object_that_appears_in_between_is_kept(stage: StageEnv, tmp_path: Path) -> None:
    """Its own of before is gone, and another's has come."""
    await write(stage, tmp_path, b"ours", writer(stage))
    target = await writer(stage).check(TARGET.key)
    stage.s3.put("archives", TARGET.key, b"theirs")
    async with stage.budget.reservation(PART, 1) as buffers:
        known = Target(TARGET.key, "", overwrites=target)
        async with writer(stage).stream(known, buffers) as stream:
            await stream.write(b"ours again")
            with pytest.raises(Rejected, match="name_conflict"):
                await stream.finish()

    assert stage.s3.objects[AT].data == b"theirs"


async def test_a_lost_lease_publishes_nothing(stage: StageEnv, tmp_path: Path) -> None:
    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await write(stage, tmp_path, random_bytes(2 * PART), writer(stage, hold=FakeHold(lost)))

    assert AT not in stage.s3.objects


async def test_a_part_that_can_not_be_sent_leaves_nothing(stage: StageEnv, tmp_path: Path) -> None:
    stage.store.faults.plan("part", TransientError("down"), times=100)

    with pytest.raises(TransientError):
        await write(stage, tmp_path, random_bytes(3 * PART), writer(stage))

    assert AT not in stage.s3.objects


async def test_a_file_that_becomes_shorter_is_no_object(stage: StageEnv, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    with file.open("rb") as opened, pytest.raises(TransientError, match="shorter"):
        await from_files._read(opened.fileno(), memoryview(bytearray(4)), 0)


@pytest.mark.parametrize("size", [0, 5, PART, 3 * PART, 20 * PART + 1])
async def test_a_stream_of_any_length_takes_one_buffer(stage: StageEnv, size: int) -> None:
    data = random_bytes(size)
    async with stage.budget.reservation(PART, 1) as buffers, writer(stage).stream(TARGET, buffers) as stream:
        for start in range(0, size, 50_000):
            await stream.write(data[start : start + 50_000])
            assert stage.budget.buffers_in_use == 1
        stored = await stream.finish()

    assert (stored.size, stream.size) == (size, size)
    assert stage.s3.objects[AT].data == data


async def test_a_stream_that_is_not_finished_leaves_nothing(stage: StageEnv) -> None:
    with pytest.raises(RuntimeError):
        async with stage.budget.reservation(PART, 1) as buffers, writer(stage).stream(TARGET, buffers) as stream:
            await stream.write(random_bytes(3 * PART))
            raise RuntimeError

    assert AT not in stage.s3.objects


async def test_a_stream_that_s3_can_not_hold_is_too_large(stage: StageEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_files, "MAX_PARTS", 2)
    async with stage.budget.reservation(PART, 1) as buffers, writer(stage).stream(TARGET, buffers) as stream:
        with pytest.raises(Rejected, match="too_large"):
            await stream.write(bytes(4 * PART))


def test_the_buffer_of_a_stream_is_a_part_or_a_third_of_the_budget(stage: StageEnv) -> None:
    assert writer(stage).stream_part_size() == 4 * PART // 3
