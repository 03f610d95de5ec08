"""Receive into free slots, run jobs side by side, stop without losing one."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from archiver.core.backoff import configuration_retry_delay, full_jitter
from archiver.errors import ConfigurationError, TransientError
from archiver.ports import Message, MessageSource
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.settle import Settler

log = structlog.get_logger(__name__)

MAX_BATCH = 10  # messages that one receive may bring, at the most
POLL_MARGIN_SECONDS = 10.0  # seconds beyond the long poll's own wait before a stopping worker gives it up


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """
    *max_jobs* jobs at once; *wait* is the long poll's length and *grace* what running jobs get at the end, in seconds.
    """

    max_jobs: int
    wait: float
    grace: float


class Worker:
    """*on_running_changed* is told how many jobs run, whenever that changes."""

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
        self._max_jobs = limits.max_jobs
        self._wait = limits.wait
        self._grace = limits.grace
        self._heartbeat = heartbeat
        self._on_running_changed = on_running_changed
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until *stop* is set, then drain: returns once every message was settled or given back."""
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
        """The long poll in flight and the jobs end side by side, each by a deadline of its own."""
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._end_poll(polling), name="worker.end_poll")
            ends.create_task(self._end_jobs(), name="worker.end_jobs")
        with suppress(asyncio.CancelledError):
            await polling  # a defect in the loop is the process's to report

    async def _end_poll(self, polling: asyncio.Task[None]) -> None:
        # It is left to return: cancelled, it would hide the messages that it brings.
        await asyncio.wait([polling], timeout=self._wait + POLL_MARGIN_SECONDS)
        polling.cancel()
        await asyncio.wait([polling])

    async def _end_jobs(self) -> None:
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
                messages = await self._source.receive(min(self._max_jobs - len(self._running), MAX_BATCH))
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
        """Wait for a free slot and an open gate; False: the worker is to stop."""
        while not stop.is_set():
            reopens_in = self._gate.reopens_in
            if reopens_in == 0 and len(self._running) < self._max_jobs:
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
            job = asyncio.create_task(self._settler.handle(message), name=f"job.{message.id}")
            self._running.add(job)
            job.add_done_callback(self._on_job_done)
            self._on_running_changed(len(self._running))

    def _on_job_done(self, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        self._gate.changed.set()
        self._on_running_changed(len(self._running))
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
