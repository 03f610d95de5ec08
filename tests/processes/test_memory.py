"""The memory that the pages tell of is what a worker takes, also where every read has a TLS connection of its own."""

import re
from pathlib import Path

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from archiver.app import MAX_CONCURRENT_READS
from archiver.settings import Settings
from archiver.stages.assemble import MAX_CONCURRENT_UPLOADS

from .archiver_process import MIB
from .generated_s3 import GeneratedS3
from .worker_env import WorkerEnv

pytestmark = [pytest.mark.fresh, pytest.mark.slow]

FORMULA = r"peak ≈ (\d+) MiB \+ MEMORY_BUDGET_MIB \((\d+)\) \+ (\d+) KiB for each TLS connection"
SLACK = 20 * MIB  # allocators, Python versions


def documented_memory() -> tuple[int, int, int]:
    """Bytes: what a worker takes by itself, its budget, and a TLS connection."""
    page = Path(__file__).parents[2] / "docs/performance.md"
    found = re.search(FORMULA, page.read_text())
    assert found is not None
    base, budget, connection = map(int, found.groups())
    assert budget == Settings.model_fields["memory_budget_mib"].default
    return base * MIB, budget * MIB, connection * 1024


def test_as_many_connections_as_there_may_be_take_no_more_memory_than_is_told(emulated: EmulatedAws) -> None:
    base, budget, connection = documented_memory()
    sizes = {f"{n:04}.jpg": 20_000 for n in range(1000)} | {f"{n}.mov": 40 * MIB for n in range(4)}
    with GeneratedS3(sizes, delay=0.3) as s3, WorkerEnv(emulated) as worker_env:
        worker = worker_env.worker(AWS_ENDPOINT_URL_S3=s3.endpoint)
        jobs = Settings.model_fields["max_concurrent_jobs"].default
        for job in range(jobs):
            worker_env.send_request(*list(sizes)[job::jobs], job_id=f"{job}")
        wait_until(lambda: len(list(worker.events("job.done"))) == jobs or not worker.running, "all archives", 120)

        peak = worker.peak_memory()
        print(f"{s3.max_connections} connections: peak memory {peak / MIB:.0f} MiB")
        assert len(list(worker.events("job.done"))) == jobs
        assert (
            MAX_CONCURRENT_READS
            <= s3.max_connections
            <= MAX_CONCURRENT_READS + jobs * MAX_CONCURRENT_UPLOADS + 4 * jobs + 2
        )
        assert peak <= base + budget + s3.max_connections * connection + SLACK
