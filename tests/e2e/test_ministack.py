"""On MiniStack, which honours the conditions of deletes and copies, and knows buckets without ACLs."""

import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from archiver.aws.clients import ClientLimits, Clients, open_clients
from archiver.aws.s3_changes import S3Changes
from archiver.aws.s3_store import S3Store
from archiver.core.after import AfterOrder, AfterRules, Kept, MoveRule
from archiver.core.attributes import Attributes
from archiver.core.locations import AllowList, Location
from archiver.core.receipt_parser import ReceiptMember
from archiver.ports import Target
from archiver.stages.after import AfterStage

from .worker_env import MIB, WorkerEnv


@pytest.fixture
def env(mini: dict[str, str]) -> Iterator[WorkerEnv]:
    with WorkerEnv({**mini, "ARCHIVE_BASE_URL": "", "SQS_FAILURE_QUEUE": ""}) as worker_env:
        yield worker_env


@pytest.fixture
async def clients(env: WorkerEnv, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    for name, value in env.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    async with open_clients(ClientLimits()) as clients:
        yield clients


def policy(env: WorkerEnv, folder: Path) -> dict[str, str]:
    file = folder / "policy.toml"
    sources = env.sources
    move = f'move = [{{from = "{sources}/src/", to = "{sources}/done/"}}]'
    file.write_text(f'[after]\ndelete = ["{sources}"]\n{move}\nflags = ["{sources}/done/"]\n')
    return {"POLICY_FILE": str(file)}


def keys(env: WorkerEnv) -> list[str]:
    pages = env.s3.get_paginator("list_objects_v2").paginate(Bucket=env.sources)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def test_a_worker_moves_more_objects_than_a_batch_call_takes_and_raises_the_flag(
    env: WorkerEnv, tmp_path: Path
) -> None:
    names = [f"{number:04}.txt" for number in range(1010)]
    for name in names:
        env.put(f"src/{name}", name.encode())
    env.put("src-other", b"o")
    env.worker(**policy(env, tmp_path))
    destination, flag = f"s3://{env.sources}/done/", f"s3://{env.sources}/done/z.fin"
    env.send_request(files=[{"prefix": "src/"}], after={"action": "move", "destination": destination}, flag=flag)

    answer = env.answer()

    assert answer["after"] == {"action": "move", "done": 1010, "kept": [], "problem": None, "flag": flag}
    assert keys(env) == [*(f"done/{name}" for name in names), "done/z.fin", "src-other"]
    assert env.archive(answer["archive"]["key"]) == {name: name.encode() for name in names}


def test_archived_objects_are_deleted_and_a_second_delivery_ends_the_same(env: WorkerEnv, tmp_path: Path) -> None:
    env.put("src/a", b"a")
    env.worker(**policy(env, tmp_path))
    for _ in range(2):
        env.send_request("src/a", job_id="twice", after={"action": "delete"})
        answer = env.answer()
        assert (answer["status"], answer["after"]["done"], answer["after"]["kept"]) == ("succeeded", 1, [])
    assert keys(env) == []


async def test_an_object_that_was_overwritten_since_it_was_archived_is_kept(env: WorkerEnv, clients: Clients) -> None:
    """Copied at once: MiniStack has no CRC-32 of whole objects that are uploaded in parts."""
    bodies = {f"src/{name}": Random(name).randbytes(MIB) for name in "abc"}
    members = []
    for key, body in bodies.items():
        etag = env.s3.put_object(Bucket=env.sources, Key=key, Body=body)["ETag"]
        source = f"s3://{env.sources}/{key}"
        members.append(ReceiptMember(key, source, None, etag, len(body), zlib.crc32(body), 0, datetime.now(UTC)))
    newer = bytes(MIB)
    env.put("src/a", newer)
    env.put("done/b", b"theirs")
    everywhere = AllowList("", {env.sources: ("",)})
    rules = AfterRules(everywhere, (MoveRule(everywhere, everywhere),), everywhere)
    flag = Location(env.sources, "done/z.fin")

    async def read() -> AsyncIterator[ReceiptMember]:
        for member in members:
            yield member

    stage = AfterStage(S3Changes(clients.s3, env.archives))
    order = AfterOrder(rules, "move", Location(env.sources, "done/"), flag=flag)
    result = await stage.run(order, read, lambda: None)

    assert (result.done, result.flag) == (1, None)
    assert sorted(result.kept, key=str) == [
        Kept(f"s3://{env.sources}/src/a", "source_changed"),
        Kept(f"s3://{env.sources}/src/b", "name_conflict"),
    ]
    there = {key: env.s3.get_object(Bucket=env.sources, Key=key)["Body"].read() for key in keys(env)}
    assert there == {"src/a": newer, "src/b": bodies["src/b"], "done/b": b"theirs", "done/c": bodies["src/c"]}
    assert env.s3.list_multipart_uploads(Bucket=env.sources).get("Uploads", []) == []

    deletes = await stage.run(AfterOrder(rules, "delete"), read, lambda: None)
    assert [one.code for one in deletes.kept] == ["source_changed"]
    assert keys(env) == ["done/b", "done/c", "src/a"]


async def test_a_bucket_without_acls_takes_archives_without_one(env: WorkerEnv, clients: Clients) -> None:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    env.s3.put_bucket_ownership_controls(Bucket=env.archives, OwnershipControls=rules)
    target = Target("d/a.zip", "attachment", attributes=Attributes("public-read", None, {"team": "web"}))
    with capture_logs() as logs:
        await S3Store(clients, env.archives).put(target, memoryview(b"zip"), zlib.crc32(b"zip"))
    assert [entry["event"] for entry in logs] == ["archive.without_acl"]
    tags = env.s3.get_object_tagging(Bucket=env.archives, Key="d/a.zip")["TagSet"]
    assert tags == [{"Key": "team", "Value": "web"}]
