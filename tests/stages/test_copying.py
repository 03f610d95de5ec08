"""The store copies the ends of large members by itself; the rest is filled around them, into the same archive."""

import asyncio
from collections.abc import Sequence

import pytest
from fakes import FakeHold

from archiver.core.copies import CopyLimits, plan_copies
from archiver.core.layout import MIB, MIN_PART_SIZE
from archiver.core.plan import Member
from archiver.errors import CopyRefused, SourceChanged, TransferInterrupted, TransientError
from archiver.ports import StoredArchive
from archiver.stages import copying as copying_stage
from archiver.stages.copying import Copying
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.stored import StoredBuild
from archiver.stages.upload import open_upload
from stages.builders import TARGET, StageEnv, random_bytes, read_zip

LIMITS = CopyLimits(cost=0, copied=10 * MIB)
VIDEO = random_bytes(25 * MIB + 7)


async def build(
    stage: StageEnv,
    members: Sequence[Member],
    limiter: AdaptiveLimiter | None = None,
    *,
    publish: FakeHold | None = None,
) -> StoredArchive:
    plan = plan_copies(members, LIMITS)
    assert plan is not None
    async with open_upload(stage.store, TARGET, publish or FakeHold(), None) as upload:
        copying = Copying(plan, members, upload, limiter or AdaptiveLimiter(4))
        made = StoredBuild(members, stage.budget, stage.fetcher, upload, copying=copying)
        return (await made.run(stage.progress))[0]


def env(total: int = 30 * MIB) -> StageEnv:
    stage = StageEnv(total)
    stage.store.min_part_bytes = MIN_PART_SIZE
    return stage


async def test_members_of_all_sizes_are_in_the_archive_whole_and_in_order() -> None:
    """In the smallest budget: 0 bytes, 5 MiB, 5 MiB and a byte, small ones, inline text, two large ones in a row."""
    stage = env()
    sizes = {"nothing": 0, "five": MIN_PART_SIZE, "more": MIN_PART_SIZE + 1, "tiny": 9, "half": 700_000, "six": 6 * MIB}
    data = {path: VIDEO[:size] for path, size in sizes.items()} | {"v/1": VIDEO, "v/2": VIDEO[1:], "note": b"hello"}
    order = ["nothing", "tiny", "v/1", "v/2", "five", "more", "half", "note", "six"]
    members = [stage.member(path, data[path], pinned=path != "note") for path in order]

    stored = await build(stage, members)

    archive = stage.archive()
    assert list(read_zip(archive).items()) == [(path, data[path]) for path in order]
    assert stored.size == len(archive)
    assert {event.split()[0] for event in stage.store.events} == {"begin", "part", "copy", "complete"}
    assert (stage.progress.files, stage.progress.bytes) == (len(data), sum(map(len, data.values())))


async def test_only_what_is_not_copied_is_read() -> None:
    stage = env()
    members = [stage.member(f"v/{number}", VIDEO[number:]) for number in range(3)]

    await build(stage, members)

    assert sum(length for _, _, length in stage.reader.reads) < 3 * MIN_PART_SIZE + 1
    assert len([event for event in stage.store.events if event.startswith("copy")]) == 3 * 3


async def test_held_back_parts_do_not_block_each_other() -> None:
    """Every filled part waits for the CRC of a slow copy, and there are only three buffers."""
    stage = env()
    members = [stage.member(f"v/{number}", VIDEO[: 11 * MIB + number]) for number in range(8)]
    stage.store.faults.plan("copy", delay=0.05, times=0)

    async with asyncio.timeout(30):
        await build(stage, members, AdaptiveLimiter(1))

    assert len(read_zip(stage.archive())) == 8


async def test_an_object_that_was_replaced_since_the_plan_is_never_mixed_in() -> None:
    stage = env()
    members = [stage.member("v", VIDEO)]
    stage.s3.put("source", "v", VIDEO[::-1])

    with pytest.raises(SourceChanged) as caught:
        await build(stage, members)

    assert str(caught.value.location) == "s3://source/v"
    assert not stage.store.pending
    assert TARGET.key not in [location.key for location in stage.s3.objects]


async def test_a_refused_copy_ends_the_attempt_and_leaves_nothing() -> None:
    stage = env()
    members = [stage.member("v", VIDEO)]
    stage.store.faults.plan("copy", CopyRefused("501", None))

    with pytest.raises(CopyRefused):
        await build(stage, members)

    assert not stage.store.pending


async def test_throttled_copies_are_repeated_with_fewer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.stages.retry.BACKOFF_CAP", 0.0)
    stage, limiter = env(), AdaptiveLimiter(8, decrease_interval=0)
    stage.store.faults.plan("copy", TransferInterrupted("SlowDown", throttled=True), times=3)

    await build(stage, [stage.member("v", VIDEO)], limiter)

    assert limiter.limit < 8
    assert read_zip(stage.archive()) == {"v": VIDEO}


async def test_copies_that_fail_for_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.stages.retry.BACKOFF_CAP", 0.0)
    monkeypatch.setattr(copying_stage, "COPY_RETRY_SECONDS", 0.0)
    stage = env()
    stage.store.faults.plan("copy", TransientError("500"), times=0)

    with pytest.raises(CopyRefused, match="500"):
        await build(stage, [stage.member("v", VIDEO)])


async def test_a_copy_that_hangs_is_begun_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying_stage, "HANGING_SECONDS", 0.05)
    monkeypatch.setattr(copying_stage, "SLOWEST_COPY", 1000 * MIB)
    stage = env()
    stage.store.faults.plan("copy", delay=3600, times=1)

    await build(stage, [stage.member("v", VIDEO)])

    assert read_zip(stage.archive()) == {"v": VIDEO}


async def test_a_copy_that_hangs_twice_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two minutes, not after an hour of time-outs."""
    monkeypatch.setattr(copying_stage, "HANGING_SECONDS", 0.05)
    monkeypatch.setattr(copying_stage, "SLOWEST_COPY", 1000 * MIB)
    stage = env()
    stage.store.faults.plan("copy", delay=3600, times=0)

    with pytest.raises(CopyRefused, match="twice"):
        await build(stage, [stage.member("v", VIDEO)])

    assert not stage.store.pending
