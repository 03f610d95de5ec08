"""
Concurrent reads with retries: resumed after an interruption from the next byte, and pinned to the planned ETag.

The reader makes one attempt; this module retries. The limit is time, not a number of tries: a failure that is
immediate, such as connections refused while a NAT gateway is replaced, is retried for as long as a slow one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TypeVar

import structlog

from archiver.core.backoff import full_jitter
from archiver.core.locations import Location
from archiver.core.objects import ListPage, ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.core.select import Prefix
from archiver.errors import CredentialsRefused, SourceChanged, SourceUnavailable, TransferInterrupted, TransientError
from archiver.ports import ObjectReader, ReadQueue, Unanswered
from archiver.stages.limiter import AdaptiveLimiter
from archiver.stages.tracing import current_trace

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    When a read fails for good:

    - after *seconds* of consecutive failures, at least *tries* of them, not counting throttling;
    - after *max_stalled* seconds without progress, for any reason;
    - after *resumes* retries in total (four times as many while throttled).

    Waits between tries are random, up to a limit that grows from *base* to *cap* seconds.
    """

    seconds: float = 60.0
    tries: int = 8
    max_stalled: float = 300.0
    resumes: int = 64
    base: float = 0.1
    cap: float = 20.0


class _RetryState:
    """The failures of one read. *stalled_since*: monotonic time since when no bytes have arrived."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self.stalled_since = self._failing_since = clock()
        self._stalled_failures = self._failures = 0
        self.received = self.resumes = 0

    def next_wait(self, error: TransferInterrupted) -> float | None:
        """Count *error*. Return the seconds to wait before the next try; None if there is no further try."""
        now, policy = self._clock(), self._policy
        self.resumes += 1
        self.received += error.received
        restarted = error.received or error.was_paused  # time for which the call was paused does not count
        if restarted:
            self.stalled_since, self._stalled_failures = now, 0
        if restarted or error.throttled:
            self._failing_since, self._failures = now, 0
        self._stalled_failures += not error.received
        self._failures += not (error.received or error.throttled)
        left = policy.max_stalled - (now - self.stalled_since)
        if not error.throttled:
            quick = policy.seconds - (now - self._failing_since)
            left = min(left, quick) if quick > 0 or self._failures >= policy.tries else left
        if left <= 0 or self.resumes > policy.resumes * (4 if error.throttled else 1):
            return None
        # The last try is made when the time is up, not at a random time before.
        return min(left, full_jitter(max(self._stalled_failures, 1), policy.base, policy.cap, random.uniform))


class Fetcher:
    """Reads objects for all jobs of the process, so that one concurrency limit applies to all."""

    def __init__(
        self,
        reader: ObjectReader,
        limiter: AdaptiveLimiter,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reader = reader
        self.limiter = limiter
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self.resumes: Counter[str] = Counter()
        """Read retries so far, by cause: `throttled`, `interrupted`, or `hedged` (asked twice: the first was slow)."""

    @property
    def concurrency(self) -> int:
        """Maximum number of concurrent reads for one job."""
        return self.limiter.max_concurrency

    async def head(self, location: Location) -> ObjectInfo:
        """HEAD *location*. Raises SourceUnavailable, TransientError, CredentialsRefused."""

        async def attempt(_: int) -> ObjectInfo:
            return await self._reader.head(location)

        return await self._with_retries(attempt, location)

    async def list(self, prefix: Prefix) -> AsyncIterator[ListPage]:
        """
        Yield the pages of the objects under *prefix*. An interrupted listing goes on at the page that it broke off at.

        Raises SourceUnavailable, TransientError, CredentialsRefused.
        """
        token: str | None = ""
        while token is not None:
            page = await self._with_retries(partial(self._list_page, prefix, token), prefix.location)
            yield page
            token = page.next or None

    async def _list_page(self, prefix: Prefix, token: str, _: int) -> ListPage:
        return await self._reader.list(prefix, token)

    async def read(self, pinned: ObjectVersion, start: int, into: Sequence[memoryview]) -> None:
        """
        Fill *into* completely with the object's bytes from *start* on.

        Raises SourceChanged, SourceUnavailable, CredentialsRefused, each with its *location*; TransientError.
        """
        length = sum(map(len, into))

        async def attempt(received: int) -> None:
            views = _remaining_views(into, received) if received else into
            try:
                await self._reader.read(pinned.location, pinned.etag, start + received, views)
            except TransferInterrupted as error:
                if received + error.received < length:  # else all bytes arrived: only the response's end is missing
                    raise

        if not length:
            return
        await self._with_retries(attempt, pinned.location)

    async def serve(self, queue: ReadQueue) -> Unanswered | None:
        """
        Answer the requests of *queue* one after another, as one of the concurrent reads. No retries; see
        `ObjectReader.serve`.
        """
        async with self.limiter:
            unanswered = await self._reader.serve(queue)
        if unanswered is not None and unanswered.throttled:
            self.limiter.throttled()
        return unanswered

    async def _with_retries(self, attempt: Callable[[int], Awaitable[T]], location: Location) -> T:
        try:
            try:  # the common case, kept short: it runs once for each small object
                async with self.limiter:
                    result = await attempt(0)
                self.limiter.succeeded()
            except TransferInterrupted as error:
                result = await self._retry(attempt, location, error)
        except (SourceUnavailable, SourceChanged, CredentialsRefused) as error:
            error.location = location
            raise
        return result

    async def _retry(self, attempt: Callable[[int], Awaitable[T]], location: Location, error: TransferInterrupted) -> T:
        run = _RetryState(self._policy, self._clock)
        while True:
            if error.throttled:
                self.limiter.throttled()
            wait = run.next_wait(error)
            if wait is None:
                tried = f"tried {run.resumes} times, {self._clock() - run.stalled_since:.0f} s without progress"
                raise TransientError(f"{location}: {error} ({tried})") from error
            self.resumes["throttled" if error.throttled else "interrupted"] += 1
            log.debug(
                "read.retried", source=str(location), reason=str(error), received=run.received, wait=round(wait, 3)
            )
            current_trace().event("read.retried", source=str(location), reason=str(error), received=run.received)
            await asyncio.sleep(wait)
            try:
                async with self.limiter:
                    result = await attempt(run.received)
            except TransferInterrupted as next_error:
                error = next_error
            else:
                self.limiter.succeeded()
                return result


def _remaining_views(into: Sequence[memoryview], received: int) -> list[memoryview]:
    """Return *into* without its first *received* bytes."""
    rest = []
    for view in into:
        if received >= len(view):
            received -= len(view)
        else:
            rest.append(view[received:])
            received = 0
    return rest
