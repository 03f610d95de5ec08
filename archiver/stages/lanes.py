"""
Lanes of one job: each asks its queue for one object after another. What has no plain response is asked again by
`Fetcher`, which has the patience and knows all errors; meanwhile its lane asks for nothing else, so a store that is
down gets no more requests than there are lanes.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic, thread_time

from archiver.core.objects import ObjectInfo
from archiver.ports import Unanswered, WholeRead
from archiver.stages.fetch import Fetcher

FIRST_LANES = 8
"""Lanes that start at once."""

MORE_LANES = 16
"""Lanes that are added at a time."""

GROW_SECONDS = 0.01
"""Lanes are added while requests are still sent after so long: a job that is over sooner needs no more."""

BUSY_SHARE = 0.9
"""Of the time: a thread that computes so much adds no lanes. Each would be a connection, and wait for its turn."""


class LaneQueue(ABC):
    """A `ReadQueue` with lanes that rest while there is nothing to ask for."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._clock = asyncio.get_running_loop().time
        self._tasks: asyncio.TaskGroup | None = None  # of the lanes, while more may be added
        self._lanes: list[asyncio.Task[None]] = []
        self._max_lanes = 0
        self._grow_at = 0.0
        self._looked_at = (monotonic(), thread_time())
        self._resting: deque[asyncio.Future[None]] = deque()
        self._missed_wakes = 0

    @abstractmethod
    def find_next(self) -> WholeRead | None:
        """Return the next request; None: there is none now."""

    @abstractmethod
    def space(self, read: WholeRead, length: int) -> memoryview | None:
        """See `ReadQueue`."""

    @abstractmethod
    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        """See `ReadQueue`."""

    @abstractmethod
    async def recover(self, unanswered: Unanswered) -> None:
        """Ask again with patience. Raises what the read of an object raises."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether there will be no further request."""

    @asynccontextmanager
    async def lanes(self, most: int) -> AsyncIterator[asyncio.TaskGroup]:
        """Run up to *most* lanes beside the block, in the task group that it gets, until all is asked for."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks, self._max_lanes = tasks, max(1, most)
                self._add_lanes(FIRST_LANES)
                try:
                    yield tasks
                except BaseException:
                    self._tasks = None  # the group ends its tasks: none may be added
                    raise
        finally:
            self._tasks = None

    def _add_lanes(self, more: int) -> None:
        if self._tasks is None:
            return
        for number in range(len(self._lanes), min(len(self._lanes) + more, self._max_lanes)):
            self._lanes.append(self._tasks.create_task(self._run_lane(), name=f"lane.{number}"))
        self._grow_at = self._clock() + GROW_SECONDS
        if len(self._lanes) < self._max_lanes:
            asyncio.get_running_loop().call_later(GROW_SECONDS, self.grow)  # the first responses may take longer

    def next(self) -> WholeRead | None:
        self.grow()
        if self._fetcher.limiter.should_yield():  # this lane waits for its turn again
            self._missed_wakes += 1
            return None
        return self.find_next()

    def grow(self) -> None:
        """Add lanes if all wait for responses, and this thread does, too."""
        if len(self._lanes) == self._max_lanes or self._clock() < self._grow_at or self.exhausted:
            return
        if self._resting or not self._fetcher.limiter.has_free_place:
            return
        if self._is_busy():
            self._grow_at = self._clock() + GROW_SECONDS
        else:
            self._add_lanes(MORE_LANES)

    def _is_busy(self) -> bool:
        """Whether this thread computed most of the time since the last call: it could not serve more lanes."""
        since, computed = self._looked_at
        self._looked_at = now, total = monotonic(), thread_time()
        return total - computed > BUSY_SHARE * (now - since)

    def end_lanes(self) -> None:
        """End all lanes: what they still ask for is not needed."""
        self._tasks = None
        for lane in self._lanes:
            lane.cancel()

    async def _run_lane(self) -> None:
        """Ask until nothing is left. Raises as `recover` does."""
        try:
            await self._ask_for_all()
        except BaseException:
            self._tasks = None
            raise

    async def _ask_for_all(self) -> None:
        while not self.exhausted:
            unanswered = await self._fetcher.serve(self)
            if unanswered is not None:
                await self.recover(unanswered)
            elif self._missed_wakes:
                self._missed_wakes -= 1
            elif not self.exhausted:
                await self._rest()

    async def _rest(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._resting.append(woken)
        try:
            await woken
        finally:
            if not woken.done():
                self._resting.remove(woken)

    def wake(self, lanes: int = 1) -> None:
        """Let up to *lanes* ask again. One that is about to rest is woken, too: no wake is lost."""
        if not self._resting:
            self._missed_wakes = max(self._missed_wakes, 1)
        while self._resting and lanes:
            woken = self._resting.popleft()
            if not woken.done():
                woken.set_result(None)
                lanes -= 1

    def wake_all(self) -> None:
        """Let all ask again, or end."""
        self.wake(len(self._resting))
