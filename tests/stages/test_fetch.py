"""Reads: resumed, bounded, and slower when asked to be."""

import asyncio
import random
from typing import Any

import pytest
from fakes import FakeReader, FakeS3, ManualClock

from archiver.core.plan import ObjectVersion
from archiver.errors import ConfigurationError, SourceChanged, SourceUnavailable, TransferInterrupted, TransientError
from archiver.stages.fetch import Fetcher, RetryPolicy
from archiver.stages.limiter import AdaptiveLimiter
from stages.builders import StageEnv, random_bytes


def views(*sizes: int) -> tuple[list[bytearray], list[memoryview]]:
    buffers = [bytearray(size) for size in sizes]
    return buffers, [memoryview(buffer) for buffer in buffers]


def pinned(stage: StageEnv, data: bytes) -> ObjectVersion:
    member = stage.member("a", data)
    assert isinstance(member.content, ObjectVersion)
    return member.content


@pytest.mark.parametrize("after", [0, 1, 49, 50, 51, 99])
async def test_a_read_that_breaks_off_goes_on_at_the_next_byte(after: int) -> None:
    """Wherever it breaks, across views too; nothing is asked for twice."""
    stage, data = StageEnv(), random_bytes(100)
    source = pinned(stage, data)
    stage.reader.cut(source.location, after)
    buffers, into = views(50, 50)

    await stage.fetcher.read(source, 0, into)

    assert b"".join(buffers) == data
    assert [(start, length) for _, start, length in stage.reader.reads] == [(0, 100), (after, 100 - after)]


@pytest.mark.parametrize("sizes", [(100,), (50, 50), (0, 100, 0)])
async def test_a_body_of_which_only_the_end_was_lost_is_all_there(sizes: tuple[int, ...]) -> None:
    """A chunked body without its last chunk: no range is left that could be asked for."""
    stage, data = StageEnv(), random_bytes(100)
    source = pinned(stage, data)
    stage.reader.cut(source.location, 60)
    stage.reader.faults.plan("read", TransferInterrupted("connection closed", received=40), nth=2, after=True)
    buffers, into = views(*sizes)

    await stage.fetcher.read(source, 0, into)

    assert b"".join(buffers) == data
    assert [(start, length) for _, start, length in stage.reader.reads] == [(0, 100), (60, 40)]


async def test_a_body_that_is_all_there_is_taken_at_the_last_try_too() -> None:
    stage = StageEnv()
    source = pinned(stage, random_bytes(17))
    stage.reader.cut(source.location, 1, times=16)
    stage.reader.faults.plan("read", TransferInterrupted("connection closed", received=1), nth=17, after=True)

    await stage.fetcher.read(source, 0, views(17)[1])

    assert len(stage.reader.reads) == 17


async def test_nothing_to_read_is_not_asked_for() -> None:
    stage = StageEnv()
    await stage.fetcher.read(pinned(stage, b""), 0, views(0)[1])
    assert stage.reader.reads == []


async def test_a_read_without_progress_is_given_up_after_a_few_tries() -> None:
    stage = StageEnv()
    source = pinned(stage, b"x" * 10)
    stage.reader.cut(source.location, 0, times=100)

    with pytest.raises(TransientError, match="tried 4 times"):
        await stage.fetcher.read(source, 0, views(10)[1])


async def test_progress_renews_the_patience_but_not_without_end() -> None:
    """Ten cuts with a byte each time are survived; a body that comes byte by byte for ever is not."""
    stage = StageEnv()
    source = pinned(stage, random_bytes(100))
    stage.reader.cut(source.location, 1, times=10)
    await stage.fetcher.read(source, 0, views(100)[1])
    stage.reader.cut(source.location, 1, times=100)

    with pytest.raises(TransientError, match="tried 17 times"):
        await stage.fetcher.read(source, 0, views(100)[1])


class Lasting(FakeReader):
    """Every read takes 40 s by *clock*, and a moment in which others go on; `most` is how many there were at once."""

    def __init__(self, s3: FakeS3) -> None:
        super().__init__(s3)
        self.clock = ManualClock()
        self.running = self.most = 0

    async def read(self, *asked: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.clock.advance(40.0)
        try:
            await asyncio.sleep(0)
            await super().read(*asked)
        finally:
            self.running -= 1


@pytest.fixture
def lasting() -> tuple[StageEnv, Lasting, Fetcher]:
    """Reads that take long on a clock that the fetcher goes by; its patience is 300 s."""
    stage = StageEnv(most=2)
    reader = Lasting(stage.s3)
    return stage, reader, Fetcher(reader, stage.limiter, RetryPolicy(base=0.0, cap=0.0), reader.clock)


async def test_patience_runs_from_the_last_byte_and_not_from_the_first_try(
    lasting: tuple[StageEnv, Lasting, Fetcher],
) -> None:
    stage, reader, fetcher = lasting
    source = pinned(stage, random_bytes(100))
    reader.cut(source.location, 1, times=20)
    (buffer,), into = views(100)

    await fetcher.read(source, 0, into)

    assert bytes(buffer) == random_bytes(100)


async def test_patience_ends_without_a_byte_whatever_the_number_of_tries(
    lasting: tuple[StageEnv, Lasting, Fetcher],
) -> None:
    stage, reader, fetcher = lasting
    source = pinned(stage, random_bytes(100))
    reader.faults.plan("read", TransferInterrupted("SlowDown", throttled=True), times=0)

    with pytest.raises(TransientError, match="SlowDown"):
        await fetcher.read(source, 0, views(100)[1])

    assert reader.faults.calls["read"] == 9


async def test_reads_that_are_tried_again_stay_below_the_limit_too(lasting: tuple[StageEnv, Lasting, Fetcher]) -> None:
    stage, reader, fetcher = lasting
    sources = [stage.member(str(number), b"x" * 10).content for number in range(6)]
    reader.faults.plan("read", TransferInterrupted("cut"), times=6)

    await asyncio.gather(*(fetcher.read(one, 0, views(10)[1]) for one in sources if isinstance(one, ObjectVersion)))

    assert reader.most == 2


async def test_a_read_that_waits_to_be_tried_again_leaves_its_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    stage = StageEnv(most=1)
    one, two = (stage.member(path, b"x" * 10).content for path in "ab")
    assert isinstance(one, ObjectVersion) and isinstance(two, ObjectVersion)
    fetcher = Fetcher(stage.reader, stage.limiter, RetryPolicy(base=30.0, cap=60.0))
    stage.reader.cut(one.location, 0)
    waiting = asyncio.create_task(fetcher.read(one, 0, views(10)[1]))
    while not fetcher.resumes:
        await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await fetcher.read(two, 0, views(10)[1])

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_limit_that_rises_lets_in_who_waits() -> None:
    limiter = AdaptiveLimiter(2)
    limiter.throttled()
    async with limiter:
        waiting = asyncio.create_task(limiter.__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        limiter.succeeded()
        async with asyncio.timeout(5):
            await waiting


async def test_throttling_is_waited_out_longer_than_other_failures_and_lowers_the_limit() -> None:
    stage = StageEnv(most=8)
    source = pinned(stage, b"x" * 10)
    stage.reader.faults.plan("read", TransferInterrupted("SlowDown", throttled=True), times=20)

    await stage.fetcher.read(source, 0, views(10)[1])

    assert stage.limiter.limit < 8


async def test_throttling_without_end_is_given_up() -> None:
    stage = StageEnv()
    source = pinned(stage, b"x" * 10)
    stage.reader.faults.plan("read", TransferInterrupted("SlowDown", throttled=True), times=0)

    with pytest.raises(TransientError, match="SlowDown"):
        await stage.fetcher.read(source, 0, views(10)[1])


@pytest.mark.parametrize("error", [SourceChanged("x"), ConfigurationError("x")])
async def test_what_trying_again_cannot_help_is_told_at_once(error: Exception) -> None:
    stage = StageEnv()
    source = pinned(stage, b"x" * 10)
    stage.reader.faults.plan("read", error)

    with pytest.raises(type(error)):
        await stage.fetcher.read(source, 0, views(10)[1])

    assert stage.reader.faults.calls["read"] == 1


async def test_head_is_tried_again_but_a_missing_object_is_missing() -> None:
    stage = StageEnv()
    source = pinned(stage, b"x" * 10)
    stage.reader.faults.plan("head", TransferInterrupted("500"), times=2)
    assert (await stage.fetcher.head(source.location)).size == 10

    stage.s3.objects.clear()
    with pytest.raises(SourceUnavailable):
        await stage.fetcher.head(source.location)

    assert stage.reader.faults.calls["head"] == 4


@pytest.mark.parametrize("error", [SourceChanged("412"), SourceUnavailable("source_denied", "403")])
@pytest.mark.parametrize("cuts", [0, 2])
async def test_what_is_said_of_an_object_says_of_which(error: SourceChanged | SourceUnavailable, cuts: int) -> None:
    """At the first try, and at a later one."""
    stage = StageEnv()
    source = pinned(stage, b"x" * 10)
    stage.reader.faults.plan("read", TransferInterrupted("500"), times=cuts) if cuts else None
    stage.reader.faults.plan("read", error, nth=cuts + 1)

    with pytest.raises(type(error)):
        await stage.fetcher.read(source, 0, views(10)[1])

    assert error.location == source.location
