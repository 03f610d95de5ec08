"""Controls for the fakes: a manual clock, failure or delay of the n-th call, a gauge of bytes in flight."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass
class ManualClock:
    """A monotonic clock in seconds that changes only when a test advances it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class _PlannedFault:
    error: BaseException | None
    delay: float
    after: bool


@dataclass
class Faults:
    """
    Planned faults: `faults.plan("part", error, nth=2)` fails the second `part` from now.

    *times* calls in a row fail (0: all from then on). *delay*: seconds to wait before the call. *after*: the call
    takes effect and then fails, as if its response were lost. `calls` counts the calls of each verb.
    """

    calls: Counter[str] = field(default_factory=Counter)
    _plans: list[tuple[str, range, _PlannedFault]] = field(default_factory=list)

    def plan(
        self,
        verb: str,
        error: BaseException | None = None,
        *,
        nth: int = 1,
        times: int = 1,
        delay: float = 0,
        after: bool = False,
    ) -> None:
        first = self.calls[verb] + nth
        self._plans.append((verb, range(first, first + (times or 10**9)), _PlannedFault(error, delay, after)))

    @asynccontextmanager
    async def __call__(self, verb: str) -> AsyncIterator[None]:
        """Wrap one call of *verb*."""
        self.calls[verb] += 1
        number = self.calls[verb]
        hits = [hit for planned, numbers, hit in self._plans if planned == verb and number in numbers]
        await asyncio.sleep(sum(hit.delay for hit in hits))  # also for 0: every real call yields to other tasks
        self._fail(hits, after=False)
        yield
        self._fail(hits, after=True)

    def _fail(self, hits: list[_PlannedFault], *, after: bool) -> None:
        for hit in hits:
            if hit.error is not None and hit.after is after:
                raise hit.error


@dataclass
class InFlightGauge:
    """Bytes of calls in flight: `alive` is the current sum, `peak` the maximum."""

    alive: int = 0
    peak: int = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        self.alive += size
        self.peak = max(self.peak, self.alive)
        try:
            yield
        finally:
            self.alive -= size
