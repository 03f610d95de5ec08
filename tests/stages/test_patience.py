"""How long a read is tried: by the clock, not by the number of tries."""

from collections.abc import Sequence

import pytest
from fakes import ManualClock

from archiver.core.locations import Location
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.select import Prefix
from archiver.errors import TransferInterrupted, TransientError
from archiver.ports import ReadQueue, Unanswered
from archiver.stages.fetch import Fetcher, RetryPolicy, _RetryState
from stages.builders import StageEnv
from stages.test_fetch import pinned, views


class Away:
    """A network that is away for *seconds* of a hand clock; each try takes *each* of them and says *error*."""

    def __init__(self, seconds: float, each: float, error: TransferInterrupted) -> None:
        self.clock = ManualClock()
        self.back_at = self.clock() + seconds
        self.each, self.error = each, error
        self.stage = StageEnv()
        self.source = pinned(self.stage, b"x" * 10)
        patience = RetryPolicy(base=0.0, cap=0.0)  # the times are those of every worker
        self.fetcher = Fetcher(self, self.stage.limiter, patience, self.clock)
        self.tries = 0

    async def head(self, location: Location) -> ObjectInfo:
        raise NotImplementedError

    async def list(self, prefix: Prefix, token: str = "") -> ListPage:
        raise NotImplementedError

    async def serve(self, queue: ReadQueue) -> Unanswered | None:
        raise NotImplementedError

    async def read(self, location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        self.tries += 1
        if self.clock() < self.back_at:
            self.clock.advance(self.each)
            raise self.error
        await self.stage.reader.read(location, etag, start, into)

    async def fetch(self) -> None:
        await self.fetcher.read(self.source, 0, views(10)[1])


REFUSED, SLOW_DOWN = TransferInterrupted("ConnectionRefusedError"), TransferInterrupted("SlowDown", throttled=True)


@pytest.mark.parametrize(
    ("seconds", "each", "error"),
    [(59, 2, REFUSED), (180, 30, TransferInterrupted("no response in time")), (290, 5, SLOW_DOWN)],
)
async def test_what_is_away_for_a_while_ends_no_read(seconds: float, each: float, error: TransferInterrupted) -> None:
    """Connections that are refused at once, for a minute; answers that do not come; throttling, for five minutes."""
    away = Away(seconds, each, error)
    await away.fetch()
    assert away.tries > seconds / each


@pytest.mark.parametrize(
    ("each", "error", "within"),
    [(2, REFUSED, 64), (30, TransferInterrupted("no response in time"), 270), (5, SLOW_DOWN, 310)],
)
async def test_what_is_away_for_longer_is_given_up_in_a_bounded_time(
    each: float, error: TransferInterrupted, within: float
) -> None:
    away = Away(10_000, each, error)
    began = away.clock()
    with pytest.raises(TransientError, match="s without progress"):
        await away.fetch()
    assert away.clock() - began <= within


async def test_a_read_that_was_held_through_an_outage_has_all_its_time_afterwards() -> None:
    """All workers resume at once, and are throttled: that is not the end of a read that has waited for an hour."""
    away = Away(60, 5, SLOW_DOWN)
    held = TransferInterrupted("SlowDown", throttled=True)
    held.was_paused = True
    answers = iter([REFUSED, held])

    async def hold(location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        if (error := next(answers, None)) is None:
            await Away.read(away, location, etag, start, into)
            return
        if error is held:
            away.clock.advance(3600)
            away.back_at += 3600
        raise error

    away.read = hold  # type: ignore[method-assign]
    await away.fetch()


async def test_one_failure_after_minutes_of_throttling_is_the_first_of_its_kind() -> None:
    away = Away(200, 5, SLOW_DOWN)

    async def read(location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        await Away.read(away, location, etag, start, into)

    again = iter([REFUSED] * 12)

    async def refuse(location: Location, etag: str, start: int, into: Sequence[memoryview]) -> None:
        if away.clock() >= away.back_at and (error := next(again, None)):
            raise error
        await read(location, etag, start, into)

    away.read = refuse  # type: ignore[method-assign]
    await away.fetch()


async def test_waits_end_when_the_time_is_up_and_a_last_try_is_made_then() -> None:
    """A wait of 20 s drawn in the last second would end a read that a try in time could save."""
    clock = ManualClock()
    began = clock()
    run = _RetryState(RetryPolicy(tries=2, base=1e6, cap=1e6), clock)
    while (wait := run.next_wait(REFUSED)) is not None:
        clock.advance(wait)
    assert clock() - began == pytest.approx(60)
