"""Large builds that are killed: nothing is sent twice, little is read twice, and they come to an end."""

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .archiver_process import MIB, Worker
from .generated_s3 import GeneratedS3
from .test_big import GIB, check
from .worker_env import WorkerEnv

pytestmark = [pytest.mark.fresh, pytest.mark.slow]

VISIBILITY = 10  # seconds
PATIENCE = 240.0  # seconds


def start(worker_env: WorkerEnv, s3: GeneratedS3) -> Worker:
    return worker_env.worker(AWS_ENDPOINT_URL_S3=s3.endpoint, S3_ALLOWED_SOURCES="")


def test_a_build_of_two_gibibytes_killed_at_four_fifths_moves_less_than_a_tenth_again(emulated: EmulatedAws) -> None:
    sizes = {f"{n}.mov": 512 * MIB + n for n in range(4)}
    parts = 2 * GIB // (8 * MIB)
    with GeneratedS3(sizes) as s3, WorkerEnv(emulated, visibility=VISIBILITY) as worker_env:
        first = start(worker_env, s3)
        worker_env.send_request(*sizes)
        wait_until(lambda: len(s3.sent) >= parts * 4 // 5, "four fifths", PATIENCE)
        first.kill()
        second = start(worker_env, s3)
        done = second.wait_for("job.done", PATIENCE)

        again = s3.read_bytes - sum(sizes.values())
        print(f"{len(s3.sent)} parts, {again / MIB:.0f} MiB read again; the second worker: {done['seconds']} s")
        assert {number: count for number, count in s3.sent.items() if number and count > 1} == {}
        assert again < 2 * GIB // 10
        assert s3.calls["CreateMultipartUpload"] == 1
        assert (s3.uploads, s3.records) == ({}, {})
        check(s3, done["key"], sizes)


def test_a_worker_that_is_killed_after_each_third_finishes_four_gibibytes(emulated: EmulatedAws) -> None:
    sizes = {f"{n}.mov": 512 * MIB + n for n in range(8)}
    parts = 4 * GIB // (8 * MIB)
    with GeneratedS3(sizes) as s3, WorkerEnv(emulated, visibility=VISIBILITY) as worker_env:
        worker_env.aws.sqs.set_queue_attributes(QueueUrl=worker_env.source, Attributes={"RedrivePolicy": ""})
        worker_env.send_request(*sizes)
        for third in (1, 2):
            worker, enough = start(worker_env, s3), parts * third // 3
            wait_until(lambda: len(s3.sent) >= enough, f"{enough} parts", PATIENCE)  # noqa: B023 - called here
            worker.kill()
        last = start(worker_env, s3)
        done = last.wait_for("job.done", PATIENCE)
        print(f"{len(s3.sent)} parts; {s3.read_bytes / GIB:.2f} GiB read")
        assert {number: count for number, count in s3.sent.items() if number and count > 1} == {}
        check(s3, done["key"], sizes)
