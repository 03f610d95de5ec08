"""
Metrics as lines in CloudWatch's embedded metric format, from which CloudWatch Logs extracts metrics.

One line for each job that ended, and one for the process each minute. The format is in CloudWatch's user guide,
"Specification: Embedded metric format": `_aws.Timestamp` is in milliseconds, dimensions are string members next to
`_aws`, a value is a number or a list of numbers.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archiver.ports import JobResult
from archiver.telemetry.metrics import UNITS, ProcessSnapshot

NAMESPACE = "Archiver"
WRITE_INTERVAL = 60.0  # seconds between two lines about the process


class Emf:
    """Writes metrics of jobs and of the process. *write* accepts a line and neither blocks nor raises."""

    def __init__(self, service: str, write: Callable[[str], object], read: Callable[[], ProcessSnapshot]) -> None:
        self._service = service
        self._write = write
        self._read = read
        self._resumes: Mapping[str, int] = {}

    def ended(self, job: JobResult) -> None:
        self._write_line(job_line(self._service, job, _now()))

    async def run(self) -> None:
        """Write the process metrics once a minute, and a last time when cancelled."""
        try:
            while True:
                await asyncio.sleep(WRITE_INTERVAL)
                self.write_process_lines()
        finally:
            self.write_process_lines()

    def write_process_lines(self) -> None:
        """Write the current state of the process, and the read retries since the last call."""
        snapshot = self._read()
        resumes = {code: count - self._resumes.get(code, 0) for code, count in snapshot.resumes.items()}
        self._resumes = snapshot.resumes
        for line in process_lines(self._service, snapshot, resumes, _now()):
            self._write_line(line)

    def _write_line(self, line: Mapping[str, Any]) -> None:
        self._write(json.dumps(line, separators=(",", ":")) + "\n")


def job_line(service: str, job: JobResult, at: int) -> dict[str, Any]:
    """Return the line for a job that ended. *at*: milliseconds since 1970."""
    dimensions = {"Service": service, "Outcome": job.outcome} | ({"Code": job.code} if job.code else {})
    counted = {"Jobs": 1}
    timed = {"Duration": round(job.seconds, 3), "QueueTime": round(job.queued, 3)}
    made = {"Files": job.files, "Bytes": job.bytes} if job.outcome == "done" else {}
    if job.traffic is not None:
        made |= {"BytesCopied": job.traffic.copied, "BytesStreamed": job.traffic.streamed}
    lease = {"LeaseMargin": round(job.margin, 3), "LeasesLost": int(job.outcome == "lease_lost")}
    names = list(dimensions)
    return _line(
        at,
        dimensions,
        (counted, [names[:end] for end in range(1, len(names) + 1)]),
        (timed, [["Service"], ["Service", "Outcome"]]),
        (made | lease, [["Service"]]),
    )


def process_lines(service: str, snapshot: ProcessSnapshot, resumes: Mapping[str, int], at: int) -> list[dict[str, Any]]:
    """Return the lines for the process, with *resumes*, the read retries by code. *at*: milliseconds since 1970."""
    gauges = {
        "Running": snapshot.running,
        "Parked": snapshot.parked,
        "OpenParts": snapshot.open_parts,
        "Memory": snapshot.memory,
        "Paused": snapshot.paused,
        "Resumes": sum(resumes.values()),
    }
    lines = [_line(at, {"Service": service}, (gauges, [["Service"]]))]
    for code, count in resumes.items():
        if count:
            dimensions = {"Service": service, "Code": code}
            lines.append(_line(at, dimensions, ({"Resumes": count}, [["Service", "Code"]])))
    return lines


def _line(
    at: int, dimensions: Mapping[str, str], *directives: tuple[Mapping[str, float], Sequence[Any]]
) -> dict[str, Any]:
    values: dict[str, float] = {}
    metric_directives = []
    for metrics, sets in directives:
        values |= metrics
        named = [{"Name": name, "Unit": UNITS[name]} for name in metrics]
        metric_directives.append({"Namespace": NAMESPACE, "Dimensions": list(sets), "Metrics": named})
    return {"_aws": {"Timestamp": at, "CloudWatchMetrics": metric_directives}, **dimensions, **values}


def _now() -> int:
    return int(time.time() * 1000)
