"""How long jobs take, measured: one at a time, through a real worker, on the load server with S3's latency."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from implementations import ALL, Task, measure
from network import steady
from server import LoadServer, compile_c
from workloads import Workload

FILE = Path(__file__).with_name("job_times.json")
LATENCY_MS = 20  # before the first byte of each answer
RUNS = 5
KINDS = (
    Workload("documents", "20 × 200 KB", 20, 200_000, 0),
    Workload("album", "100 × 4 MB", 100, 4_000_000, 0),
    Workload("shoot", "500 × 5 MB", 500, 5_000_000, 0),
    Workload("films", "8 × 500 MB", 8, 500_000_000, 0),
)


def measured() -> dict[str, Any]:
    """Medians of RUNS interleaved runs of each kind, and of a worker's start."""
    compile_c()
    ours = next(implementation for implementation in ALL if implementation.name == "archiver")
    command = ours.prepare()
    runs: dict[str, list[Any]] = {load.name: [] for load in KINDS}
    with LoadServer(KINDS) as server:
        server.emulate(steady(LATENCY_MS))
        for number in range(RUNS + 1):
            for load in KINDS:
                task = Task(server.endpoint, load, load.bytes, f"{load.name}-{number}")
                run, _ = measure(command, task, server.environment)
                if number:  # the first one warms up
                    runs[load.name].append(run)
                print(f"  {load.name:10} {run.wall_s:7.3f} s  {run.work_cpu_s:7.3f} s of CPU", file=sys.stderr)
    return {
        "latency_ms": LATENCY_MS,
        "runs": RUNS,
        "start_seconds": round(median(starts()), 3),
        "kinds": {
            load.name: {
                "about": load.about,
                "bytes": load.bytes,
                "seconds": round(median(run.wall_s for run in runs[load.name]), 3),
                "cpu_seconds": round(median(run.work_cpu_s for run in runs[load.name]), 3),
            }
            for load in KINDS
        },
    }


def starts() -> Iterator[float]:
    """Seconds from starting a worker's process until it says that it is ready, beside the embedded AWS."""
    from archiver.local.embedded import embedded_aws

    with embedded_aws() as aws:
        for _ in range(RUNS):
            begun = time.monotonic()
            worker = subprocess.Popen(
                [sys.executable, "-m", "archiver", "run"],
                env={"PATH": os.environ["PATH"], **aws.environment},
                stdout=subprocess.PIPE,
                text=True,
            )
            with worker:
                assert worker.stdout is not None
                if any("worker.ready" in line for line in worker.stdout):
                    yield time.monotonic() - begun
                worker.terminate()


if __name__ == "__main__":
    FILE.write_text(json.dumps(measured(), indent=2) + "\n")
