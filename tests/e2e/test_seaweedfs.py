"""On SeaweedFS, a real S3 server, which checks credentials and so our signatures. The queues are LocalStack's."""

import zlib
from collections.abc import Iterator
from random import Random

import pytest
from faults.worker_process import wait_until

from .worker_env import MIB, WorkerEnv

ODD = [
    "plain.jpg",
    "with space.jpg",
    "ünïcödé/日本.jpg",
    "a+b%20c&d=e?f#g.jpg",
    "quote's (1).jpg",
    "semi;colon,comma@at!.jpg",
    "tilde~star*$.jpg",
]


@pytest.fixture
def mixed(local: dict[str, str], weed: str) -> Iterator[WorkerEnv]:
    with WorkerEnv({**local, "AWS_ENDPOINT_URL_S3": weed, "ARCHIVE_BASE_URL": ""}) as worker_env:
        yield worker_env


def test_keys_of_every_kind_are_signed_as_the_server_reads_them(mixed: WorkerEnv) -> None:
    for number, key in enumerate(ODD):
        mixed.put(key, bytes([number]) * 100)
    mixed.worker()
    mixed.send_request(job_id="odd", files=[{"source": key, "name": f"{number}"} for number, key in enumerate(ODD)])

    answer = mixed.answer()

    assert mixed.archive(answer["archive"]["key"]) == {f"{n}": bytes([n]) * 100 for n in range(len(ODD))}


def test_an_archive_of_many_parts_and_ranges_is_whole(mixed: WorkerEnv) -> None:
    bodies = {"large.bin": Random(1).randbytes(30 * MIB), "small.bin": b"s" * 10}
    for key, body in bodies.items():
        mixed.put(key, body)
    mixed.worker()
    mixed.send_request(*bodies)

    archive = mixed.answer()["archive"]

    whole = mixed.s3.get_object(Bucket=mixed.archives, Key=archive["key"])["Body"].read()
    assert mixed.archive(archive["key"]) == bodies
    assert archive["crc32"] == f"{zlib.crc32(whole):08x}"
    assert mixed.uploads() == []


def test_a_wrong_secret_pauses_the_worker_and_keeps_the_message(mixed: WorkerEnv) -> None:
    """LocalStack takes any credentials; SeaweedFS does not. With the right ones the next worker goes on."""
    mixed.put("a.jpg", b"a")
    worker = mixed.worker(AWS_SECRET_ACCESS_KEY="wrong", SHUTDOWN_GRACE_SECONDS="1")
    mixed.send_request("a.jpg", job_id="patient")

    wait_until(lambda: "worker.paused" in worker.log, "the worker to pause")
    assert mixed.queue_depth(mixed.source) == 1
    assert mixed.queue_depth(mixed.dead) == 0
    worker.terminate()
    assert worker.exit_code() == 0
    mixed.worker()
    assert mixed.answer()["job_id"] == "patient"


def test_create_writes_a_file_from_this_server_too(mixed: WorkerEnv, tmp_path: object) -> None:
    mixed.put("a.jpg", b"a")

    made = mixed.archiver("create", "--file", "a.jpg=album", "--output", f"{tmp_path}/photos.zip")

    assert (made.returncode, made.stdout) == (0, f"{tmp_path}/photos.zip\n")
    assert mixed.archiver("verify", f"{tmp_path}/photos.zip", "--deep").returncode == 0
