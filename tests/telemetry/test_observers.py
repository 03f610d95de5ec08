"""What the onlookers are told, and that none of them can bring the worker down."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeReader, FakeS3
from structlog.testing import capture_logs

from archiver.aws.ecs import open_agent
from archiver.settings import load_settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.telemetry import metrics
from archiver.telemetry.observers import Monitor, MonitoredParts, monitoring
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat

SETTINGS = load_settings({"SQS_SOURCE_QUEUE": "in", "S3_DESTINATION_BUCKET": "archives"})


@pytest.fixture
def parts() -> MonitoredParts:
    fetcher = Fetcher(FakeReader(FakeS3()), AdaptiveLimiter(4))
    return MonitoredParts(Heartbeat(), ReceiveGate(), BufferPool(1 << 20), fetcher, asyncio.Event())


def problem(watch: Monitor) -> str | None:
    return watch.problem


async def test_readiness_follows_the_workers_life(parts: MonitoredParts) -> None:
    watch = Monitor(parts)
    assert problem(watch) == "the worker is starting"
    watch.mark_started()
    assert problem(watch) is None
    parts.heartbeat.failed()
    assert problem(watch) == "receiving fails: see worker.receive_failed in the log"
    parts.gate.pause_receiving()
    assert problem(watch) == "the worker is paused: see worker.paused in the log"
    parts.gate.resume_receiving()
    parts.heartbeat.received()
    assert problem(watch) is None
    parts.stop.set()
    assert problem(watch) == "the worker is stopping"


async def test_draining_stops_the_worker_when_its_last_job_has_ended(parts: MonitoredParts) -> None:
    watch = Monitor(parts)
    watch.mark_started()
    watch.on_running_changed(2)
    watch.drain()
    assert (watch.problem, parts.gate.draining) == ("the worker is stopping", True)
    watch.on_running_changed(1)
    assert not parts.stop.is_set()
    watch.on_running_changed(0)
    assert parts.stop.is_set()


async def test_draining_an_idle_worker_stops_it_at_once(parts: MonitoredParts) -> None:
    Monitor(parts).drain()

    assert parts.stop.is_set()


async def test_an_onlooker_that_fails_is_told_of_and_the_worker_goes_on(parts: MonitoredParts) -> None:
    class Failing(Heartbeat):
        async def run(self, file: Path | None) -> None:
            raise RuntimeError("a defect")

    parts = replace(parts, heartbeat=Failing())
    with capture_logs() as logs:
        async with monitoring(SETTINGS, parts, str, open_agent):
            await asyncio.sleep(0.01)

    assert [(line["event"], line["reason"]) for line in logs] == [
        ("worker.defect", "heartbeat: RuntimeError('a defect')")
    ]


async def test_metrics_are_told_a_last_time_at_the_end(parts: MonitoredParts) -> None:
    lines: list[str] = []
    async with monitoring(SETTINGS.model_copy(update={"metrics": "emf"}), parts, lines.append, open_agent):
        await asyncio.sleep(0)  # it has begun

    assert len(lines) == 1 and '"Memory":' in lines[0]


def test_memory_is_what_the_kernel_says() -> None:
    assert 10 * (1 << 20) < metrics.resident_bytes() < 10 * (1 << 30)
