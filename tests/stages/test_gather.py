"""Small objects by one GET each, in any order of arrival: the archive is the same, and nothing waits for ever."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic

import pytest
from fakes import FakeHold
from fakes.store import FakeUpload
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.draft import DraftFile
from archiver.core.ledger import Ledger, OutgrownError
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import Member
from archiver.errors import SourceUnavailable, TransferInterrupted
from archiver.ports import ReadQueue, Target, Unanswered, WholeRead
from archiver.stages import gather, lanes
from archiver.stages.assemble import Assembly
from archiver.stages.budget import BufferPool
from archiver.stages.gather import Gather
from archiver.stages.in_order import Arrival, InOrder
from archiver.stages.room import Room
from archiver.stages.stored import StoredBuild
from archiver.stages.upload import open_upload
from stages.builders import TARGET, StageEnv, random_bytes, read_zip

PART = 128  # longer than any header of these tests


def sought(stage: StageEnv, files: dict[str, bytes]) -> list[DraftFile]:
    """What a request asks for: of each file, where its object is."""
    return [DraftFile(path, stage.s3.put("source", path, data), path) for path, data in files.items()]


async def build(
    stage: StageEnv,
    files: list[DraftFile | Member],
    *,
    target: Target = TARGET,
    part: int = PART,
    max_bodies: int | None = None,
) -> dict[str, bytes]:
    async with open_upload(stage.store, target, FakeHold(), None) as upload:
        made = StoredBuild(files, stage.budget, stage.fetcher, upload, part_size=part, max_bodies=max_bodies)
        await made.run(stage.progress)
    return read_zip(stage.archive(target.key))


async def test_objects_of_unknown_size_are_asked_for_once_each() -> None:
    stage = StageEnv()
    files = {f"{number:03}": random_bytes(number % 60, number) for number in range(300)}

    assert await build(stage, [*sought(stage, files)], part=1000) == files
    assert stage.reader.faults.calls["head"] == 300  # here, each GET counts as a HEAD and a read
    assert len(stage.reader.reads) == 295  # no byte is read of the empty ones


async def test_the_archive_is_the_same_by_one_pass_and_by_two() -> None:
    files = {f"{number:03}": random_bytes(number * 7 % 900, number) for number in range(120)}
    one, two = StageEnv(), StageEnv()

    await build(one, [*sought(one, files)], part=1000)
    await build(two, [two.member(path, data) for path, data in files.items()], part=1000)

    assert one.archive() == two.archive()


async def test_large_objects_are_given_up_and_then_asked_for_by_head() -> None:
    stage = StageEnv()
    files = {f"{number:03}": random_bytes(600, number) for number in range(100)}
    methods: list[str] = []
    serve = stage.reader.serve

    async def observed(queue: ReadQueue) -> Unanswered | None:
        class Observed:
            space, arrived = staticmethod(queue.space), staticmethod(queue.arrived)

            @staticmethod
            def next() -> WholeRead | None:
                read = queue.next()
                if read is not None:
                    methods.append(read.method)
                return read

        return await serve(Observed())

    stage.reader.serve = observed  # type: ignore[method-assign]
    assert await build(stage, [*sought(stage, files)], part=1000) == files
    assert methods.count("GET") <= gather.FIRST_REQUESTS
    assert len(methods) == 100


sizes = st.lists(
    st.one_of(st.just(0), st.integers(1, 60), st.sampled_from([PART - 1, PART, PART + 1]), st.integers(0, 500)),
    min_size=1,
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(
    jobs=st.lists(sizes, min_size=1, max_size=3),
    spare=st.integers(0, 4),
    most=st.integers(1, 5),
    at_once=st.sampled_from([0, 30, 1000]),
    seed=st.integers(0, 1000),
)
async def test_no_order_of_arrival_and_no_budget_makes_jobs_wait_for_each_other(
    jobs: list[list[int]], spare: int, most: int, at_once: int, seed: int
) -> None:
    """
    The search for a counter-example to the argument in `stages.assemble`, with objects of unknown size: responses in
    any order, some of them lost, bodies at once or in pieces, records that straddle parts, the smallest budgets.
    """
    stage = StageEnv(total=(3 + spare) * PART, most=most)
    stage.reader.at_once = at_once
    shuffle, lost = random.Random(seed), Counter[Location]()
    head = stage.reader.head

    async def late(location: Location) -> ObjectInfo:
        for _ in range(shuffle.randrange(6)):
            await asyncio.sleep(0)
        if lost[location] < 2 and not shuffle.randrange(8):
            lost[location] += 1
            raise TransferInterrupted("the connection was lost")
        return await head(location)

    stage.reader.head = late  # type: ignore[method-assign]
    wanted = [
        {f"{job}/{number:04}": random_bytes(size, number) for number, size in enumerate(sizes)}
        for job, sizes in enumerate(jobs)
    ]
    made = [sought(stage, files) for files in wanted]
    async with asyncio.timeout(3), asyncio.TaskGroup() as tasks:
        for job, files in enumerate(made):
            tasks.create_task(build(stage, [*files], target=Target(f"job-{job}", "attachment", TARGET.metadata)))

    assert [read_zip(stage.archive(f"job-{job}")) for job in range(len(jobs))] == wanted
    assert stage.budget.used == 0
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(("size", "repeated"), [(20, False), (300, True)], ids=["two parts", "four parts"])
async def test_a_job_that_waits_for_its_buffers_reads_again_only_what_is_in_their_way(
    size: int, *, repeated: bool
) -> None:
    """Two buffers leave a third of the budget for what was read; three need all of it."""
    stage = StageEnv(total=32_000)
    files = {f"{number:03}": random_bytes(size, number) for number in range(16)}
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks, stage.budget.reservation(20_000, 1):
        made = tasks.create_task(build(stage, [*sought(stage, files)], part=2000))
        while len(stage.reader.reads) < 16:
            await asyncio.sleep(0)
    assert made.result() == files
    assert (len(stage.reader.reads) > 16) is repeated
    assert stage.budget.used == 0


async def test_lanes_are_added_before_the_first_response_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else would add any: no lane asks for more, and nothing is late yet."""
    monkeypatch.setattr(gather, "HEDGE_TICK_SECONDS", 10.0)
    stage, release = StageEnv(most=100), asyncio.Event()
    files = {f"{number:04}": b"x" for number in range(60)}
    asked, head = 0, stage.reader.head

    async def late(location: Location) -> ObjectInfo:
        nonlocal asked
        asked += 1
        if asked == gather.FIRST_REQUESTS:
            release.set()
        await release.wait()
        return await head(location)

    stage.reader.head = late  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        assert await build(stage, [*sought(stage, files)], part=10_000) == files


@pytest.mark.parametrize(("busy", "most"), [(True, lanes.FIRST_LANES), (False, 3 * lanes.MORE_LANES)])
async def test_a_busy_thread_adds_no_lanes(monkeypatch: pytest.MonkeyPatch, *, busy: bool, most: int) -> None:
    stage = StageEnv(most=3 * lanes.MORE_LANES)
    files = {f"{number:04}": random_bytes(20, number) for number in range(1500)}
    asked, at_once, head = 0, 0, stage.reader.head

    async def slow(location: Location) -> ObjectInfo:
        nonlocal asked, at_once
        asked += 1
        at_once = max(at_once, asked)
        await asyncio.sleep(0.003)
        asked -= 1
        return await head(location)

    stage.reader.head = slow  # type: ignore[method-assign]
    monkeypatch.setattr(lanes, "thread_time", monotonic if busy else lambda: 0.0)
    assert await build(stage, [*sought(stage, files)], part=10_000) == files
    assert at_once == most


async def test_a_large_member_is_read_while_the_response_of_a_small_one_does_not_come() -> None:
    stage = StageEnv(total=3 * PART)  # no other byte of room than the third buffer's
    files = {"film": random_bytes(5 * PART, 1), "last": random_bytes(10, 2)}
    wanted, uploaded = sought(stage, files), asyncio.Event()
    head = stage.reader.head

    async def late(location: Location) -> ObjectInfo:
        if location.key == "last":
            await uploaded.wait()
        return await head(location)

    stage.reader.head = late  # type: ignore[method-assign]
    create = stage.store.create_upload

    async def created(target: Target) -> FakeUpload:
        uploaded.set()
        return await create(target)

    stage.store.create_upload = created  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        assert await build(stage, [*wanted]) == files


async def test_a_small_archive_asks_once_more_for_the_object_that_it_waits_for() -> None:
    stage = StageEnv()
    files = {name: random_bytes(10, number) for number, name in enumerate("abc")}
    wanted, asked = sought(stage, files), Counter[str]()
    head = stage.reader.head

    async def never_at_first(location: Location) -> ObjectInfo:
        asked[location.key] += 1
        if location.key == "b" and asked["b"] == 1:
            await asyncio.Event().wait()
        return await head(location)

    stage.reader.head = never_at_first  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        assert await build(stage, [*wanted]) == files

    assert asked == {"a": 1, "b": 2, "c": 1}


@pytest.mark.parametrize("place", [0, 20, 39])
async def test_a_problem_ends_the_build_and_leaves_no_upload(place: int) -> None:
    stage = StageEnv()
    files = sought(stage, {f"{number:03}": random_bytes(900, number) for number in range(40)})
    stage.s3.make_unavailable(files[place].location, "source_denied")

    with pytest.raises(SourceUnavailable):
        await build(stage, [*files], part=1000)

    assert not stage.store.pending
    assert "complete" not in stage.store.events
    assert stage.budget.used == 0
    assert len(asyncio.all_tasks()) == 1


async def test_an_archive_that_outgrows_its_limits_is_told() -> None:
    stage = StageEnv()
    files = sought(stage, {f"{number:03}": random_bytes(50, number) for number in range(40)})

    with pytest.raises(OutgrownError, match="1,000 bytes of files"):
        await build(stage, [*files], max_bodies=1000)


def holding(stage: StageEnv, key: str, release: asyncio.Event, before: Callable[[], object] = lambda: None) -> None:
    """The first response about *key* waits for *release*, and *before* runs when it is asked for again."""
    head, asked = stage.reader.head, [0]

    async def held(location: Location) -> ObjectInfo:
        if location.key == key:
            asked[0] += 1
            if asked[0] == 1:
                await release.wait()
            else:
                before()
        return await head(location)

    stage.reader.head = held  # type: ignore[method-assign]


async def test_a_slow_object_at_the_head_is_asked_for_once_more_and_the_first_response_counts() -> None:
    """It is overwritten between the two: the second response is the archive's, whole."""
    stage = StageEnv()
    files = {f"{number:03}": random_bytes(50, number) for number in range(30)}
    asked = sought(stage, files)
    holding(stage, "000", asyncio.Event(), lambda: stage.s3.put("source", "000", b"new"))

    assert await build(stage, [*asked], part=1000) == files | {"000": b"new"}
    assert stage.fetcher.resumes["hedged"] == 1


@pytest.mark.parametrize(("others", "hedged"), [(gather.OVERTAKEN_BY, 1), (gather.OVERTAKEN_BY - 1, 0)])
async def test_an_object_that_many_have_overtaken_is_asked_for_sooner(
    others: int, hedged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few have, the store may be slow with all of them."""
    monkeypatch.setattr(gather, "HEDGE_TICKS", 1000)
    stage, release = StageEnv(), asyncio.Event()
    files = {f"{number:03}": random_bytes(50, number) for number in range(1 + others)}
    asked = sought(stage, files)
    holding(stage, "000", release)
    asyncio.get_running_loop().call_later((gather.OVERTAKEN_TICKS + 8) * gather.HEDGE_TICK_SECONDS, release.set)

    assert await build(stage, [*asked], part=10_000) == files
    assert stage.fetcher.resumes["hedged"] == hedged


async def test_hedges_are_bounded() -> None:
    stage = StageEnv()
    stage.reader.faults.plan("head", delay=(gather.HEDGE_TICKS + 2) * gather.HEDGE_TICK_SECONDS, times=0)

    await build(stage, [*sought(stage, {f"{number:03}": b"x" for number in range(20)})], part=1000)

    assert stage.fetcher.resumes["hedged"] <= gather.MIN_HEDGES


async def test_nobody_looks_for_a_slow_response_once_all_have_arrived() -> None:
    """The end of a large member is read, or copied, for minutes after that."""
    stage = StageEnv()
    gathered = Gather([stage.member("a", b"1", pinned=False)], stage.fetcher, Room(stage.budget, 1 << 20))

    assert gathered.find_next() is None
    async with asyncio.timeout(30):
        await gathered.hedge()


async def test_of_two_responses_about_one_object_the_first_counts() -> None:
    """And the second takes no room."""
    stage, room = StageEnv(), Room(BufferPool(1 << 20), 1 << 20)
    files = sought(stage, {"a": b"first", "b": b"another"})
    line = Gather(files, stage.fetcher, room)
    read = line.next()
    assert read is not None
    line.arrived(read, await stage.reader.head(read.location), memoryview(b"first"))
    stage.s3.put("source", "a", b"a second")
    line.arrived(read, await stage.reader.head(read.location), memoryview(b"a second"))

    assert [member.size for member in line.line.waiting] == [5]
    assert room.used == 5


async def test_a_body_that_was_damaged_on_its_way_is_read_again() -> None:
    stage = StageEnv()
    files = {"a": b"intact", "b": b"also intact"}
    read, damaged = stage.reader.read, list[Location]()

    async def damaging(location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        await read(location, etag, start, into)
        if location not in damaged:
            damaged.append(location)
            into[0][0] ^= 1

    stage.reader.read = damaging  # type: ignore[method-assign]
    assert await build(stage, [*sought(stage, files)], part=1000) == files
    assert len(damaged) == 2


async def test_a_member_of_three_parts_waits_for_the_buffer_that_early_bodies_use() -> None:
    """A body on its way can't be given up: its response has to come first."""
    stage = StageEnv(total=3 * PART)
    room, ledger = Room(stage.budget, 0), Ledger(PART)
    large, small = stage.member("large", random_bytes(3 * PART)), stage.member("small", b"small")
    line = InOrder(2, room, lambda _: None, lambda: None)
    async with (
        open_upload(stage.store, TARGET, FakeHold(), None) as upload,
        stage.budget.reservation(PART, 3) as reservation,
    ):
        assembly = Assembly(ledger, reservation, stage.fetcher, upload, stage.progress)
        building = asyncio.create_task(assembly.run(lambda: line.feed(assembly, reservation)))
        await asyncio.sleep(0)
        assert room.take(PART), "one of the three buffers is spare"
        line.keep(0, Arrival(large))
        for _ in range(9):
            await asyncio.sleep(0)
        assert ledger.members == [], "its bytes would be the third buffer's"
        room.give(PART)
        line.keep(1, Arrival(small))
        await building

    assert [*read_zip(stage.archive())] == ["large", "small"]
