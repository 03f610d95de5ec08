"""
Buffer pool for all object bodies in memory.

    bytes mapped for bodies, idle buffers included  ≤  total, for any number of jobs and any sizes
    number of mappings  ≤  total / 64 KiB in use + 32 idle

Buffers have few sizes (`mapping_size`), so that the next job can reuse them. The bytes mapped are the bytes charged.

A job takes a *reservation*: a few guaranteed buffers, granted together or not at all and in order of request. It gets
further buffers while bytes are free and no job waits for a reservation. Guaranteed buffers are never given to another
job, and a job that waits for its reservation holds no buffer yet. What else it holds is `Revocable`: it is taken away
as soon as that is enough for the first job that waits. So jobs can't wait for each other in a circle.
"""

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

MIN_MAPPING_BYTES = 64 * 1024
MAPPING_STEP_BYTES = 1024 * 1024  # above 4 MiB
MAX_IDLE_MAPPINGS = 32


def mapping_size(size: int) -> int:
    """Return the bytes that a buffer of *size* maps: a power of two from 64 KiB to 4 MiB, above that whole MiB."""
    if size > 4 * MAPPING_STEP_BYTES:
        return -(-size // MAPPING_STEP_BYTES) * MAPPING_STEP_BYTES
    return max(MIN_MAPPING_BYTES, 1 << (size - 1).bit_length())


class Revocable(Protocol):
    """What a job holds of the pool while it waits for its reservation. It can do without at any time."""

    @property
    def charged(self) -> int:
        """Bytes that it is charged for."""

    def revoke(self, size: int) -> int:
        """Give up *size* bytes, or more, or all. Return how many: the pool takes them back by itself."""


@dataclass(slots=True)
class _Waiter:
    size: int
    granted: asyncio.Future[None]
    held: Revocable | None


class BufferPool:
    """
    *total* bytes for all jobs of the process. Buffers are anonymous memory maps, which are reused for the same size.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._waiters: deque[_Waiter] = deque()
        self._granting = False
        self._idle: list[mmap.mmap] = []
        self._active: set[Reservation] = set()

    @asynccontextmanager
    async def reservation(
        self, size: int, reserved: int, held: Revocable | None = None
    ) -> AsyncIterator["Reservation"]:
        """
        Reserve *reserved* buffers of *size* bytes for one job. Waits until they are free. Raises ValueError if they
        exceed the total. *held*: what the job holds already.
        """
        needed = self.charged_size(size) * reserved
        if needed > self.total:
            raise ValueError(f"{reserved} buffers of {size} bytes do not fit in {self.total}")
        await self._reserve(needed, held)
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
        Return the bytes that a buffer of *size* maps and is charged for. At most a third of the total (the limit of a
        part), so that three fit.
        """
        return max(size, min(mapping_size(size), self.total // 3))

    async def _reserve(self, size: int, held: Revocable | None) -> None:
        if not self._waiters and self.used + size <= self.total:
            self.used += size
            return
        waiter = _Waiter(size, asyncio.get_running_loop().create_future(), held)
        self._waiters.append(waiter)
        self._grant_waiters()  # what those who wait hold may be enough
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                with suppress(ValueError):  # `_grant_waiters` ran in the same moment and has removed it
                    self._waiters.remove(waiter)
                self._grant_waiters()  # the next one may fit
            else:
                self._release(size)  # granted in the same moment
            raise

    @property
    def buffers_in_use(self) -> int:
        """Number of buffers in use."""
        return sum(reservation.in_use for reservation in self._active)

    def try_acquire_extra(self, size: int) -> bool:
        """Charge *size* bytes for an extra buffer. False if they are not free or a job waits for its reservation."""
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
        if self._granting:  # what a job that gives up releases counts at once
            return
        self._granting = True
        while self._waiters:
            waiter = self._waiters[0]
            if not waiter.granted.done():  # else cancelled; its task has not run since
                if not self._have_free(waiter.size):
                    break
                self.used += waiter.size
                waiter.granted.set_result(None)
            self._waiters.popleft()
        self._granting = False
        for reservation in self._active:
            reservation.notify()

    def _have_free(self, size: int) -> bool:
        """Whether *size* bytes are free. If it takes that, those who wait give up what they hold, the last first."""
        held = [waiter.held for waiter in self._waiters if waiter.held is not None]
        if self.used + size > self.total + sum(one.charged for one in held):
            return False
        while self.used + size > self.total:
            given = held.pop().revoke(self.used + size - self.total)
            self.used -= given  # not before: whoever gives up may also release
        return True

    def buffer(self, size: int) -> mmap.mmap:
        """
        Return the memory of a buffer for which *size* bytes are charged. An idle one of that size is reused: fresh
        pages are slow, since the kernel has to clear them.
        """
        for index, idle in enumerate(self._idle):
            if len(idle) == size:
                return self._idle.pop(index)
        # Idle buffers are not charged: unmap some if idle and used ones together would exceed the total.
        while self._idle and self.used + sum(map(len, self._idle)) > self.total:
            self._idle.pop(0)
        return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # fresh pages of a shared one take longer

    def recycle(self, buffer: mmap.mmap) -> None:
        """Keep *buffer* for reuse. The kernel limits the number of mappings, so the longest idle ones are dropped."""
        self._idle.append(buffer)
        del self._idle[:-MAX_IDLE_MAPPINGS]


@dataclass(eq=False, slots=True)
class Reservation:
    """One job's buffers of *size* bytes each. `acquire` and `release` handle one buffer at a time."""

    budget: BufferPool
    size: int
    reserved: int
    spared: int = 0
    """Guaranteed buffers that `acquire` leaves alone: their bytes are used otherwise."""
    _in_use: dict[int, mmap.mmap] = field(default_factory=dict)
    _extras: int = 0  # buffers in use that are not guaranteed
    _waiting: asyncio.Future[None] | None = None
    _charged_size: int = field(init=False)

    def __post_init__(self) -> None:
        self._charged_size = self.budget.charged_size(self.size)

    @property
    def in_use(self) -> int:
        """Number of its buffers in use."""
        return len(self._in_use)

    @property
    def spare_bytes(self) -> int:
        """The bytes of the buffers that are spared and not in use."""
        return self._charged_size * max(0, min(self.spared, self.reserved - (len(self._in_use) - self._extras)))

    async def acquire(self) -> memoryview:
        """
        Return a buffer of *size* bytes, not cleared: a guaranteed one, else an extra one, else wait for either. For one
        caller at a time.
        """
        while (view := self.try_acquire()) is None:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return view

    def try_acquire(self) -> memoryview | None:
        """Return a buffer as `acquire` does; None if it would wait."""
        if len(self._in_use) - self._extras >= self.reserved - self.spared:
            if not self.budget.try_acquire_extra(self._charged_size):
                return None
            self._extras += 1
        buffer = self.budget.buffer(self._charged_size)
        view = memoryview(buffer)[: self.size]
        self._in_use[id(view.obj)] = buffer
        return view

    def release(self, view: memoryview) -> None:
        """Return a buffer from `acquire` to the pool. The caller must not use *view* afterwards."""
        buffer = self._in_use.pop(id(view.obj))
        self.budget.recycle(buffer)
        if self._extras:
            self._extras -= 1
            self.budget.release_extra(self._charged_size)
        self.notify()

    def notify(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Return all buffers that are still in use: the job has ended, successfully or not."""
        extras, self._extras = self._extras, 0
        for buffer in self._in_use.values():
            self.budget.recycle(buffer)
        self._in_use.clear()
        for _ in range(extras):
            self.budget.release_extra(self._charged_size)
