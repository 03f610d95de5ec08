"""What the onlookers are told, and that none of them can bring the worker down."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import MemoryReader, MemoryS3
from structlog.testing import capture_logs

from archiver.aws.ecs import open_agent
from archiver.settings import load_settings
from archiver.stages.budget import Budget
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import Limiter
from archiver.telemetry import metrics as numbers
from archiver.telemetry.observers import Watch, Watched, watched
from archiver.worker.gate import Gate
from archiver.worker.heartbeat import Pulse

SETTINGS = load_settings({"SQS_SOURCE_QUEUE": "in", "S3_DESTINATION_BUCKET": "archives"})


@pytest.fixture
def parts() -> Watched:
    fetcher = Fetcher(MemoryReader(MemoryS3()), Limiter(4))
    return Watched(Pulse(), Gate(), Budget(1 << 20), fetcher, asyncio.Event())


def trouble(watch: Watch) -> str | None:
    return watch.trouble


async def test_readiness_follows_the_workers_life(parts: Watched) -> None:
    watch = Watch(parts)
    assert trouble(watch) == "the worker is starting"
    watch.started()
    assert trouble(watch) is None
    parts.pulse.failed()
    assert trouble(watch) == "receiving from SQS fails: the log says why"
    parts.gate.hold()
    assert trouble(watch) == "jobs are held: the log says why (worker.paused)"
    parts.gate.release()
    parts.pulse.received()
    assert trouble(watch) is None
    parts.stop.set()
    assert trouble(watch) == "the worker is stopping"


async def test_draining_stops_the_worker_when_its_last_job_has_ended(parts: Watched) -> None:
    watch = Watch(parts)
    watch.started()
    watch.busy(2)
    watch.drain()
    assert (watch.trouble, parts.gate.closed) == ("the worker is stopping", True)
    watch.busy(1)
    assert not parts.stop.is_set()
    watch.busy(0)
    assert parts.stop.is_set()


async def test_draining_an_idle_worker_stops_it_at_once(parts: Watched) -> None:
    Watch(parts).drain()

    assert parts.stop.is_set()


async def test_an_onlooker_that_fails_is_told_of_and_the_worker_goes_on(parts: Watched) -> None:
    class Failing(Pulse):
        async def keep(self, file: Path | None) -> None:
            raise RuntimeError("a defect")

    parts = replace(parts, pulse=Failing())
    with capture_logs() as logs:
        async with watched(SETTINGS, parts, str, open_agent):
            await asyncio.sleep(0.01)

    assert [(line["event"], line["reason"]) for line in logs] == [("worker.defect", "pulse: RuntimeError('a defect')")]


async def test_metrics_are_told_a_last_time_at_the_end(parts: Watched) -> None:
    lines: list[str] = []
    async with watched(SETTINGS.model_copy(update={"metrics": "emf"}), parts, lines.append, open_agent):
        await asyncio.sleep(0)  # it has begun

    assert len(lines) == 1 and '"Memory":' in lines[0]


def test_memory_is_what_the_kernel_says() -> None:
    assert 10 * (1 << 20) < numbers.resident() < 10 * (1 << 30)
