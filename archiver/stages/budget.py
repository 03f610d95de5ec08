"""
The memory budget: every byte of a body in flight lives in a buffer that was taken from here.

    bytes mapped for bodies, idle ones too  ≤  total,    whatever the number of jobs, the size of objects and archives
    number of mappings  ≤  total / 64 KiB in use + 32 idle

Buffers come in few sizes (`mapping_size`), so that one job's memory fits the next one's: what is mapped is what counts.

A job takes a *reservation*: a few buffers guaranteed, reserved together or not at all and in order of asking, and
further ones while there is room and nobody waits for a reservation. Because a share's guaranteed buffers are never lent
out, and a job that waits for its reservation holds nothing yet, jobs can't wait for each other in a circle.
"""

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

MIN_MAPPING_BYTES = 64 * 1024  # bytes of a mapping
MAPPING_STEP_BYTES = 1024 * 1024  # above 4 MiB
MAX_IDLE_MAPPINGS = 32  # mappings


def mapping_size(size: int) -> int:
    """How many bytes a buffer of *size* takes: a power of two from 64 KiB to 4 MiB, above that whole MiB."""
    if size > 4 * MAPPING_STEP_BYTES:
        return -(-size // MAPPING_STEP_BYTES) * MAPPING_STEP_BYTES
    return max(MIN_MAPPING_BYTES, 1 << (size - 1).bit_length())


@dataclass(slots=True)
class _Waiter:
    size: int
    granted: asyncio.Future[None]


class BufferPool:
    """
    *total* bytes for all jobs of the process. Buffers are anonymous memory maps, kept for the next user of that size.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._waiters: deque[_Waiter] = deque()
        self._idle: list[mmap.mmap] = []
        self._active: set[Reservation] = set()

    @asynccontextmanager
    async def reservation(self, size: int, reserved: int) -> AsyncIterator["Reservation"]:
        """
        A job's share: *reserved* buffers of *size* bytes each. Waits its turn. Raises ValueError beyond the total.
        """
        needed = self.charged_size(size) * reserved
        if needed > self.total:
            raise ValueError(f"{reserved} buffers of {size} bytes do not fit in {self.total}")
        await self._reserve(needed)
        reservation = Reservation(self, size, reserved)
        self._active.add(reservation)
        try:
            yield reservation
        finally:
            self._active.discard(reservation)
            reservation.close()
            self._release(needed)

    def charged_size(self, size: int) -> int:
        """
        What a buffer of *size* bytes is mapped as, and counts. Not above the third of the total that parts may have:
        three of them fit.
        """
        return max(size, min(mapping_size(size), self.total // 3))

    async def _reserve(self, size: int) -> None:
        if not self._waiters and self.used + size <= self.total:
            self.used += size
            return
        waiter = _Waiter(size, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                with suppress(ValueError):  # whoever gave back in the same moment has dropped it
                    self._waiters.remove(waiter)
                self._grant_waiters()  # the next one may fit
            else:
                self._release(size)  # granted in the same moment
            raise

    @property
    def buffers_in_use(self) -> int:
        """How many buffers are in use."""
        return sum(reservation.in_use for reservation in self._active)

    def try_acquire_extra(self, size: int) -> bool:
        """One more buffer for a share, unless a job waits for its reservation."""
        if self._waiters or self.used + size > self.total:
            return False
        self.used += size
        return True

    def release_extra(self, size: int) -> None:
        self._release(size)

    def _release(self, size: int) -> None:
        self.used -= size
        self._grant_waiters()

    def _grant_waiters(self) -> None:
        while self._waiters and self.used + self._waiters[0].size <= self.total:
            waiter = self._waiters.popleft()
            if waiter.granted.done():  # cancelled, and not yet told
                continue
            self.used += waiter.size
            waiter.granted.set_result(None)
        for reservation in self._active:
            reservation.notify()

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

    def recycle(self, buffer: mmap.mmap) -> None:
        """For the next one of that size. The kernel bounds mappings, too: those that were idle longest go."""
        self._idle.append(buffer)
        del self._idle[:-MAX_IDLE_MAPPINGS]


@dataclass(eq=False, slots=True)
class Reservation:
    """One job's part of the budget: buffers of *size* bytes. `acquire` and `release` one buffer at a time."""

    budget: BufferPool
    size: int
    reserved: int
    _in_use: dict[int, mmap.mmap] = field(default_factory=dict)
    _waiting: asyncio.Future[None] | None = None

    @property
    def _charged_size(self) -> int:
        return self.budget.charged_size(self.size)

    @property
    def in_use(self) -> int:
        """How many of its buffers are in use."""
        return len(self._in_use)

    async def acquire(self) -> memoryview:
        """
        A buffer of *size* bytes (its old content stands in it): a guaranteed one, else an extra one, else wait for
        either. One caller at a time.
        """
        while not (len(self._in_use) < self.reserved or self.budget.try_acquire_extra(self._charged_size)):
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        buffer = self.budget.buffer(self._charged_size)
        view = memoryview(buffer)[: self.size]
        self._in_use[id(view.obj)] = buffer
        return view

    def release(self, view: memoryview) -> None:
        """Return a buffer that `acquire` gave. Nobody may read or write it any more."""
        buffer = self._in_use.pop(id(view.obj))
        self.budget.recycle(buffer)
        if len(self._in_use) >= self.reserved:
            self.budget.release_extra(self._charged_size)
        self.notify()

    def notify(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Give back whatever is still held: its job has ended, well or not."""
        extra = max(0, len(self._in_use) - self.reserved)
        for buffer in self._in_use.values():
            self.budget.recycle(buffer)
        self._in_use.clear()
        for _ in range(extra):
            self.budget.release_extra(self._charged_size)
