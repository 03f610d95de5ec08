"""The receive loop: receives into free slots, runs jobs concurrently, and drains on shutdown."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from archiver.core.backoff import configuration_retry_delay, full_jitter
from archiver.errors import ConfigurationError, TransientError
from archiver.ports import Message, MessageSource
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.settle import Settler
from archiver.worker.slots import Claim, Slots

log = structlog.get_logger(__name__)

MAX_BATCH = 10  # messages that one receive may bring, at the most
POLL_MARGIN_SECONDS = 10.0  # seconds beyond the long poll's own wait before a stopping worker gives it up


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """
    *max_jobs* concurrent jobs, and *max_parked* more that wait without a slot. *wait*: seconds of one long poll;
    *grace*: seconds that running jobs get at shutdown.
    """

    max_jobs: int
    wait: float
    grace: float
    max_parked: int = 100


class Worker:
    """*on_running_changed* is called with the number of working jobs (parked ones not counted) when that changes."""

    def __init__(
        self,
        source: MessageSource,
        settler: Settler,
        gate: ReceiveGate,
        limits: WorkerLimits,
        *,
        heartbeat: Heartbeat,
        on_running_changed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._settler = settler
        self._gate = gate
        self._wait = limits.wait
        self._grace = limits.grace
        self._heartbeat = heartbeat
        self._on_running_changed = on_running_changed
        self._slots = Slots(limits.max_jobs, self._on_slots_changed, max_parked=limits.max_parked)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def parked(self) -> int:
        """How many jobs are parked."""
        return self._slots.parked

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop* is set, then drain: return when every message was settled or released."""
        polling = asyncio.create_task(self._poll(stop), name="worker.poll")
        stopping = asyncio.create_task(stop.wait(), name="worker.stop")
        stopping.add_done_callback(lambda _: self._gate.changed.set())
        await asyncio.wait([polling, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        log.info("worker.stopping", jobs=len(self._running), grace=self._grace)
        try:
            await self._drain(polling)
        finally:
            log.info("worker.stopped")

    async def _drain(self, polling: asyncio.Task[None]) -> None:
        """End the long poll in flight and the jobs concurrently, each with its own deadline."""
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._end_poll(polling), name="worker.end_poll")
            ends.create_task(self._end_jobs(), name="worker.end_jobs")
        with suppress(asyncio.CancelledError):
            await polling  # an error in the loop ends the process

    async def _end_poll(self, polling: asyncio.Task[None]) -> None:
        # It is not cancelled at once: messages that it returns would stay hidden for their visibility timeout.
        await asyncio.wait([polling], timeout=self._wait + POLL_MARGIN_SECONDS)
        polling.cancel()
        await asyncio.wait([polling])

    async def _end_jobs(self) -> None:
        self._slots.drain()
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace)
        self._gate.grace_expired = True
        for job in self._running:
            job.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _poll(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            if not await self._wait_for_capacity(stop):
                return
            try:
                messages = await self._source.receive(min(self._slots.free, MAX_BATCH))
            except (TransientError, ConfigurationError) as error:
                failures += 1
                self._heartbeat.failed()
                await self._back_off(error, failures, stop)
                continue
            self._heartbeat.received()
            if failures:
                log.info("worker.receiving", after=failures)
            failures = 0
            await self._start_jobs(messages, stop)

    async def _wait_for_capacity(self, stop: asyncio.Event) -> bool:
        """Wait for a free slot and an open gate. Return False if the worker is to stop."""
        while not stop.is_set():
            reopens_in = self._gate.reopens_in
            if reopens_in == 0 and self._slots.free:
                return True
            self._gate.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(reopens_in or None):
                    await self._gate.changed.wait()
        return False

    async def _start_jobs(self, messages: list[Message], stop: asyncio.Event) -> None:
        if stop.is_set() or self._gate.draining:
            async with asyncio.TaskGroup() as returns:
                for message in messages:
                    returns.create_task(self._settler.release_unstarted(message), name=f"return.{message.id}")
            return
        for message in messages:
            claim = self._slots.claim()
            job = asyncio.create_task(self._settler.handle(message, claim), name=f"job.{message.id}")
            claim.task = job
            self._running.add(job)
            job.add_done_callback(partial(self._on_job_done, claim))

    def _on_slots_changed(self, working: int) -> None:
        self._gate.changed.set()
        self._on_running_changed(working)

    def _on_job_done(self, claim: Claim, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        self._slots.give_back(claim)
        if not job.cancelled() and (error := job.exception()) is not None:
            log.error("worker.defect", reason=repr(error), exc_info=error)

    async def _back_off(self, error: Exception, failures: int, stop: asyncio.Event) -> None:
        if isinstance(error, ConfigurationError):
            seconds = configuration_retry_delay(failures)
            log.error("worker.paused", reason=str(error), attempt=failures, retry_in=seconds)
        else:
            seconds = full_jitter(failures, 0.5, 20.0, random.uniform)
            log.warning("worker.receive_failed", reason=str(error), attempt=failures, retry_in=round(seconds, 1))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
