"""
Slots: how many jobs work at once.

A job takes a slot before it starts and returns it when it ends. While it is parked (it waits for something outside,
and its lease is renewed), another job can have the slot. Jobs that wait for a slot, new and resuming ones, get it in
the order of asking.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Claim:
    """One job's claim on a slot. *task* runs the job; it is set right after the claim was made."""

    def __init__(self, slots: "Slots") -> None:
        self.slots = slots
        self.task: asyncio.Task[None] | None = None
        self.has_slot = False
        self.drained = False  # cancelled by `Slots.drain`
        self.granted = asyncio.get_running_loop().create_future()


class Slots:
    """
    The slots of one worker. *on_changed* is called with the number of jobs that have a slot, whenever that or the
    number of parked jobs may have changed. It must neither wait nor raise.
    """

    def __init__(self, max_jobs: int, on_changed: Callable[[int], None], *, max_parked: int = 100) -> None:
        self._max_jobs = max_jobs
        self._max_parked = max_parked
        self._on_changed = on_changed
        self._waiting: deque[Claim] = deque()
        self._parked: list[Claim] = []  # in the order of parking; those beyond the limit keep their slots
        self.draining = False
        self.working = 0

    @property
    def free(self) -> int:
        """How many new jobs would get a slot at once."""
        return max(0, self._max_jobs - self.working - len(self._waiting))

    @property
    def parked(self) -> int:
        """How many jobs are parked."""
        return len(self._parked)

    def claim(self) -> Claim:
        """Claim a slot for a new job: at once if one is free, else in the order of claiming."""
        claim = Claim(self)
        self._waiting.append(claim)
        self._update()
        return claim

    async def reclaim(self, claim: Claim) -> None:
        """Wait for a slot again, for a job that resumes."""
        claim.granted = asyncio.get_running_loop().create_future()
        self._waiting.append(claim)
        self._update()
        await claim.granted

    def give_back(self, claim: Claim) -> None:
        """End *claim*: its job has ended."""
        if claim in self._waiting:
            self._waiting.remove(claim)
        self._release(claim)
        self._update()

    def park(self, claim: Claim) -> None:
        """Let another job have the slot of *claim*. Beyond `max_parked`, that happens once another job has resumed."""
        self._parked.append(claim)
        if self.draining:
            _drain(claim)
        self._update()

    def unpark(self, claim: Claim) -> None:
        """End the parking of *claim*. If it has no slot, its job has to `reclaim` one before it works on."""
        self._parked.remove(claim)
        self._update()

    def drain(self) -> None:
        """Cancel the jobs that are parked or wait for a slot, and from now on every job that parks."""
        self.draining = True
        for claim in {*self._parked, *self._waiting}:
            _drain(claim)

    def _update(self) -> None:
        """Free the slots of parked jobs, hand free slots to the jobs that wait, and report the result."""
        for claim in self._parked[: self._max_parked]:
            self._release(claim)
        while self._waiting and self.working < self._max_jobs:
            claim = self._waiting.popleft()
            claim.has_slot = True
            self.working += 1
            if not claim.granted.done():
                claim.granted.set_result(None)
        self._on_changed(self.working)

    def _release(self, claim: Claim) -> None:
        if claim.has_slot:
            claim.has_slot = False
            self.working -= 1


def _drain(claim: Claim) -> None:
    claim.drained = True
    if claim.task is not None:
        claim.task.cancel()
