"""The memory that the pages tell of is what a worker takes, also where every read has a TLS connection of its own."""

import re
from pathlib import Path

import pytest
from emulator import Aws
from faults.worker import until

from archiver.app import READS_AT_ONCE
from archiver.settings import Settings
from archiver.stages.assemble import UPLOADS_AT_ONCE

from .generated_s3 import BigObjects
from .worker_env import Scene
from .worker_process import MIB

pytestmark = pytest.mark.fresh

FORMULA = r"peak ≈ (\d+) MiB \+ MEMORY_BUDGET_MIB \((\d+)\) \+ (\d+) KiB for each TLS connection"
SLACK = 20 * MIB  # allocators, Python versions


def told() -> tuple[int, int, int]:
    """Bytes: what a worker takes by itself, its budget, and a TLS connection."""
    page = Path(__file__).parents[2] / "docs/performance.md"
    found = re.search(FORMULA, page.read_text())
    assert found is not None
    base, budget, connection = map(int, found.groups())
    assert budget == Settings.model_fields["memory_budget_mib"].default
    return base * MIB, budget * MIB, connection * 1024


def test_as_many_connections_as_there_may_be_take_no_more_memory_than_is_told(emulated: Aws) -> None:
    base, budget, connection = told()
    sizes = {f"{n:04}.jpg": 20_000 for n in range(1000)} | {f"{n}.mov": 40 * MIB for n in range(4)}
    with BigObjects(sizes, delay=0.3) as s3, Scene(emulated) as scene:
        worker = scene.worker(AWS_ENDPOINT_URL_S3=s3.endpoint)
        jobs = Settings.model_fields["max_concurrent_jobs"].default
        for job in range(jobs):
            scene.ask(*list(sizes)[job::jobs], job_id=f"{job}")
        until(lambda: len(list(worker.events("job.done"))) == jobs or not worker.running, "all archives", 120)

        peak = worker.peak_memory()
        print(f"{s3.most} connections: peak memory {peak / MIB:.0f} MiB")
        assert len(list(worker.events("job.done"))) == jobs
        assert READS_AT_ONCE <= s3.most <= READS_AT_ONCE + jobs * UPLOADS_AT_ONCE + 4 * jobs + 2
        assert peak <= base + budget + s3.most * connection + SLACK
