"""
Slots: how many jobs work at once.

A job holds one slot from its start to its end. While it is parked (waiting for something outside, with its lease
renewed), the slot is free for another job. A job that resumes waits for a slot in the order of resuming, and comes
before new messages.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

MAX_PARKED_JOBS = 100


class Slots:
    """
    The slots of one worker. *on_changed* is called with the number of working jobs whenever it or the number of parked
    jobs has changed; it must neither wait nor raise.
    """

    def __init__(self, max_jobs: int, on_changed: Callable[[int], None], *, max_parked: int = MAX_PARKED_JOBS) -> None:
        self._max_jobs = max_jobs
        self._max_parked = max_parked
        self._on_changed = on_changed
        self._parked: set[asyncio.Task[Any]] = set()
        self._resuming: deque[asyncio.Future[None]] = deque()
        self._draining = False
        self.working = 0

    @property
    def free(self) -> int:
        """How many new jobs may start."""
        return max(0, self._max_jobs - self.working - len(self._resuming))

    @property
    def parked(self) -> int:
        """How many jobs wait without a slot."""
        return len(self._parked)

    def drain(self) -> None:
        """Cancel parked jobs, and from now on every job that parks: their messages are released at once."""
        self._draining = True
        for job in list(self._parked):
            job.cancel()

    def acquire(self) -> None:
        """Take a slot for a new job; the caller has checked `free`."""
        self._change(+1)

    def release(self) -> None:
        """Return the slot of a job that has ended."""
        self._change(-1)
        self._resume_next()

    @asynccontextmanager
    async def parked_job(self, job: asyncio.Task[Any]) -> AsyncIterator[None]:
        """
        Give up the slot of *job* inside the block. With `max_parked` jobs parked already, the job keeps its slot.

        Leaving the block waits for a slot. A job that is cancelled ends, so it takes its slot back at once, over the
        limit if need be.
        """
        if len(self._parked) >= self._max_parked:
            yield
            return
        self._parked.add(job)
        self.release()
        if self._draining:
            job.cancel()
        try:
            yield
        except asyncio.CancelledError:
            self.working += 1
            self._leave(job)
            raise
        except Exception:
            await self._resume(job)
            raise
        await self._resume(job)

    async def _resume(self, job: asyncio.Task[Any]) -> None:
        """Take a slot, in the order of asking."""
        turn = asyncio.get_running_loop().create_future()
        self._resuming.append(turn)
        self._resume_next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._resuming.remove(turn)
                self.working += 1
            raise
        finally:
            self._leave(job)

    def _leave(self, job: asyncio.Task[Any]) -> None:
        self._parked.discard(job)
        self._on_changed(self.working)

    def _resume_next(self) -> None:
        while self._resuming and self.working < self._max_jobs and not self._resuming[0].done():
            self.working += 1
            self._resuming.popleft().set_result(None)

    def _change(self, by: int) -> None:
        self.working += by
        self._on_changed(self.working)
