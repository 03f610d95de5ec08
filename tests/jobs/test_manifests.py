"""Requests whose files stand in a manifest: the whole job, in memory."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.locations import AllowList, Location
from archiver.core.manifest import MAX_MANIFEST_BYTES
from archiver.core.objects import ListPage
from archiver.core.select import Prefix
from archiver.errors import Rejected, TransientError
from archiver.ports import JobSuccess
from archiver.stages import manifest as stage

LIST = Location("source", "lists/m")


def env_with(manifest: str | bytes, **rules: Any) -> PipelineEnv:
    env = PipelineEnv(rules=replace(RULES, **rules))
    for key in ("a.txt", "src/b.txt", "src/c.txt"):
        env.stage.s3.put("source", key, key.encode())
    put(env, manifest)
    return env


def put(env: PipelineEnv, manifest: str | bytes) -> None:
    env.stage.s3.put(LIST.bucket, LIST.key, manifest.encode() if isinstance(manifest, str) else manifest)


async def run(env: PipelineEnv, manifest: str = "s3://source/lists/m", **request: Any) -> JobSuccess:
    message = await env.message(manifest=manifest, **request)
    return await env.pipeline.run(message, FakeHold())


async def rejection(env: PipelineEnv, **request: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await run(env, **request)
    assert not any(at.bucket == "archives" for at in env.stage.s3.objects)
    return caught.value


FILES = [{"source": "a.txt"}, {"prefix": "src/"}, {"inline": "x", "name": "x.txt"}]


@pytest.mark.parametrize("source", ["s3://source/lists/m", "lists/m"])
async def test_the_files_of_a_manifest_are_archived_in_its_order(source: str) -> None:
    env = env_with(json.dumps({"files": FILES, "on_missing": "skip"}))

    done = await run(env, source, job_id="j", metadata={"k": 1})

    assert list(env.archive()) == ["a.txt", "b.txt", "c.txt", "x.txt"]
    assert (done.files, env.answer["metadata"]) == (4, {"k": 1})
    assert env.stage.reader.heads == [LIST]


async def test_a_redelivery_is_the_same_request_whatever_the_manifest_says_by_then() -> None:
    env = env_with(json.dumps(FILES))
    first = await run(env, job_id="j")
    put(env, "another.txt")

    assert await run(env, job_id="j") == replace(first, reused=True)
    with pytest.raises(Rejected, match="job_conflict"):
        await run(env, "lists/m", job_id="j")
    with pytest.raises(Rejected, match="job_conflict"):
        await env.run("a.txt", job_id="j")


async def test_a_manifest_that_changes_while_it_is_read_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PIECE_BYTES", 10)
    env = env_with("a.txt\nnothing.txt\nnothing.txt\n")
    reads = 0

    def change(location: Location, offset: int) -> None:
        nonlocal reads
        reads += location == LIST
        if location == LIST and offset == 10 and reads == 2:
            put(env, "src/b.txt\nsrc/c.txt\n")

    env.stage.reader.on_read = change
    await run(env)
    assert list(env.archive()) == ["b.txt", "c.txt"]


async def test_a_manifest_that_keeps_changing_is_source_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PIECE_BYTES", 10)
    env = env_with("a.txt\n" * 10)
    reads = 0

    def change(location: Location, offset: int) -> None:
        nonlocal reads
        if location == LIST:
            reads += 1
            put(env, "a.txt\n" * (10 + reads))

    env.stage.reader.on_read = change
    rejected = await rejection(env)
    assert rejected.code == "source_changed"
    assert "the manifest s3://source/lists/m changed each time" in rejected.message


async def test_its_prefixes_are_listed_again_with_each_plan_but_it_is_read_once() -> None:
    env = env_with(json.dumps(FILES))
    list_page, changed = env.stage.reader.list, False

    async def list_and_change(prefix: Prefix, token: str = "") -> ListPage:
        nonlocal changed
        page = await list_page(prefix, token)
        if not changed:
            changed = True
            env.stage.s3.put("source", "src/b.txt", b"changed")
        return page

    env.stage.reader.list = list_and_change  # type: ignore[method-assign]
    await run(env)
    assert env.archive()["b.txt"] == b"changed"
    assert [at for at, _, _ in env.stage.reader.reads].count(LIST) == 1
    assert len(env.stage.reader.lists) == 2


async def test_a_manifest_that_can_not_be_read_has_the_code_of_a_source() -> None:
    env = env_with("a.txt")
    with pytest.raises(Rejected, match="source_missing: the manifest s3://source/none can't be read") as caught:
        await run(env, "s3://source/none")
    assert [one.source for one in caught.value.sources] == ["s3://source/none"]
    env.stage.s3.make_unavailable(LIST, "source_archived")
    assert (await rejection(env)).code == "source_archived"
    assert (await rejection(env, on_missing="skip")).code == "source_archived"


async def test_a_manifest_that_is_denied_is_temporary_until_something_was_read_from_the_bucket() -> None:
    env = env_with("a.txt")
    env.stage.s3.make_unavailable(LIST, "source_denied")
    with pytest.raises(TransientError) as caught:
        await run(env)
    assert caught.value.rejection is not None
    await env.run("a.txt")
    with pytest.raises(Rejected, match="source_denied"):
        await run(env)


async def test_a_manifest_that_may_be_looked_at_but_not_read_is_denied() -> None:
    env = env_with("a.txt")
    await env.run("a.txt")
    env.stage.s3.make_unavailable(LIST, "source_denied", head_succeeds=True)
    with pytest.raises(Rejected, match="source_denied: the manifest"):
        await run(env)


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        ("s3://archives/m.json", "source_not_allowed"),
        ("s3://source/m.json", "source_not_allowed"),
        ("s3://source/", "invalid_request"),
        ("m\ud800", "invalid_request"),
        ("x" * 1025, "invalid_request"),
    ],
)
async def test_a_manifest_s_place_is_checked_before_anything_is_read(manifest: str, code: str) -> None:
    env = env_with("a.txt", allowed=AllowList.parse("source/lists/,source/src/", "archives"))
    with pytest.raises(Rejected) as caught:
        await run(env, manifest)
    assert (caught.value.code, caught.value.message.startswith("$.manifest ")) == (code, True)
    assert env.stage.reader.heads == []


async def test_the_entries_of_a_manifest_are_checked_as_those_of_a_request() -> None:
    env = env_with("src/b.txt\na.txt\n", allowed=AllowList.parse("source/lists/,source/src/", "archives"))
    rejected = await rejection(env)
    assert (rejected.code, [one.source for one in rejected.sources]) == ("source_not_allowed", ["a.txt"])
    put(env, "src/b.txt,../x\n")
    assert (await rejection(env)).code == "name_unsafe"
    put(env, "src/none.txt\n")
    assert (await rejection(env)).code == "source_missing"
    put(env, "src/b.txt\nsrc/b.txt\n")
    rejected = await rejection(env, on_duplicate="fail")
    assert rejected.code == "name_conflict"
    assert "line 2 of the manifest: $ has the path b.txt" in rejected.message


async def test_a_manifest_that_is_too_long_is_not_read() -> None:
    env = env_with(b"a.txt\n")
    blob = env.stage.s3.objects[LIST]

    class Large(bytes):
        def __len__(self) -> int:
            return MAX_MANIFEST_BYTES + 1

    env.stage.s3.objects[LIST] = replace(blob, data=Large(blob.data))
    assert (await rejection(env)).code == "too_large"
    assert env.stage.reader.reads == []
    env.stage.s3.objects[LIST] = replace(blob, data=b"")
    assert (await rejection(env)).code == "invalid_request"


async def test_more_entries_than_max_files_are_too_large() -> None:
    env = env_with("a.txt\n" * 11, max_files=10)
    assert (await rejection(env)).code == "too_large"
