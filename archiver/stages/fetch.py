"""
Concurrent reads: resumed after a cut from the next byte, pinned to the planned ETag, checked against the store's
CRC-32.

The reader makes one attempt; the patience is here. A read is given up when it has made no progress for
`Patience.seconds`, or after `Patience.tries` failures in a row that were not throttling, or after `Patience.resumes`
in all.
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
    When to stop trying: *seconds* without progress, *tries* in a row, *resumes* of one read. Waits: *base* to *cap*
    seconds.
    """

    seconds: float = 300.0
    tries: int = 8
    resumes: int = 64
    base: float = 0.1
    cap: float = 20.0


class Fetcher:
    """All reads of the process go through one of these, so that one limit holds for all jobs."""

    def __init__(self, reader: ObjectReader, limiter: Limiter, patience: Patience | None = None) -> None:
        self._reader = reader
        self._limiter = limiter
        self._patience = patience or Patience()
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
            if received < wanted:  # else all bytes came, though not the answer's end: no range is left to ask for
                views = _after(into, received) if received else into
                await self._reader.read(pinned.location, pinned.etag, start + received, views)

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
        patience, progress_at = self._patience, monotonic()
        received = in_a_row = resumes = 0
        while True:
            resumes += 1
            in_a_row = 0 if error.received else in_a_row + 1
            if error.received:
                received, progress_at = received + error.received, monotonic()
            if error.throttled:
                self._limiter.throttled()
            wait = full_jitter(max(in_a_row, 1), patience.base, patience.cap, random.uniform)
            hopeless = (in_a_row >= patience.tries and not error.throttled) or resumes > patience.resumes * (
                4 if error.throttled else 1
            )
            if hopeless or monotonic() + wait - progress_at > patience.seconds:
                raise Temporary(f"{location}: {error} (tried {resumes} times)") from error
            self.resumes["throttled" if error.throttled else "interrupted"] += 1
            log.debug("read.again", source=str(location), reason=str(error), received=received, wait=round(wait, 3))
            await asyncio.sleep(wait)
            try:
                async with self._limiter:
                    result = await once(received)
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
