"""Compressed archives: in order, through a thread that always ends."""

import asyncio
import io
import threading
import zipfile

import pytest
from fakes import FakeHold

from archiver.core.layout import max_compressed_size
from archiver.core.plan import Member, ObjectVersion
from archiver.core.zip_records import end_records
from archiver.errors import SourceChanged, TransientError
from archiver.ports import StoredArchive
from archiver.stages.deflate import deflate, validate_end_records
from archiver.stages.upload import open_upload
from stages.builders import MODIFIED, TARGET, StageEnv, random_bytes, read_zip

BUDGET = 15 << 20


async def build(stage: StageEnv, members: list[Member]) -> StoredArchive:
    async with open_upload(stage.store, TARGET, FakeHold(), None) as upload:
        return await deflate(members, stage.budget, stage.fetcher, upload, stage.progress)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("archiver.")]


async def test_members_come_out_as_they_went_in_compressed_or_stored_as_marked() -> None:
    """Text shrinks; stored members of one chunk keep their size and need no data descriptor."""
    stage = StageEnv(total=BUDGET)
    data = {
        "a.txt": b"words " * 500_000,
        "b.jpg": random_bytes(300_000),
        "empty": b"",
        "c.jpg": random_bytes(2_000_000, 1),
        "d": b"at hand",
    }
    members = [
        stage.member(path, body, deflate=path.endswith("txt"), pinned=path != "d") for path, body in data.items()
    ]

    stored = await build(stage, members)

    archive = stage.archive()
    assert read_zip(archive) == data
    assert list(read_zip(archive)) == list(data)
    assert stored.size == len(archive)
    infos = {info.filename: info for info in zipfile.ZipFile(io.BytesIO(archive)).infolist()}
    assert infos["a.txt"].compress_size < 100_000
    assert infos["b.jpg"].compress_type == zipfile.ZIP_STORED
    assert infos["b.jpg"].flag_bits & 8 == 0
    assert stage.budget.used == 0
    assert not threads()


async def test_a_large_archive_goes_out_in_parts_of_one_size() -> None:
    """Every part but the last is as large as planned: S3 refuses smaller ones."""
    stage = StageEnv(total=BUDGET)
    stage.store.min_part_bytes = 5 << 20
    data = {str(number): random_bytes(3_000_000, number) for number in range(5)}

    await build(stage, [stage.member(path, body, deflate=True) for path, body in data.items()])

    assert stage.store.events == ["begin", "part 1", "part 2", "part 3", "complete"]
    assert read_zip(stage.archive()) == data


async def test_an_archive_that_ends_exactly_at_a_parts_end_is_whole() -> None:
    """The last part is full then, and no empty one follows."""
    stage = StageEnv(total=BUDGET)
    part = 5 << 20
    rough = random_bytes(2 * part - 1000)
    await build(stage, [stage.member("x", rough)])
    over = len(stage.archive()) - len(rough)
    again = StageEnv(total=BUDGET)

    await build(again, [again.member("x", random_bytes(2 * part - over))])

    if len(again.archive()) != 2 * part:  # stored through level 0 deflate, whose block headers depend on the size
        missing = 2 * part - len(again.archive())
        again = StageEnv(total=BUDGET)
        await build(again, [again.member("x", random_bytes(2 * part - over + missing))])
    assert len(again.archive()) == 2 * part
    assert again.store.events == ["begin", "part 1", "part 2", "complete"]
    assert len(read_zip(again.archive())["x"]) > 0


@pytest.mark.parametrize("method", ["stored", "deflated"])
async def test_no_size_of_a_member_cuts_the_archive_short(method: str) -> None:
    """
    stream-zip 0.0.84 stops without a word where a header is flushed at a chunk's end: sizes around its chunk are
    swept.
    """
    stage = StageEnv(total=BUDGET)
    chunk = 256 * 1024
    data = {f"{size}": random_bytes(size, 1) for size in [*range(chunk - 120, chunk + 20), *range(65_440, 65_560)]}

    for path, body in data.items():
        stage.s3.objects = {at: blob for at, blob in stage.s3.objects.items() if at.key != TARGET.key}
        first = stage.member(path, body, deflate=method == "deflated")
        await build(stage, [first, stage.member("second", b"2")])
        assert read_zip(stage.archive()) == {path: body, "second": b"2"}


@pytest.mark.parametrize("error", [SourceChanged("other"), TransientError("gone")])
async def test_a_failed_read_ends_the_thread_and_leaves_nothing_behind(error: Exception) -> None:
    stage = StageEnv(total=BUDGET)
    members = [stage.member(str(number), random_bytes(3_000_000, number), deflate=True) for number in range(5)]
    stage.reader.faults.plan("read", error, nth=12, times=0)

    with pytest.raises(type(error)):
        await build(stage, members)

    assert not threads()
    assert not stage.store.pending
    assert stage.budget.used == 0


@pytest.mark.parametrize("after", ["read 1", "read 9", "part 1"])
async def test_a_cancelled_job_ends_its_thread_wherever_it_stands(after: str) -> None:
    """A thread left waiting would pin its buffers and its sockets for ever."""
    stage = StageEnv(total=BUDGET)
    members = [stage.member(str(number), random_bytes(3_000_000, number), deflate=True) for number in range(5)]
    if after == "part 1":
        stage.store.faults.plan("part", delay=60)
    else:
        stage.reader.faults.plan("read", delay=60, nth=int(after.split()[1]), times=0)
    job = asyncio.create_task(build(stage, members))
    while not (stage.reader.faults.calls["read"] >= 8 and threads()):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    job.cancel()

    with pytest.raises(asyncio.CancelledError):
        await job

    assert not threads()
    assert not stage.store.pending
    assert stage.budget.used == 0
    assert len(asyncio.all_tasks()) == 1


async def test_bytes_with_another_crc_than_the_stores_are_never_published() -> None:
    stage = StageEnv(total=BUDGET)
    for size in (100, 3_000_000):
        member = stage.member("a", random_bytes(size), deflate=True)
        assert isinstance(member.content, ObjectVersion)
        wrong = Member(
            "a", size, MODIFIED, ObjectVersion(member.content.location, member.content.etag, 1), deflate=True
        )

        with pytest.raises(TransientError, match="CRC-32"):
            await build(stage, [wrong])

        assert not {"put", "complete"} & set(stage.store.events)


async def test_jobs_that_share_one_budget_take_turns() -> None:
    stage = StageEnv(total=BUDGET)
    members = [stage.member("a", b"words " * 100_000, deflate=True)]

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            target = type(TARGET)(f"job-{number}", "attachment", TARGET.metadata)

            async def one(target: object = target) -> None:
                async with open_upload(stage.store, target, FakeHold(), None) as upload:  # type: ignore[arg-type]
                    await deflate(members, stage.budget, stage.fetcher, upload, stage.progress)

            tasks.create_task(one())

    assert [read_zip(stage.archive(f"job-{number}")) for number in range(4)] == [{"a": b"words " * 100_000}] * 4


async def test_the_longest_archive_that_is_reckoned_with_is_longer_than_any_real_one() -> None:
    """Bytes that do not compress, long names, empty members."""
    stage = StageEnv(total=BUDGET)
    members = [
        stage.member("n" * 250 + str(n), random_bytes(size, n), deflate=True)
        for n, size in enumerate((0, 1, 70_000, 2_000_000))
    ]

    await build(stage, members)

    assert len(stage.archive()) <= max_compressed_size(members)


def test_a_tail_that_is_not_a_zips_end_is_refused() -> None:
    """The writer stopped early, or wrote other members than planned."""
    validate_end_records(end_records(2, 100, 1000), 2)
    for tail in (b"", b"x" * 98, end_records(1, 100, 1000)):
        with pytest.raises(TransientError, match="stopped early"):
            validate_end_records(tail, 2)
