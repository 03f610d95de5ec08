"""A job's claim on its message (the lease) and on a slot of the worker."""

import asyncio
from contextlib import AbstractAsyncContextManager

from archiver.worker.lease import Lease
from archiver.worker.slots import Slots


class JobHold:
    """The `Hold` of the job that runs in the current task."""

    def __init__(self, lease: Lease, slots: Slots) -> None:
        job = asyncio.current_task()
        if job is None:
            raise RuntimeError("a job runs in a task")
        self._slots = slots
        self._job = job
        self.confirm = lease.confirm

    def parked(self) -> AbstractAsyncContextManager[None]:
        return self._slots.parked_job(self._job)
