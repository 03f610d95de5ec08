"""Jobs that ended, and a process as it stands, to be counted."""

from archiver.core.traffic import Traffic
from archiver.ports import JobResult
from archiver.telemetry.metrics import ProcessSnapshot

DONE = JobResult("done", seconds=1.25, queued=0.5, margin=0.8, files=3, bytes=700)
COPIED = JobResult("done", seconds=2.0, queued=0.5, margin=0.8, files=1, bytes=900, traffic=Traffic(800, 100, 9))
REJECTED = JobResult("rejected", seconds=0.1, queued=0.2, margin=0.8, code="source_missing")
RETRIED = JobResult("retried", seconds=30.0, queued=0.2, margin=0.4, code="throttled")
LOST = JobResult("lease_lost", seconds=90.0, queued=0.2, margin=0.0)
STANDING = ProcessSnapshot(
    running=2, parked=3, open_parts=5, memory=90_000_000, paused=0, resumes={"throttled": 7, "interrupted": 1}
)
