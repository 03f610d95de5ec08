"""
Monitoring of the worker: heartbeat file, metrics, health server, and ECS agent. None of them blocks or fails a job.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from archiver.ports import JobResult, Observer
from archiver.ports.tracing import Tracer
from archiver.settings import Settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.telemetry.emf import Emf
from archiver.telemetry.metrics import Gauges, resident_bytes
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.protection import Protection, Protector

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MonitoredParts:
    """The monitored components, and *stop*, which ends the worker."""

    heartbeat: Heartbeat
    gate: ReceiveGate
    budget: BufferPool
    fetcher: Fetcher
    stop: asyncio.Event


class Monitor:
    """Passes events to the observers: a job ended (`ended`), the number of jobs changed (`on_running_changed`)."""

    def __init__(self, parts: MonitoredParts) -> None:
        self._parts = parts
        self.gauges = Gauges(parts.budget, parts.fetcher, parts.gate, parts.heartbeat, resident_bytes)
        self.observers: list[Observer] = []
        self.protection: Protection | None = None
        self.tracer: Tracer | None = None
        self._has_started = False

    def ended(self, job: JobResult) -> None:
        for observer in self.observers:
            observer.ended(job)

    def on_running_changed(self, jobs: int) -> None:
        self.gauges.on_running_changed(jobs)
        if self.protection is not None:
            self.protection.on_running_changed(jobs)
        if self._parts.gate.draining and not jobs:
            self._parts.stop.set()

    def mark_started(self, count_parked: Callable[[], int] = lambda: 0) -> None:
        """
        Mark the worker as started: it receives messages from now on (readiness). *count_parked* returns the number of
        parked jobs.
        """
        self._has_started = True
        self.gauges.count_parked = count_parked

    def drain(self) -> None:
        """Stop receiving. Stop the worker when all running jobs have ended, without a time limit."""
        self._parts.gate.draining = True
        self.on_running_changed(self.gauges.running)

    @property
    def problem(self) -> str | None:
        """Why the worker is not ready to receive messages; None if it is."""
        if self._parts.gate.draining or self._parts.stop.is_set():
            return "the worker is stopping"
        if not self._has_started:
            return "the worker is starting"
        if self._parts.gate.pause_count:
            return "the worker is paused: see worker.paused in the log"
        return (
            "receiving fails: see worker.receive_failed in the log"
            if self._parts.heartbeat.failing
            else self._parts.heartbeat.problem
        )


@asynccontextmanager
async def monitoring(
    settings: Settings,
    parts: MonitoredParts,
    write: Callable[[str], object],
    open_agent: Callable[[str], AbstractAsyncContextManager[Protector]],
) -> AsyncIterator[Monitor]:
    """
    Monitor the worker while the block runs, as *settings* configure it. *write* accepts lines of metrics and neither
    blocks nor raises. *open_agent* connects to the ECS agent at a URI.

    Raises SettingsError if the health server can't listen on HEALTH_PORT.
    """
    monitor = Monitor(parts)
    async with AsyncExitStack() as stack:
        file = Path(settings.heartbeat_file) if settings.heartbeat_file else None
        await stack.enter_async_context(_background_task("heartbeat", parts.heartbeat.run(file)))
        if settings.metrics == "emf":
            emf = Emf(settings.service_name, write, monitor.gauges.read)
            monitor.observers.append(emf)
            await stack.enter_async_context(_background_task("metrics", emf.run()))
        if settings.health_port is not None:
            from archiver.telemetry.health_server import open_health_server  # noqa: PLC0415 - only if it is used
            from archiver.telemetry.prometheus import Prometheus  # noqa: PLC0415 - only if it is used

            numbers = Prometheus(settings.service_name, monitor.gauges.read)
            monitor.observers.append(numbers)
            address = (settings.health_host, settings.health_port)
            await stack.enter_async_context(open_health_server(*address, lambda: monitor.problem, numbers.page))
        if settings.traces_endpoint is not None:
            from archiver.telemetry.traces import open_tracer  # noqa: PLC0415 - only if it is used

            monitor.tracer = await stack.enter_async_context(open_tracer(settings))
        if settings.ecs_agent_uri is not None:
            agent = await stack.enter_async_context(open_agent(settings.ecs_agent_uri))
            monitor.protection = Protection(agent, monitor.drain)
            await stack.enter_async_context(_background_task("protection", monitor.protection.run()))
        yield monitor


@asynccontextmanager
async def _background_task(name: str, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run *work* while the block runs. If it fails, the error is only logged."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_task_error)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _log_task_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("worker.defect", reason=f"{task.get_name()}: {error!r}", exc_info=error)
