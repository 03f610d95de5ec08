"""On LocalStack, whose SQS and S3 are not the emulator's of the other tests, and which checks what that believes."""

import json
import subprocess
import urllib.request
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from botocore.exceptions import ClientError
from faults.worker_process import wait_until

from archiver.aws.clients import ClientLimits, Clients, open_clients
from archiver.aws.s3_store import S3Store
from archiver.errors import ArchiverError
from archiver.ports import Target

from .servers import ROOT, trusted_ca_file
from .worker_env import MIB, WorkerEnv, make_client


def noise(size: int, seed: int = 0) -> bytes:
    return Random(seed).randbytes(size)


def test_the_walk_through_of_the_readme(local: dict[str, str], tmp_path: Path) -> None:
    """Its very command, `.envrc.dist`'s settings, the answer by the AWS CLI, the link by itself, `unzip -t`."""
    readme = (ROOT / "README.md").read_text()
    start = readme.index("aws sqs send-message")
    send = readme[start : readme.index("```", start)].replace("http://localhost:4566", local["AWS_ENDPOINT_URL"])
    with WorkerEnv({**local}) as worker_env:
        worker_env.environ |= {name: value for name, value in local.items() if name.startswith(("SQS_", "S3_"))}
        subprocess.run(
            ["bash", "-c", send], env=worker_env.environ | {"PATH": _path()}, check=True, capture_output=True
        )
        worker = worker_env.worker(ARCHIVE_BASE_URL=local["ARCHIVE_BASE_URL"])
        queue = f"{local['AWS_ENDPOINT_URL']}/000000000000/output-queue"
        told = worker_env.aws("sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "20")

        answer = json.loads(told["Messages"][0]["Body"])
        assert answer["metadata"] == {"user_email": "user@example.com"}
        with urllib.request.urlopen(
            answer["substitutions"]["archiver_URL"], timeout=30, context=trusted_ca_file()
        ) as response:
            (tmp_path / "photos.zip").write_bytes(response.read())
        test = subprocess.run(["unzip", "-t", "photos.zip"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert test.returncode == 0, test.stdout
        assert "album_1/source.jpg" in test.stdout
        worker.terminate()
        assert worker.exit_code() == 0


def _path() -> str:
    from .servers import LOCALSTACK  # noqa: PLC0415

    return f"{LOCALSTACK / 'bin'}:/usr/local/bin:/usr/bin:/bin"


def test_an_archive_of_many_parts_has_a_crc_that_the_store_verified(worker_env: WorkerEnv) -> None:
    bodies = {f"{n}.bin": noise(5 * MIB + n, n) for n in range(5)}
    for key, body in bodies.items():
        worker_env.put(key, body)
    worker_env.worker()
    worker_env.send_request(*bodies)

    archive = worker_env.answer()["archive"]

    whole = worker_env.s3.get_object(Bucket=worker_env.archives, Key=archive["key"])["Body"].read()
    head = worker_env.s3.head_object(Bucket=worker_env.archives, Key=archive["key"], ChecksumMode="ENABLED")
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert archive["crc32"] == f"{zlib.crc32(whole):08x}"
    assert worker_env.archive(archive["key"]) == bodies
    assert archive["etag"].endswith("-4")
    assert worker_env.uploads() == []
    verified = worker_env.archiver("verify", f"s3://{worker_env.archives}/{archive['key']}")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "make up the store's own" in verified.stdout


@asynccontextmanager
async def clients(worker_env: WorkerEnv, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    for name, value in worker_env.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    async with open_clients(ClientLimits()) as opened:
        yield opened


@pytest.mark.parametrize("wrong", ["crc", "size"])
async def test_an_archive_of_other_bytes_than_were_summed_is_refused_and_never_seen(
    worker_env: WorkerEnv, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    first, second = noise(5 * MIB, 1), noise(1000, 2)
    crc = zlib.crc32(first + second)
    async with clients(worker_env, monkeypatch) as opened:
        store = S3Store(opened, worker_env.archives)
        upload = await store.create_upload(Target("d/download.zip", "attachment"))
        await upload.upload_part(1, memoryview(first), zlib.crc32(first))
        await upload.upload_part(2, memoryview(second), zlib.crc32(second))
        if wrong == "size":
            upload._sizes[2] += 1  # what S3 is told does not fit what it has

        with pytest.raises(ArchiverError):
            await upload.complete(len(first) + len(second) + (wrong == "size"), crc ^ (wrong == "crc"))
        assert await store.find("d/download.zip") is None
        await upload.abort()
    assert worker_env.uploads() == []


async def test_a_part_of_other_bytes_than_were_summed_is_refused(
    worker_env: WorkerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = noise(5 * MIB)
    async with clients(worker_env, monkeypatch) as opened:
        upload = await S3Store(opened, worker_env.archives).create_upload(Target("d/download.zip", "attachment"))

        with pytest.raises(ArchiverError):
            await upload.upload_part(1, memoryview(body), zlib.crc32(body) ^ 1)
        await upload.abort()


def test_five_hundred_objects_become_one_archive(worker_env: WorkerEnv) -> None:
    bodies = {f"shoot/{n:03}.jpg": noise(2000 + n, n) for n in range(500)}
    for key, body in bodies.items():
        worker_env.put(key, body)
    worker_env.worker()
    worker_env.send_request(*bodies, job_id="five hundred")

    answer = worker_env.answer()

    members = worker_env.archive(answer["archive"]["key"])
    assert (answer["status"], answer["archive"]["files"]) == ("succeeded", 500)
    assert members == {key.rpartition("/")[2]: body for key, body in bodies.items()}


def test_a_worker_that_is_killed_while_it_uploads_loses_nothing(local: dict[str, str]) -> None:
    """The next one does the job again, sweeps the upload that was left behind, and answers once."""
    with WorkerEnv(local, visibility=5) as worker_env:
        bodies = {f"{n}.bin": noise(6 * MIB, n) for n in range(12)}
        for key, body in bodies.items():
            worker_env.put(key, body)
        first = worker_env.worker()
        worker_env.send_request(*bodies)
        wait_until(worker_env.uploads, "an upload")
        first.kill()
        left = worker_env.uploads()

        worker_env.worker()
        answer = worker_env.answer()

        assert len(left) == 1
        assert worker_env.archive(answer["archive"]["key"]) == bodies
        wait_until(lambda: worker_env.queue_depth(worker_env.source) == 0, "the source queue to be empty")
        assert worker_env.queue_depth(worker_env.dead) == 0
        assert worker_env.uploads() == []


@pytest.mark.parametrize("how", ["aws", "archiver"])
def test_a_rejected_message_goes_back_once_its_cause_is_mended(worker_env: WorkerEnv, how: str) -> None:
    """By SQS's own move task, with its destination named: what a worker rejected carries no source."""
    worker_env.worker()
    worker_env.send_request("late.jpg", job_id="late")
    wait_until(lambda: worker_env.queue_depth(worker_env.dead) == 1, "the message to be rejected")
    listed = json.loads(worker_env.archiver("dlq", "list", "--json").stdout)
    assert [(one["job_id"], one["code"]) for one in listed["messages"]] == [("late", "source_missing")]
    worker_env.put("late.jpg", b"here now")

    if how == "aws":
        source, target = worker_env.arn(worker_env.dead), worker_env.arn(worker_env.source)
        worker_env.aws("sqs", "start-message-move-task", "--source-arn", source, "--destination-arn", target)
    else:
        moved = worker_env.archiver("dlq", "redrive", "--all", "--yes")
        assert (moved.returncode, moved.stdout) == (0, "sent back: 1 message\n")

    assert worker_env.answer()["job_id"] == "late"
    wait_until(lambda: worker_env.queue_depth(worker_env.dead) == 0, "the dead-letter queue to be empty")


def test_the_check_up_finds_nothing_bad(worker_env: WorkerEnv) -> None:
    ended = worker_env.archiver("check", "--json")

    states = {finding["what"]: finding["state"] for finding in json.loads(ended.stdout)}
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [what for what, state in states.items() if state in ("bad", "unknown")] == []


def test_an_archive_that_is_there_is_not_written_over(worker_env: WorkerEnv) -> None:
    """What `If-None-Match` is for, asked of the store itself."""
    worker_env.put("a.jpg", b"a")
    worker_env.worker()
    worker_env.send_request("a.jpg", job_id="same")
    first = worker_env.answer()
    worker_env.send_request("a.jpg", job_id="same")

    assert worker_env.answer()["archive"] == first["archive"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        make_client("s3", worker_env.environ).put_object(
            Bucket=worker_env.archives, Key=first["archive"]["key"], Body=b"other", IfNoneMatch="*"
        )


def test_an_archived_object_is_restored_and_then_read(worker_env: WorkerEnv) -> None:
    """LocalStack refuses to read it before, and restores at once."""
    for key, storage in (("src/cold", "GLACIER"), ("src/deep", "DEEP_ARCHIVE"), ("src/warm", "STANDARD")):
        worker_env.s3.put_object(Bucket=worker_env.sources, Key=key, Body=key.encode(), StorageClass=storage)
    with pytest.raises(ClientError, match="InvalidObjectState"):
        worker_env.s3.get_object(Bucket=worker_env.sources, Key="src/cold")
    worker_env.worker(RESTORE_TIERS="Bulk", RESTORE_MAX_DAYS="3")
    worker_env.send_request(files=[{"prefix": "src/"}], on_archived="restore", restore={"days": 3})

    answer = worker_env.answer()

    assert answer["status"] == "succeeded", answer
    assert worker_env.archive(answer["archive"]["key"]) == {
        name: f"src/{name}".encode() for name in ("cold", "deep", "warm")
    }
    for key in ("src/cold", "src/deep"):
        assert 'ongoing-request="false"' in worker_env.s3.head_object(Bucket=worker_env.sources, Key=key)["Restore"]
