"""
One archive of large objects, streamed and copied, by one worker on LocalStack, which copies parts as S3 does.

`make bench BENCH_FLAGS=--copy`. It needs what `make e2e` installs. The wall time is the job's own, from its receive to
its end; the first two jobs, one of each kind, show that the store copies, and are not counted.
"""

import json
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
OBJECTS, SIZE = 4, 256 * MIB
ROUNDS = 3
BLOCK = 8 * MIB


def measure_copies() -> dict[str, Any]:
    """Return the bytes of one archive, and medians of `ROUNDS` runs: wall seconds, and CPU seconds of the worker."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from e2e.servers import exported_environment, localstack
    from e2e.worker_env import WorkerEnv

    folder = Path(tempfile.mkdtemp(prefix="bench-copies-"))
    try:
        with localstack(folder) as endpoint, WorkerEnv(exported_environment(endpoint), visibility=300) as env:
            for number in range(OBJECTS):
                _put(env, f"{number}.mp4", number)
            return _run(env)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(env: Any, key: str, seed: int) -> None:
    path = Path(tempfile.gettempdir()) / f"bench-copies-{seed}"
    with path.open("wb") as file:
        for block in _blocks(seed):
            file.write(block)
    env.s3.upload_file(str(path), env.sources, key)
    path.unlink()


def _blocks(seed: int) -> Iterator[bytes]:
    noise = random.Random(seed)
    return (noise.randbytes(BLOCK) for _ in range(SIZE // BLOCK))


def _run(env: Any) -> dict[str, Any]:
    env.put("small.mp4", bytes(11 * MIB))
    worker = env.worker(SQS_FAILURE_QUEUE="")
    for strategy in ("copy", "stream"):
        _job(env, worker, ["small.mp4"], strategy, f"warm-{strategy}")
    keys = [f"{number}.mp4" for number in range(OBJECTS)]
    runs: dict[str, list[tuple[float, float]]] = {"stream": [], "copy": []}
    copied: dict[str, Any] = {}
    for number in range(ROUNDS):
        for strategy, measured in runs.items():
            before = _cpu(worker)
            archive, seconds = _job(env, worker, keys, strategy, f"{strategy}-{number}")
            measured.append((seconds, _cpu(worker) - before))
            copied = archive if strategy == "copy" else copied
            env.s3.delete_object(Bucket=env.archives, Key=archive["key"])
    stream_wall, stream_cpu = _medians(runs["stream"])
    copy_wall, copy_cpu = _medians(runs["copy"])
    return {
        "bytes_streamed": copied["bytes_streamed"],
        "bytes_copied": copied["bytes_copied"],
        "stream_wall_s": round(stream_wall, 3),
        "copy_wall_s": round(copy_wall, 3),
        "stream_cpu_s": round(stream_cpu, 3),
        "copy_cpu_s": round(copy_cpu, 3),
    }


def _medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*runs, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def _job(env: Any, worker: Any, keys: list[str], strategy: str, job_id: str) -> tuple[dict[str, Any], float]:
    env.send_request(*keys, strategy=strategy, job_id=job_id)
    archive = env.answer()["archive"]
    ends = [json.loads(line) for line in worker.log.splitlines() if "job.done" in line]
    while not ends or ends[-1]["job_id"] != job_id:
        ends = [json.loads(line) for line in worker.log.splitlines() if "job.done" in line]
    return archive, float(ends[-1]["seconds"])


def _cpu(worker: Any) -> float:
    """Return the worker's CPU seconds so far."""
    fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def print_copies(figures: dict[str, Any]) -> None:
    whole = figures["bytes_streamed"] + figures["bytes_copied"]
    share = figures["bytes_streamed"] / whole
    print(f"{OBJECTS} x {SIZE // MIB} MiB on LocalStack, medians of {ROUNDS} runs each:\n")
    print("| | bytes through the worker | wall | CPU of the worker |")
    print("| --- | --- | --- | --- |")
    print(f"| streamed | {whole:,} (100 %) | {figures['stream_wall_s']:.2f} s | {figures['stream_cpu_s']:.2f} s |")
    print(
        f"| copied | {figures['bytes_streamed']:,} ({share:.1%}) | {figures['copy_wall_s']:.2f} s "
        f"| {figures['copy_cpu_s']:.2f} s |"
    )
    print(f"\n{figures['stream_wall_s'] / figures['copy_wall_s']:.1f} times as fast")
