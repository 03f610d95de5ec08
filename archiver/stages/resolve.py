"""HEAD every object of a request, so that one rejection lists all problems."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.errors import CredentialsRefused, SourceChanged, SourceUnavailable, root_cause
from archiver.ports import Unanswered, WholeRead
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.lanes import LaneQueue

K = TypeVar("K")
V = TypeVar("V")


async def head_objects(
    locations: Iterable[Location], fetcher: Fetcher, credentials: CredentialCheck
) -> dict[Location, ObjectInfo | SourceUnavailable]:
    """
    HEAD each of *locations*, each distinct one once. Return the object's facts, or why it can't be read.

    Raises TransientError, ConfigurationError.
    """
    queue = _Heads(locations, fetcher, credentials)
    try:
        async with queue.lanes(min(fetcher.concurrency, queue.count)):
            pass
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return queue.found


class _Heads(LaneQueue):
    """HEADs of distinct *locations*."""

    def __init__(self, locations: Iterable[Location], fetcher: Fetcher, credentials: CredentialCheck) -> None:
        super().__init__(fetcher)
        distinct = dict.fromkeys(locations)
        self.count = len(distinct)
        self.found: dict[Location, ObjectInfo | SourceUnavailable] = {}
        self._credentials = credentials
        self._pending = iter(distinct)
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        return self._exhausted

    def find_next(self) -> WholeRead | None:
        location = next(self._pending, None)
        if location is None:
            self._exhausted = True
            return None
        return WholeRead(0, location, "HEAD")

    def space(self, read: WholeRead, length: int) -> memoryview | None:
        """A response to HEAD has no body."""
        del read, length
        return None

    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        del body
        self._fetcher.limiter.succeeded()
        self.found[read.location] = info

    async def recover(self, unanswered: Unanswered) -> None:
        location = unanswered.read.location
        try:
            self.found[location] = await self._fetcher.head(location)
        except SourceUnavailable as problem:
            self.found[location] = problem.with_traceback(None)  # frees its frames: there may be 70,000 of these
        except CredentialsRefused as refused:
            self.found[location] = await self._credentials.as_denial(refused)


async def probe_objects(
    pins: Iterable[ObjectVersion], fetcher: Fetcher, credentials: CredentialCheck
) -> dict[ObjectVersion, bool | SourceUnavailable]:
    """
    Read the first byte of each of *pins*, none of which is empty. Return True if it can be read, False if the object
    has changed, or why it can't be read. This finds what HEAD can't see, such as a KMS key that denies decryption, for
    all objects at once.

    Raises TransientError, ConfigurationError.
    """

    async def read(pinned: ObjectVersion) -> bool:
        try:
            await fetcher.read(pinned, 0, [memoryview(bytearray(1))])
        except SourceChanged:
            return False  # the next plan handles it
        return True

    return await run_distinct(pins, read, fetcher.concurrency, credentials)


async def run_distinct(
    keys: Iterable[K], call: Callable[[K], Awaitable[V]], concurrency: int, credentials: CredentialCheck
) -> dict[K, V | SourceUnavailable]:
    """
    Call *call* for each distinct one of *keys*, up to *concurrency* at once. Return the results, or why there is none.

    Raises TransientError, ConfigurationError, Rejected.
    """
    found: dict[K, V | SourceUnavailable] = {}
    distinct = dict.fromkeys(keys)
    pending = iter(distinct)
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(concurrency, len(distinct))):
                tasks.create_task(_run_queue(pending, call, found, credentials), name=f"resolve.{number}")
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return found


async def _run_queue(
    pending: Iterator[K],
    call: Callable[[K], Awaitable[V]],
    found: dict[K, V | SourceUnavailable],
    credentials: CredentialCheck,
) -> None:
    for one in pending:
        try:
            found[one] = await call(one)
        except SourceUnavailable as problem:
            found[one] = problem.with_traceback(None)  # frees its frames: there may be 70,000 of these
        except CredentialsRefused as refused:
            found[one] = await credentials.as_denial(refused)
