"""
Lanes of one job: each asks its queue for one object after another. What has no plain response is asked again by
`Fetcher`, which has the patience and knows all errors; meanwhile its lane asks for nothing else, so a store that is
down gets no more requests than there are lanes.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque

from archiver.core.plan import ObjectInfo
from archiver.ports import Unanswered, WholeRead
from archiver.stages.fetch import Fetcher


class LaneQueue(ABC):
    """A `ReadQueue` with lanes that rest while there is nothing to ask for."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
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

    def next(self) -> WholeRead | None:
        if self._fetcher.limiter.should_yield():  # this lane waits for its turn again
            self._missed_wakes += 1
            return None
        return self.find_next()

    async def run_lane(self) -> None:
        """Ask until nothing is left. Raises as `recover` does."""
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
            self._missed_wakes = 1
        while self._resting and lanes:
            woken = self._resting.popleft()
            if not woken.done():
                woken.set_result(None)
                lanes -= 1

    def wake_all(self) -> None:
        """Let all ask again, or end."""
        self.wake(len(self._resting))
