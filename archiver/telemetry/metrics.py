"""What is counted, in which unit; and the state of the process at a moment."""

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
    "QueueTime": "Seconds",  # from sending a message to its receipt; of one that comes again, from its first sending
    "Files": "Count",  # in archives
    "Bytes": "Bytes",  # of archives
    "LeaseMargin": "None",  # the smallest fraction of the visibility that was left of a job's lease, 0 to 1
    "LeasesLost": "Count",
    "Resumes": "Count",  # reads of objects that were tried again
    "Running": "Count",  # jobs
    "OpenParts": "Count",  # part buffers in use
    "Memory": "Bytes",  # resident
    "Paused": "Count",  # jobs, stores and queues that hold up receiving; 1 where receiving itself fails
}
"""Every metric, and its unit as CloudWatch names it."""


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """The process at a moment. *resumes* are counted from its start, by what had stopped the reads."""

    running: int = 0
    open_parts: int = 0
    memory: int = 0
    paused: int = 0
    resumes: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Gauges:
    """Where a standing is read. *memory* returns resident bytes."""

    budget: BufferPool
    fetcher: Fetcher
    gate: ReceiveGate
    heartbeat: Heartbeat
    memory: Callable[[], int]
    running: int = 0

    def on_running_changed(self, jobs: int) -> None:
        """So many *jobs* run now."""
        self.running = jobs

    def read(self) -> ProcessSnapshot:
        return ProcessSnapshot(
            running=self.running,
            open_parts=self.budget.buffers_in_use,
            memory=self.memory(),
            paused=self.gate.pause_count or int(self.heartbeat.failing),
            resumes=dict(self.fetcher.resumes),
        )


def resident_bytes() -> int:
    """Bytes of memory that the process has; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
