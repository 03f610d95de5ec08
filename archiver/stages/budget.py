"""
The memory budget: every byte of a body in flight lives in a buffer that was taken from here.

    bytes mapped for bodies, idle ones too  ≤  total,    whatever the number of jobs, the size of objects and archives
    number of mappings  ≤  total / 64 KiB in use + 32 idle

Buffers come in few sizes (`mapped`), so that one job's memory fits the next one's: what is mapped is what counts.

A job takes a *share*: a few buffers guaranteed, reserved together or not at all and in order of asking, and further
ones while there is room and nobody waits for a reservation. Because a share's guaranteed buffers are never lent out,
and a job that waits for its reservation holds nothing yet, jobs can't wait for each other in a circle.
"""

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

SMALLEST = 64 * 1024  # bytes of a mapping
STEP = 1024 * 1024  # above 4 MiB
MOST_IDLE = 32  # mappings


def mapped(size: int) -> int:
    """How many bytes a buffer of *size* takes: a power of two from 64 KiB to 4 MiB, above that whole MiB."""
    if size > 4 * STEP:
        return -(-size // STEP) * STEP
    return max(SMALLEST, 1 << (size - 1).bit_length())


@dataclass(slots=True)
class _Waiter:
    size: int
    granted: asyncio.Future[None]


class Budget:
    """
    *total* bytes for all jobs of the process. Buffers are anonymous memory maps, kept for the next user of that size.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._reservations: deque[_Waiter] = deque()
        self._idle: list[mmap.mmap] = []
        self._shares: set[Share] = set()

    @asynccontextmanager
    async def share(self, size: int, guaranteed: int) -> AsyncIterator["Share"]:
        """
        A job's share: *guaranteed* buffers of *size* bytes each. Waits its turn. Raises ValueError beyond the total.
        """
        wanted = self.counted(size) * guaranteed
        if wanted > self.total:
            raise ValueError(f"{guaranteed} buffers of {size} bytes do not fit in {self.total}")
        await self._reserve(wanted)
        share = Share(self, size, guaranteed)
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)
            share.close()
            self._release(wanted)

    def counted(self, size: int) -> int:
        """
        What a buffer of *size* bytes is mapped as, and counts. Not above the third of the total that parts may have:
        three of them fit.
        """
        return max(size, min(mapped(size), self.total // 3))

    async def _reserve(self, size: int) -> None:
        if not self._reservations and self.used + size <= self.total:
            self.used += size
            return
        waiter = _Waiter(size, asyncio.get_running_loop().create_future())
        self._reservations.append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                with suppress(ValueError):  # whoever gave back in the same moment has dropped it
                    self._reservations.remove(waiter)
                self._grant()  # the next one may fit
            else:
                self._release(size)  # granted in the same moment
            raise

    @property
    def lent(self) -> int:
        """How many buffers are in use."""
        return sum(share.held for share in self._shares)

    def take_extra(self, size: int) -> bool:
        """One more buffer for a share, unless a job waits for its reservation."""
        if self._reservations or self.used + size > self.total:
            return False
        self.used += size
        return True

    def give_extra(self, size: int) -> None:
        self._release(size)

    def _release(self, size: int) -> None:
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._reservations and self.used + self._reservations[0].size <= self.total:
            waiter = self._reservations.popleft()
            if waiter.granted.done():  # cancelled, and not yet told
                continue
            self.used += waiter.size
            waiter.granted.set_result(None)
        for share in self._shares:
            share.wake()

    def buffer(self, size: int) -> mmap.mmap:
        """
        Memory for a buffer that was taken and counts as *size*. An idle one of that size is used again: fresh pages
        cost more than they hold.
        """
        for index, idle in enumerate(self._idle):
            if len(idle) == size:
                return self._idle.pop(index)
        # Idle buffers are not counted as used: make sure that idle and used together stay within the total.
        while self._idle and self.used + sum(map(len, self._idle)) > self.total:
            self._idle.pop(0)
        return mmap.mmap(-1, size)

    def keep(self, buffer: mmap.mmap) -> None:
        """For the next one of that size. The kernel bounds mappings, too: those that were idle longest go."""
        self._idle.append(buffer)
        del self._idle[:-MOST_IDLE]


@dataclass(eq=False, slots=True)
class Share:
    """One job's part of the budget: buffers of *size* bytes. `take` and `give` one buffer at a time."""

    budget: Budget
    size: int
    guaranteed: int
    _held: dict[int, mmap.mmap] = field(default_factory=dict)
    _waiting: asyncio.Future[None] | None = None

    @property
    def _counted(self) -> int:
        return self.budget.counted(self.size)

    @property
    def held(self) -> int:
        """How many of its buffers are in use."""
        return len(self._held)

    async def take(self) -> memoryview:
        """
        A buffer of *size* bytes (its old content stands in it): a guaranteed one, else an extra one, else wait for
        either. One caller at a time.
        """
        while not (len(self._held) < self.guaranteed or self.budget.take_extra(self._counted)):
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        buffer = self.budget.buffer(self._counted)
        view = memoryview(buffer)[: self.size]
        self._held[id(view.obj)] = buffer
        return view

    def give(self, view: memoryview) -> None:
        """Return a buffer that `take` gave. Nobody may read or write it any more."""
        buffer = self._held.pop(id(view.obj))
        self.budget.keep(buffer)
        if len(self._held) >= self.guaranteed:
            self.budget.give_extra(self._counted)
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Give back whatever is still held: its job has ended, well or not."""
        extra = max(0, len(self._held) - self.guaranteed)
        for buffer in self._held.values():
            self.budget.keep(buffer)
        self._held.clear()
        for _ in range(extra):
            self.budget.give_extra(self._counted)
