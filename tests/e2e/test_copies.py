"""Archives whose large members the store copies by itself: on LocalStack and on SeaweedFS, which verify the whole."""

import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from interop.readers import assert_readable

from archiver.app import open_aws
from archiver.aws.clients import ClientLimits, Clients
from archiver.aws.s3_copy_probe import S3CopyCapability
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_store import S3Store
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.errors import ArchiverError, SourceChanged
from archiver.ports import Target

from .worker_env import MIB, WorkerEnv

VIDEO = Random(1).randbytes(24 * MIB)
SIZES = {"nothing": 0, "five": 5 * MIB, "more": 5 * MIB + 1, "v 1+&%é.mp4": 24 * MIB, "small": 9, "v2.mp4": 11 * MIB}


@pytest.fixture(params=["localstack", "seaweedfs"])
def env(request: pytest.FixtureRequest, local: dict[str, str]) -> Iterator[WorkerEnv]:
    environ = dict(local)
    if request.param == "seaweedfs":
        environ |= {"AWS_ENDPOINT_URL_S3": request.getfixturevalue("weed"), "ARCHIVE_BASE_URL": ""}
    with WorkerEnv(environ) as worker_env:
        yield worker_env


def fill(env: WorkerEnv) -> dict[str, bytes]:
    bodies = {key: VIDEO[:size] for key, size in SIZES.items()}
    for key, body in bodies.items():
        env.put(key, body)
    return bodies


def test_an_archive_of_copies_is_whole_for_every_reader_and_the_store_verified_it(
    env: WorkerEnv, tmp_path: Path
) -> None:
    bodies = fill(env)
    worker = env.worker()
    env.send_request(*bodies, strategy="copy")

    archive = env.answer()["archive"]

    path = tmp_path / "copied.zip"
    env.s3.download_file(env.archives, archive["key"], str(path))
    assert_readable(path, bodies)
    assert 29 * MIB < archive["bytes_copied"] < 31 * MIB
    assert archive["bytes_copied"] + archive["bytes_streamed"] == archive["size"]
    assert archive["crc32"] == f"{zlib.crc32(path.read_bytes()):08x}"
    assert env.uploads() == []
    assert "copies.proved" in worker.log
    assert keys_left(env) == {archive["key"], archive["receipt"]}


def keys_left(env: WorkerEnv) -> set[str]:
    return {each["Key"] for each in env.s3.list_objects_v2(Bucket=env.archives).get("Contents", [])}


def test_auto_copies_one_of_two_files_where_both_save_too_little(env: WorkerEnv) -> None:
    bodies = {name: VIDEO[start : start + 12_000_000] for start, name in enumerate(("a.mp4", "b.mp4"))}
    for key, body in bodies.items():
        env.put(key, body)
    env.worker(S3_STRATEGY="auto")
    env.send_request(*bodies)

    archive = env.answer()["archive"]

    assert archive["bytes_copied"] == 12_000_000
    assert env.archive(archive["key"]) == bodies


def test_small_objects_alone_make_an_archive_of_one_part(env: WorkerEnv) -> None:
    env.put("a", b"a")
    env.worker(S3_STRATEGY="copy")
    env.send_request("a")

    archive = env.answer()["archive"]

    assert (archive["bytes_copied"], archive["bytes_streamed"]) == (0, archive["size"])
    assert env.archive(archive["key"]) == {"a": b"a"}


class Opened:
    """The parts of a worker that copy, and a source."""

    def __init__(self, env: WorkerEnv, clients: Clients, reader: S3Reader) -> None:
        self.store = S3Store(clients, env.archives)
        self.capability = S3CopyCapability(self.store, clients.s3, reader, env.archives)
        env.put("v.mp4", VIDEO)
        etag = env.s3.head_object(Bucket=env.sources, Key="v.mp4")["ETag"]
        self.source = ObjectVersion(Location(env.sources, "v.mp4"), etag)


@asynccontextmanager
async def opened(env: WorkerEnv, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    for name, value in env.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    async with open_aws(ClientLimits()) as (clients, reader):
        yield Opened(env, clients, reader)


async def test_a_wrong_crc_of_the_archive_is_refused_and_the_right_one_is_taken(
    env: WorkerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(env, monkeypatch) as parts:
        upload = await parts.store.create_upload(Target("d/download.zip", "attachment"))
        copied = await upload.copy(1, parts.source, 3, 6 * MIB)
        assert copied == zlib.crc32(VIDEO[3 : 3 + 6 * MIB])
        await upload.upload_part(2, memoryview(b"end"), zlib.crc32(b"end"))
        whole = zlib.crc32(VIDEO[3 : 3 + 6 * MIB] + b"end")

        with pytest.raises(ArchiverError):
            await upload.complete(6 * MIB + 3, whole ^ 1)
        assert await parts.store.find("d/download.zip") is None
        await upload.complete(6 * MIB + 3, whole)

    body = env.s3.get_object(Bucket=env.archives, Key="d/download.zip")["Body"].read()
    assert body == VIDEO[3 : 3 + 6 * MIB] + b"end"


async def test_an_object_that_was_replaced_since_the_plan_is_not_copied(
    env: WorkerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(env, monkeypatch) as parts:
        upload = await parts.store.create_upload(Target("d/download.zip", "attachment"))
        env.put("v.mp4", VIDEO[::-1])

        with pytest.raises(SourceChanged):
            await upload.copy(1, parts.source, 0, 6 * MIB)
        env.s3.delete_object(Bucket=env.sources, Key="v.mp4")
        with pytest.raises(SourceChanged) as caught:
            await upload.copy(1, parts.source, 0, 6 * MIB)
        assert caught.value.gone
        await upload.abort()


async def test_the_probe_finds_that_the_store_copies_and_leaves_nothing(
    env: WorkerEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On moto it finds that the store does not: tests/aws/test_s3_copy_probe.py."""
    async with opened(env, monkeypatch) as parts:
        assert await parts.capability.proved()
        assert parts.capability.reaches(env.sources)

    assert keys_left(env) == set()
    assert env.uploads() == []


def test_the_check_of_the_setup_says_that_the_store_copies(env: WorkerEnv) -> None:
    ended = env.archiver("check", "--json", S3_STRATEGY="auto")

    (row,) = [row for row in json.loads(ended.stdout) if row["what"] == "copies"]
    assert row["state"] == "ok" and f"can be copied from into {env.archives}" in row["told"]
    assert keys_left(env) == set()
