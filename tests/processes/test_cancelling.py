"""Cancelling a job of a gibibyte gives back its slot, its upload, its memory and its connections."""

from pathlib import Path

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .archiver_process import MIB, Worker, run_command
from .generated_s3 import GeneratedS3
from .worker_env import WorkerEnv

pytestmark = pytest.mark.fresh

PATIENCE = 200.0  # seconds
SIZES = {f"{n}.mov": 256 * MIB for n in range(4)}
STAGES = {
    "planning": ("HeadObject", 0),
    "reading": ("GetObject", 40),
    "uploading": ("UploadPart", 40),
    "parked": ("", 0),
}


def resident(worker: Worker) -> int:
    """The memory that it has resident, in bytes."""
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.slow
def test_a_cancelled_job_of_a_gibibyte_gives_back_everything_at_each_stage(emulated: EmulatedAws) -> None:
    """J5: at the next look at the lease, however long the call that the job waits for takes."""
    with GeneratedS3(SIZES) as s3, WorkerEnv(emulated, visibility=6) as worker_env:
        s3_settings = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "S3_ALLOWED_SOURCES": ""}
        worker = worker_env.worker(**s3_settings, CANCELLATION="1", MAX_CONCURRENT_JOBS="1", WAIT_LIMIT="600")
        archive_whole(worker, worker_env, "before")
        memory, connections, finished = resident(worker), s3.connections, set(s3.archives)

        for stage, (op, after) in STAGES.items():
            s3.hold(op, after)
            options = {"wait_for": {"timeout": 600}} if stage == "parked" else {"on_missing": "skip"}
            gone = ["gone.mov"] if stage == "parked" else []
            worker_env.send_request(*SIZES, *gone, job_id=stage, **options)
            if stage == "parked":
                wait_until(lambda: "job.waiting" in worker.log, "a parked job", PATIENCE)
            else:
                wait_until(lambda: s3.held > 0, f"a call that hangs while {stage}", PATIENCE)
            env = worker_env.settings(**s3_settings, CANCELLATION="1")
            assert run_command("cancel", stage, env=env).returncode == 0

            (told,) = worker_env.receive(worker_env.failures)
            assert '"status": "cancelled"' in told["Body"] and f'"job_id": "{stage}"' in told["Body"]
            worker_env.wait_until_empty()
            s3.release()
            assert s3.uploads == {}

        assert {key for key in s3.archives if key.endswith(".zip")} == {key for key in finished if key.endswith(".zip")}
        wait_until(lambda: s3.connections <= connections, "the connections to be closed")
        assert resident(worker) < memory + 32 * MIB
        archive_whole(worker, worker_env, "after")
        assert resident(worker) < memory + 32 * MIB


def archive_whole(worker: Worker, worker_env: WorkerEnv, job_id: str) -> None:
    """Archive everything."""
    worker_env.send_request(*SIZES, job_id=job_id)
    wait_until(lambda: any(line["job_id"] == job_id for line in worker.events("job.done")), "an archive", PATIENCE)
    assert worker_env.answer()["archive"]["files"] == len(SIZES)
