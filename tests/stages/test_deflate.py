"""Compressed archives: in order, through a thread that always ends."""

import asyncio
import io
import threading
import zipfile

import pytest

from archiver.core.layout import longest_compressed
from archiver.core.plan import Member, Pinned
from archiver.core.zip_records import end_records
from archiver.errors import SourceChanged, Temporary
from archiver.ports import StoredArchive
from archiver.stages.deflate import check_tail, deflate
from archiver.stages.upload import uploading
from stages.builders import MODIFIED, TARGET, Stage, contents, noise

BUDGET = 15 << 20


async def build(stage: Stage, members: list[Member]) -> StoredArchive:
    async with uploading(stage.store, TARGET, lambda: None) as upload:
        return await deflate(members, stage.budget, stage.fetcher, upload, stage.progress)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("archiver.")]


async def test_members_come_out_as_they_went_in_compressed_or_stored_as_marked() -> None:
    """Text shrinks; stored members of one chunk keep their size and need no data descriptor."""
    stage = Stage(total=BUDGET)
    data = {
        "a.txt": b"words " * 500_000,
        "b.jpg": noise(300_000),
        "empty": b"",
        "c.jpg": noise(2_000_000, 1),
        "d": b"at hand",
    }
    members = [
        stage.member(path, body, deflate=path.endswith("txt"), pinned=path != "d") for path, body in data.items()
    ]

    stored = await build(stage, members)

    archive = stage.archive()
    assert contents(archive) == data
    assert list(contents(archive)) == list(data)
    assert stored.size == len(archive)
    infos = {info.filename: info for info in zipfile.ZipFile(io.BytesIO(archive)).infolist()}
    assert infos["a.txt"].compress_size < 100_000
    assert infos["b.jpg"].compress_type == zipfile.ZIP_STORED
    assert infos["b.jpg"].flag_bits & 8 == 0
    assert stage.budget.used == 0
    assert not threads()


async def test_a_large_archive_goes_out_in_parts_of_one_size() -> None:
    """Every part but the last is as large as planned: S3 refuses smaller ones."""
    stage = Stage(total=BUDGET)
    stage.store.smallest_part = 5 << 20
    data = {str(number): noise(3_000_000, number) for number in range(5)}

    await build(stage, [stage.member(path, body, deflate=True) for path, body in data.items()])

    assert stage.store.events == ["begin", "part 1", "part 2", "part 3", "complete"]
    assert contents(stage.archive()) == data


async def test_an_archive_that_ends_exactly_at_a_parts_end_is_whole() -> None:
    """The last part is full then, and no empty one follows."""
    stage = Stage(total=BUDGET)
    part = 5 << 20
    rough = noise(2 * part - 1000)
    await build(stage, [stage.member("x", rough)])
    over = len(stage.archive()) - len(rough)
    again = Stage(total=BUDGET)

    await build(again, [again.member("x", noise(2 * part - over))])

    if len(again.archive()) != 2 * part:  # stored through level 0 deflate, whose block headers depend on the size
        missing = 2 * part - len(again.archive())
        again = Stage(total=BUDGET)
        await build(again, [again.member("x", noise(2 * part - over + missing))])
    assert len(again.archive()) == 2 * part
    assert again.store.events == ["begin", "part 1", "part 2", "complete"]
    assert len(contents(again.archive())["x"]) > 0


@pytest.mark.parametrize("method", ["stored", "deflated"])
async def test_no_size_of_a_member_cuts_the_archive_short(method: str) -> None:
    """
    stream-zip 0.0.84 stops without a word where a header is flushed at a chunk's end: sizes around its chunk are
    swept.
    """
    stage = Stage(total=BUDGET)
    chunk = 256 * 1024
    data = {f"{size}": noise(size, 1) for size in [*range(chunk - 120, chunk + 20), *range(65_440, 65_560)]}

    for path, body in data.items():
        stage.s3.blobs = {at: blob for at, blob in stage.s3.blobs.items() if at.key != TARGET.key}
        first = stage.member(path, body, deflate=method == "deflated")
        await build(stage, [first, stage.member("second", b"2")])
        assert contents(stage.archive()) == {path: body, "second": b"2"}


@pytest.mark.parametrize("error", [SourceChanged("other"), Temporary("gone")])
async def test_a_failed_read_ends_the_thread_and_leaves_nothing_behind(error: Exception) -> None:
    stage = Stage(total=BUDGET)
    members = [stage.member(str(number), noise(3_000_000, number), deflate=True) for number in range(5)]
    stage.reader.faults.plan("read", error, nth=12, times=0)

    with pytest.raises(type(error)):
        await build(stage, members)

    assert not threads()
    assert not stage.store.pending
    assert stage.budget.used == 0


@pytest.mark.parametrize("after", ["read 1", "read 9", "part 1"])
async def test_a_cancelled_job_ends_its_thread_wherever_it_stands(after: str) -> None:
    """A thread left waiting would pin its buffers and its sockets for ever."""
    stage = Stage(total=BUDGET)
    members = [stage.member(str(number), noise(3_000_000, number), deflate=True) for number in range(5)]
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
    stage = Stage(total=BUDGET)
    for size in (100, 3_000_000):
        member = stage.member("a", noise(size), deflate=True)
        assert isinstance(member.content, Pinned)
        wrong = Member("a", size, MODIFIED, Pinned(member.content.location, member.content.etag, 1), deflate=True)

        with pytest.raises(Temporary, match="CRC-32"):
            await build(stage, [wrong])

        assert not {"put", "complete"} & set(stage.store.events)


async def test_jobs_that_share_one_budget_take_turns() -> None:
    stage = Stage(total=BUDGET)
    members = [stage.member("a", b"words " * 100_000, deflate=True)]

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            target = type(TARGET)(f"job-{number}", "attachment", TARGET.metadata)

            async def one(target: object = target) -> None:
                async with uploading(stage.store, target, lambda: None) as upload:  # type: ignore[arg-type]
                    await deflate(members, stage.budget, stage.fetcher, upload, stage.progress)

            tasks.create_task(one())

    assert [contents(stage.archive(f"job-{number}")) for number in range(4)] == [{"a": b"words " * 100_000}] * 4


async def test_the_longest_archive_that_is_reckoned_with_is_longer_than_any_real_one() -> None:
    """Bytes that do not compress, long names, empty members."""
    stage = Stage(total=BUDGET)
    members = [
        stage.member("n" * 250 + str(n), noise(size, n), deflate=True)
        for n, size in enumerate((0, 1, 70_000, 2_000_000))
    ]

    await build(stage, members)

    assert len(stage.archive()) <= longest_compressed(members)


def test_a_tail_that_is_not_a_zips_end_is_refused() -> None:
    """The writer stopped early, or wrote other members than planned."""
    check_tail(end_records(2, 100, 1000), 2)
    for tail in (b"", b"x" * 98, end_records(1, 100, 1000)):
        with pytest.raises(Temporary, match="stopped early"):
            check_tail(tail, 2)
