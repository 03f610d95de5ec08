"""On LocalStack at the end of a long, narrow way: 30 ms to every answer, 100 Mbit/s each way, TLS all along."""

from random import Random

from faults.worker_process import wait_until
from shaping import Shaper

from .worker_env import MIB, WorkerEnv

VISIBILITY = 12  # seconds; what follows takes thirteen at the least


def test_archive_of_many_parts_is_made_at_one_go_and_its_lease_is_kept(local: dict[str, str]) -> None:
    """No time-out and no window of ours takes latency for a fault: nothing is asked for twice, nothing is late."""
    bodies = {f"{n}.bin": Random(n).randbytes(size) for n, size in enumerate([20 * MIB] * 8 + [20_000] * 60)}
    with Shaper(local["AWS_ENDPOINT_URL"]) as shaper, WorkerEnv(local, visibility=VISIBILITY) as worker_env:
        for key, body in bodies.items():
            worker_env.put(key, body)
        worker = worker_env.worker(AWS_ENDPOINT_URL=shaper.endpoint, DEBUG="1")
        worker_env.send_request(*bodies)
        done = worker.wait_for("job.done", 120)
        archive = worker_env.answer()["archive"]
        wait_until(lambda: worker_env.queue_depth(worker_env.source) == 0, "the message to be deleted")

        assert worker_env.archive(archive["key"]) == bodies
        assert archive["etag"].endswith("-21")  # of 8 MiB
        assert done["seconds"] > VISIBILITY
        assert len(list(worker.events("job.received"))) == 1
        told = {line.get("message") for line in worker.events()}
        assert not told & {"read.retried", "upload.unsettled", "lease.renewal_failed", "worker.paused"}
        assert min(shaper.up.carried, shaper.down.carried) > sum(map(len, bodies.values()))
        assert worker_env.uploads() == []
