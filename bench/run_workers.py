"""
WORKERS processes of the archiver that share the jobs: job n is done by worker n modulo WORKERS.

    run_workers.py WORKERS ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX

They start at once, when each of them is ready. Wall time is from the first's start to the last's end; CPU time and peak
memory are the sums.
"""

import asyncio
import json
import multiprocessing
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run_archiver import Measured

START_TIMEOUT = 60  # seconds


def _work(number: int, workers: int, all_ready: Barrier, arguments: Sequence[str]) -> "tuple[Measured, float]":
    """What worker *number* measured, and its peak memory in MiB."""
    from run_archiver import read_arguments, run, start_logs  # late: who starts the workers stays small

    load, prefix = read_arguments(arguments)
    start_logs()
    jobs = range(number, load.jobs, workers)
    measured = asyncio.run(run(load, prefix, jobs, lambda: all_ready.wait(START_TIMEOUT)))
    return measured, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def combine(measured: "Sequence[tuple[Measured, float]]") -> dict[str, object]:
    """The figures of all workers together, and the keys in the order of the jobs."""
    workers, peaks = zip(*measured, strict=True)
    jobs = sum(len(one.keys) for one in workers)
    return {
        "wall_s": max(one.ended for one in workers) - min(one.started for one in workers),
        "cpu_s": sum(one.cpu_s for one in workers),
        "peak_rss_mib": sum(peaks),
        "keys": [workers[job % len(workers)].keys[job // len(workers)] for job in range(jobs)],
    }


def main() -> None:
    workers, arguments = int(sys.argv[1]), sys.argv[2:]
    processes = multiprocessing.get_context("spawn")
    with processes.Manager() as manager, ProcessPoolExecutor(workers, processes) as pool:
        all_ready = manager.Barrier(workers)
        started = [pool.submit(_work, number, workers, all_ready, arguments) for number in range(workers)]
        measured = [one.result() for one in started]
    print(json.dumps(combine(measured)))


if __name__ == "__main__":
    main()
