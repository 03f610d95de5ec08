"""Stored archives: every byte in its place whatever the order of arrival, and no deadlock however small the budget."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.locations import Location
from archiver.core.plan import Member, ObjectVersion
from archiver.errors import ArchiveExists, SourceChanged, TransferInterrupted, TransientError
from archiver.ports import Target
from stages.builders import MODIFIED, TARGET, StageEnv, random_bytes, read_zip

SMALLEST = 128  # bytes; longer than any header of these tests, as 5 MiB are longer than any header at all


async def test_members_come_out_of_the_archive_as_they_went_in_and_in_the_requests_order() -> None:
    """Small and large objects, empty ones, and bytes at hand."""
    stage = StageEnv()
    data = {
        "b/large.bin": random_bytes(5000, 1),
        "a.txt": b"hello",
        "empty": b"",
        "z": random_bytes(300, 2),
        "last/empty": b"",
    }
    members = [stage.member(path, body, pinned=path != "z") for path, body in data.items()]

    stored = await stage.assemble(members, 1000)

    assert read_zip(stage.archive()) == data
    assert list(read_zip(stage.archive())) == list(data)
    assert stored.size == len(stage.archive())
    assert stored.crc32 == stage.s3.objects[Location("archives", TARGET.key)].crc32


async def test_an_archive_of_one_part_is_one_put() -> None:
    stage = StageEnv()

    await stage.assemble([stage.member("a", b"x")], 1000)

    assert stage.store.events == ["put"]


async def test_an_archive_of_empty_members_alone_is_whole() -> None:
    stage = StageEnv()
    members = [stage.member(f"{number:03}", b"") for number in range(50)]

    await stage.assemble(members, SMALLEST)

    assert len(read_zip(stage.archive())) == 50


async def test_a_large_object_is_read_in_ranges_cut_at_part_boundaries() -> None:
    """One large video uses all the concurrency there is."""
    stage = StageEnv()
    await stage.assemble([stage.member("video", random_bytes(4000))], 1000)

    ranges = sorted((start, length) for _, start, length in stage.reader.reads)

    header = 1000 - ranges[0][1]
    assert [1000 - header, 1000, 1000, 1000, header] == [length for _, length in ranges]


async def test_reads_run_concurrently_up_to_the_limit() -> None:
    stage = StageEnv(most=5)
    running = most = 0
    read = stage.reader.read

    async def counted(*args: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        await read(*args)  # type: ignore[arg-type]
        running -= 1

    stage.reader.read = counted  # type: ignore[assignment]
    await stage.assemble([stage.member(str(number), b"x" * 50) for number in range(40)], 100_000)

    assert most == 5


async def test_bytes_with_another_crc_than_the_stores_are_read_again_and_then_never_published() -> None:
    """A byte flipped on the way once does no harm; always flipped, the archive does not appear."""
    stage = StageEnv()
    member = stage.member("a", b"right")
    assert isinstance(member.content, ObjectVersion)
    wrong = Member("a", 5, MODIFIED, ObjectVersion(member.content.location, member.content.etag, 1))

    with pytest.raises(TransientError, match="CRC-32"):
        await stage.assemble([wrong], 1000)

    assert len(stage.reader.reads) == 3  # by a lane, and twice into its place
    assert not stage.store.events


async def test_a_large_object_with_another_crc_than_the_stores_is_never_published() -> None:
    stage = StageEnv()
    member = stage.member("a", random_bytes(4000))
    assert isinstance(member.content, ObjectVersion)
    wrong = Member("a", 4000, MODIFIED, ObjectVersion(member.content.location, member.content.etag, 1))

    with pytest.raises(TransientError, match="CRC-32"):
        await stage.assemble([wrong], 1000)

    assert "complete" not in stage.store.events
    assert not stage.store.pending


@pytest.mark.parametrize("error", [SourceChanged("other"), TransientError("gone"), TransferInterrupted("cut")])
async def test_a_failed_read_ends_the_archive_and_leaves_no_upload_and_no_buffer_behind(error: Exception) -> None:
    stage = StageEnv()
    members = [stage.member(str(number), random_bytes(900, number)) for number in range(10)]
    stage.reader.faults.plan("read", error, nth=7, times=0)

    with pytest.raises(type(error) if not isinstance(error, TransferInterrupted) else TransientError):
        await stage.assemble(members, 1000)

    assert not stage.store.pending
    assert stage.budget.used == 0
    assert len(asyncio.all_tasks()) == 1


async def test_cancelling_the_job_aborts_its_upload_and_returns_its_buffers() -> None:
    stage = StageEnv()
    members = [stage.member(str(number), random_bytes(900, number)) for number in range(10)]
    stage.reader.faults.plan("read", delay=60, nth=5, times=0)
    job = asyncio.create_task(stage.assemble(members, 1000))
    while "part 1" not in stage.store.events:
        await asyncio.sleep(0)
    job.cancel()

    with pytest.raises(asyncio.CancelledError):
        await job

    assert not stage.store.pending
    assert stage.budget.used == 0


async def test_a_taken_key_is_told_and_left_alone() -> None:
    stage = StageEnv()
    stage.s3.put("archives", TARGET.key, b"first")

    with pytest.raises(ArchiveExists):
        await stage.assemble([stage.member("a", b"x")], 1000)

    assert stage.archive() == b"first"


async def test_bodies_in_flight_never_exceed_the_budget() -> None:
    """4,000 bytes hold four parts of 1,000: whatever the reads and uploads hold together."""
    stage = StageEnv(total=4000)
    stage.store.faults.plan("part", delay=0.001, times=0)

    await stage.assemble([stage.member(str(n), random_bytes(700, n)) for n in range(60)], 1000)

    assert 0 < stage.reader.gauge.peak <= 4000
    assert 0 < stage.store.gauge.peak <= 4000


sizes = st.lists(st.one_of(st.just(0), st.integers(1, 40), st.integers(0, 700)), min_size=1, max_size=14)


@settings(max_examples=150, deadline=None)
@given(
    jobs=st.lists(sizes, min_size=1, max_size=4),
    spare=st.integers(0, 3),
    part=st.integers(SMALLEST, 300),
    most=st.integers(1, 9),
)
async def test_jobs_that_share_the_smallest_budgets_all_finish(
    jobs: list[list[int]], spare: int, part: int, most: int
) -> None:
    """
    The search for a counter-example to the argument in `stages.assemble`: headers that straddle parts, several jobs,
    budgets that hold three parts and little more. A deadlock shows as a time-out, far beyond what these bytes can
    take.
    """
    stage = StageEnv(total=(3 + spare) * part, most=most)
    wanted = [
        {f"{job}/{number:04}": random_bytes(size, number) for number, size in enumerate(sizes)}
        for job, sizes in enumerate(jobs)
    ]
    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as tasks:
            for job, files in enumerate(wanted):
                members = [stage.member(path, body, pinned=len(body) % 3 != 0) for path, body in files.items()]
                target = Target(f"job-{job}", "attachment", TARGET.metadata)
                tasks.create_task(stage.assemble(members, part, target))

    assert [read_zip(stage.archive(f"job-{job}")) for job in range(len(jobs))] == wanted
    assert stage.budget.used == 0


async def test_the_same_members_make_the_same_bytes() -> None:
    first, second = StageEnv(most=1), StageEnv(most=8)
    for stage in (first, second):
        await stage.assemble([stage.member(str(n), random_bytes(700, n)) for n in range(20)], 1000)

    assert first.archive() == second.archive()
