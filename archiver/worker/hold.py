"""A job's claim on its message (the lease) and on a slot of the worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from archiver.worker.lease import Lease
from archiver.worker.slots import Claim

log = structlog.get_logger(__name__)


class JobHold:
    """The `Hold` of one job."""

    def __init__(self, lease: Lease, claim: Claim) -> None:
        self._lease = lease
        self._claim = claim
        self._depth = 0
        self._ends = False
        self.confirm = lease.confirm

    @property
    def drained(self) -> bool:
        """Whether the job was cancelled because it waited without a slot at shutdown."""
        return self._claim.drained

    def end(self) -> None:
        self._ends = True

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        """Blocks may be nested, or entered by several tasks of the job: it is parked from the first to the last."""
        slots, claim = self._claim.slots, self._claim
        self._depth += 1
        if self._depth == 1:
            slots.park(claim)
            if claim.has_slot and not slots.draining:
                log.warning("job.parked_in_slot", parked=slots.parked)
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                slots.unpark(claim)
                # A job that ends needs no slot. After any other cancellation (a timeout around the block) it works on.
                if not (claim.has_slot or slots.draining or self._lease.is_lost or self._ends):
                    await slots.reclaim(claim)
