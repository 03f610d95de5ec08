"""
Concurrent reads: resumed after a cut from the next byte, pinned to the planned ETag, checked against the store's
CRC-32.

The reader makes one attempt; the patience is here, and it is time, not tries: what fails at once, such as connections
that are refused while a NAT gateway is replaced, is tried for as long as what takes its time to fail.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import structlog

from archiver.core.backoff import full_jitter
from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo, Pinned
from archiver.errors import CredentialsRefused, Interrupted, SourceChanged, SourceUnavailable, Temporary
from archiver.ports import ObjectReader
from archiver.stages.limiter import Limiter

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """
    When a read is given up: after failures in a row, throttling apart, for *seconds*, at least *tries* of them; after
    *longest* seconds without progress, whatever it was; after *resumes* in all (four times as many while throttled).
    Waits between tries: random, of up to *base* to *cap* seconds.
    """

    seconds: float = 60.0
    tries: int = 8
    longest: float = 300.0
    resumes: int = 64
    base: float = 0.1
    cap: float = 20.0


class _Run:
    """The failures of one read. *since*: when those without progress began, by the monotonic clock."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self.since = self._broken_since = clock()
        self._in_a_row = self._broken = 0
        self.received = self.resumes = 0

    def failed(self, error: Interrupted) -> float | None:
        """Count *error*; the seconds to wait before the next try, None where it is not worth one."""
        now, patience = self._clock(), self._patience
        self.resumes += 1
        self.received += error.received
        anew = error.received or error.waited  # the time that it was held is none of the read's
        if anew:
            self.since, self._in_a_row = now, 0
        if anew or error.throttled:
            self._broken_since, self._broken = now, 0
        self._in_a_row += not error.received
        self._broken += not (error.received or error.throttled)
        left = patience.longest - (now - self.since)
        if not error.throttled:
            quick = patience.seconds - (now - self._broken_since)
            left = min(left, quick) if quick > 0 or self._broken >= patience.tries else left
        if left <= 0 or self.resumes > patience.resumes * (4 if error.throttled else 1):
            return None
        # The last try comes when the time is up, not a random while before that.
        return min(left, full_jitter(max(self._in_a_row, 1), patience.base, patience.cap, random.uniform))


class Fetcher:
    """All reads of the process go through one of these, so that one limit holds for all jobs."""

    def __init__(
        self,
        reader: ObjectReader,
        limiter: Limiter,
        patience: Patience | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reader = reader
        self._limiter = limiter
        self._patience = patience or Patience()
        self._clock = clock
        self.resumes: Counter[str] = Counter()
        """How often reads were tried again so far, by what had stopped them: `throttled` or `interrupted`."""

    @property
    def concurrency(self) -> int:
        """How many reads one job should have under way at the most."""
        return self._limiter.most

    async def head(self, location: Location) -> ObjectInfo:
        """What the store says of *location*. Raises SourceUnavailable, Temporary, CredentialsRefused."""

        async def once(_: int) -> ObjectInfo:
            return await self._reader.head(location)

        return await self._patiently(once, location)

    async def read(self, pinned: Pinned, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into* with the object's bytes from *start* on, all of them.

        Raises SourceChanged, SourceUnavailable, CredentialsRefused, each with its *location*; Temporary.
        """
        wanted = sum(map(len, into))

        async def once(received: int) -> None:
            views = _after(into, received) if received else into
            try:
                await self._reader.read(pinned.location, pinned.etag, start + received, views)
            except Interrupted as error:
                if received + error.received < wanted:  # else nothing is left to ask for but the answer's own end
                    raise

        if not wanted:
            return
        await self._patiently(once, pinned.location)

    async def _patiently(self, once: Callable[[int], Awaitable[T]], location: Location) -> T:
        try:
            try:  # the common case, kept short: it runs once for every small object
                async with self._limiter:
                    result = await once(0)
                self._limiter.succeeded()
            except Interrupted as error:
                result = await self._again(once, location, error)
        except (SourceUnavailable, SourceChanged, CredentialsRefused) as error:
            error.location = location
            raise
        return result

    async def _again(self, once: Callable[[int], Awaitable[T]], location: Location, error: Interrupted) -> T:
        run = _Run(self._patience, self._clock)
        while True:
            if error.throttled:
                self._limiter.throttled()
            wait = run.failed(error)
            if wait is None:
                tried = f"tried {run.resumes} times, {self._clock() - run.since:.0f} s without progress"
                raise Temporary(f"{location}: {error} ({tried})") from error
            self.resumes["throttled" if error.throttled else "interrupted"] += 1
            log.debug("read.again", source=str(location), reason=str(error), received=run.received, wait=round(wait, 3))
            await asyncio.sleep(wait)
            try:
                async with self._limiter:
                    result = await once(run.received)
            except Interrupted as next_error:
                error = next_error
            else:
                self._limiter.succeeded()
                return result


def _after(into: Sequence[memoryview], received: int) -> list[memoryview]:
    """What is left of *into* when its first *received* bytes are good."""
    rest = []
    for view in into:
        if received >= len(view):
            received -= len(view)
        else:
            rest.append(view[received:])
            received = 0
    return rest
