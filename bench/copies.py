"""
One archive of large objects, streamed and copied, by one worker on LocalStack, which copies parts as S3 does.

`make bench BENCH_FLAGS=--copy`. It needs what `make e2e` installs, and 10 GB of disk. The wall time is the job's own,
from its receive to its end. The CPU time is that of the worker's whole process, from the sending of the request until
its answer is here: it has the polls of the queues and the answer, but not the start of the worker, and not the test of
the store, which happen once. Two small jobs, one of each kind, come first and are not counted.
"""

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
OBJECTS = 4
BLOCK = 8 * MIB
PIECE = 256 * MIB  # of objects that are larger
LOADS = {256 * MIB: 3, 1024 * MIB: 2}
"""How often an archive of four objects of each size is made in each way."""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Copied:
    """Archives of objects of *size*: the bytes of one, and medians of wall seconds and of the worker's CPU seconds."""

    size: int
    bytes_streamed: int
    bytes_copied: int
    wall: dict[str, float]
    cpu: dict[str, float]


def measure_copies() -> list[Copied]:
    """Return the figures of each of `LOADS`."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from e2e.servers import exported_environment, localstack
    from e2e.worker_env import WorkerEnv

    folder = Path(tempfile.mkdtemp(prefix="bench-copies-"))
    try:
        with localstack(folder) as endpoint, WorkerEnv(exported_environment(endpoint), visibility=300) as env:
            for number in range(OBJECTS):
                _put(env, folder, f"{PIECE}-{number}.mp4", number)
            env.put("small.mp4", bytes(11 * MIB))
            worker = env.worker(SQS_FAILURE_QUEUE="", SQS_WAIT_SECONDS="")  # polls as it does by default
            for strategy in ("copy", "stream"):
                _job(env, worker, ["small.mp4"], strategy, f"warm-{strategy}")
            return [_run(env, worker, size, rounds) for size, rounds in LOADS.items()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(env: Any, folder: Path, key: str, seed: int) -> None:
    path = folder / "object"
    with path.open("wb") as file:
        for block in _blocks(seed):
            file.write(block)
    env.s3.upload_file(str(path), env.sources, key)
    path.unlink()


def _blocks(seed: int) -> Iterator[bytes]:
    noise = random.Random(seed)
    return (noise.randbytes(BLOCK) for _ in range(PIECE // BLOCK))


def _join(env: Any, key: str, pieces: list[str]) -> None:
    """Make an object of *pieces*, without sending their bytes again."""
    at = {"Bucket": env.sources, "Key": key}
    upload = env.s3.create_multipart_upload(**at)["UploadId"]
    parts = []
    for number, piece in enumerate(pieces, 1):
        source = {"Bucket": env.sources, "Key": piece}
        copied = env.s3.upload_part_copy(**at, UploadId=upload, PartNumber=number, CopySource=source)
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    env.s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})


def _run(env: Any, worker: Any, size: int, rounds: int) -> Copied:
    keys = [f"{size}-{number}.mp4" for number in range(OBJECTS)]
    if size > PIECE:
        for number, key in enumerate(keys):
            _join(env, key, [f"{PIECE}-{(number + piece) % OBJECTS}.mp4" for piece in range(size // PIECE)])
    runs: dict[str, list[tuple[float, float]]] = {"stream": [], "copy": []}
    copied: dict[str, Any] = {}
    for number in range(rounds):
        for strategy, measured in runs.items():
            before = _cpu(worker)
            archive, seconds = _job(env, worker, keys, strategy, f"{strategy}-{size}-{number}")
            measured.append((seconds, _cpu(worker) - before))
            copied = archive if strategy == "copy" else copied
            env.s3.delete_object(Bucket=env.archives, Key=archive["key"])
    medians = {strategy: _medians(measured) for strategy, measured in runs.items()}
    return Copied(
        size,
        copied["bytes_streamed"],
        copied["bytes_copied"],
        {strategy: wall for strategy, (wall, _) in medians.items()},
        {strategy: cpu for strategy, (_, cpu) in medians.items()},
    )


def _medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*runs, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def _job(env: Any, worker: Any, keys: list[str], strategy: str, job_id: str) -> tuple[dict[str, Any], float]:
    env.send_request(*keys, strategy=strategy, job_id=job_id)
    archive = env.answer(seconds=900)["archive"]
    ends = [json.loads(line) for line in worker.log.splitlines() if "job.done" in line]
    while not ends or ends[-1]["job_id"] != job_id:
        ends = [json.loads(line) for line in worker.log.splitlines() if "job.done" in line]
    return archive, float(ends[-1]["seconds"])


def _cpu(worker: Any) -> float:
    """Return the worker's CPU seconds so far."""
    fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def print_copies(loads: list[Copied]) -> None:
    print("| archive | | bytes through the worker | wall | CPU of the worker |")
    print("| --- | --- | --- | --- | --- |")
    for one in loads:
        whole = one.bytes_streamed + one.bytes_copied
        about = f"{OBJECTS} × {one.size // MIB} MiB"
        print(f"| {about} | streamed | {whole:,} (100 %) | {one.wall['stream']:.2f} s | {one.cpu['stream']:.2f} s |")
        print(
            f"| | copied | {one.bytes_streamed:,} ({one.bytes_streamed / whole:.2%}) | {one.wall['copy']:.2f} s "
            f"| {one.cpu['copy']:.2f} s |"
        )
        print(
            f"| | streamed ÷ copied | {whole / one.bytes_streamed:.0f} | {one.wall['stream'] / one.wall['copy']:.1f} "
            f"| {one.cpu['stream'] / one.cpu['copy']:.1f} |"
        )
