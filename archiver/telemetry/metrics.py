"""The metrics with their units, and snapshots of the process."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat

UNITS: Mapping[str, str] = {
    "Jobs": "Count",  # that ended, by outcome and by the code of their rejection or retry
    "Duration": "Seconds",  # from a message's receipt to its job's end
    "QueueTime": "Seconds",  # from a message's enqueue time to its receipt; a redelivery keeps its enqueue time
    "Files": "Count",  # in archives
    "Bytes": "Bytes",  # of archives
    "BytesCopied": "Bytes",  # of archives whose requests name a strategy: what the store copied by itself
    "BytesStreamed": "Bytes",  # of the same archives: what the worker sent
    "LeaseMargin": "None",  # minimum fraction of the visibility timeout that was left during the job, 0 to 1
    "LeasesLost": "Count",
    "Resumes": "Count",  # retried reads of objects
    "Running": "Count",  # jobs
    "Parked": "Count",  # jobs that wait for objects without a slot
    "OpenParts": "Count",  # part buffers in use
    "Memory": "Bytes",  # resident
    "Paused": "Count",  # jobs, stores and queues because of which receiving is paused; 1 if receiving itself fails
}
"""The metrics, with their units as CloudWatch names them."""


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """The state of the process. *resumes*: read retries since its start, by cause. *memory*: resident bytes."""

    running: int = 0
    parked: int = 0
    open_parts: int = 0
    memory: int = 0
    paused: int = 0
    resumes: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Gauges:
    """Takes snapshots of the process. *memory* returns the resident bytes."""

    budget: BufferPool
    fetcher: Fetcher
    gate: ReceiveGate
    heartbeat: Heartbeat
    memory: Callable[[], int]
    running: int = 0
    count_parked: Callable[[], int] = lambda: 0

    def on_running_changed(self, jobs: int) -> None:
        """Set the number of running *jobs*."""
        self.running = jobs

    def read(self) -> ProcessSnapshot:
        return ProcessSnapshot(
            running=self.running,
            parked=self.count_parked(),
            open_parts=self.budget.buffers_in_use,
            memory=self.memory(),
            paused=self.gate.pause_count or int(self.heartbeat.failing),
            resumes=dict(self.fetcher.resumes),
        )


def resident_bytes() -> int:
    """Return the resident memory of the process in bytes; 0 if /proc is not available."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
