"""Requests that wait for prefixes, for a manifest, or for objects of other accounts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeHold, FakeRoles
from worker.pipeline_env import PipelineEnv

from archiver.core.locations import AllowList, Location, Role
from archiver.core.objects import ListPage
from archiver.core.select import Prefix
from archiver.errors import Rejected, TransferInterrupted, TransientError
from jobs.waiting_env import WAITS, WaitEnv, instantly, soon, until
from stages.builders import StageEnv

ROLE = "arn:aws:iam::210987654321:role/exports"


def put(env: PipelineEnv, *keys: str) -> None:
    env.stage.s3.buckets.add("source")
    for key in keys:
        env.stage.s3.put("source", key, key.encode())


async def ended(env: WaitEnv, running: asyncio.Task[None]) -> tuple[str, str]:
    """How the only job ended."""
    await until(lambda: env.observer.seen)
    await env.end(running)
    (result,) = env.observer.seen
    return result.outcome, result.code


@instantly
async def test_a_prefix_is_waited_for_until_it_selects_as_many_objects_as_it_must() -> None:
    env = WaitEnv()
    put(env, "src/1", "cover")
    prefix = {"prefix": "src/", "where": {"count": {"min": 3}}}
    env.order(files=[{"source": "cover"}, prefix])
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    put(env, "src/2")
    await asyncio.sleep(100)
    assert (env.worker.parked, len(env.stage.reader.heads)) == (1, 1)
    put(env, "src/3", "src/4")

    assert await ended(env, running) == ("done", "")
    assert sorted(env.archive()) == ["1", "2", "3", "4", "cover"]


@pytest.mark.parametrize("on_empty", ["fail", "skip"])
def test_a_prefix_that_stays_empty_has_the_ordinary_verdict_in_the_end(on_empty: str) -> None:
    @instantly
    async def wait() -> None:
        env = WaitEnv()
        put(env)
        env.order(files=[{"prefix": "src/"}], on_empty=on_empty)
        running = env.start()
        assert await ended(env, running) == (("rejected", "source_missing") if on_empty == "fail" else ("done", ""))
        assert 898 <= env.now() <= 960
        if on_empty == "skip":
            assert env.answer["status"] == "skipped"

    wait()


@pytest.mark.parametrize("where", [{"age": {"gt": 60}}, {"count": {"max": 1}}])
async def test_a_prefix_that_no_waiting_fills_has_its_verdict_at_once(where: dict[str, Any]) -> None:
    """Objects that come later are younger than the request, and do not become fewer."""
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    put(env, *(["src/1", "src/2"] if "count" in where else []))
    message = await env.message(files=[{"prefix": "src/", "where": where}], wait_for={"timeout": 900})
    with pytest.raises(Rejected, match="source_missing"):
        await soon(env.pipeline.run(message, hold))

    assert hold.parks == 0


async def test_objects_that_a_prefix_selects_at_once_are_not_waited_for_and_cost_no_head() -> None:
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    put(env, "src/1", "src/2")
    message = await env.message(files=[{"prefix": "src/"}], wait_for={"timeout": 900})
    await soon(env.pipeline.run(message, hold))

    assert (hold.parks, env.stage.reader.heads) == (0, [])


@instantly
async def test_a_manifest_is_waited_for_and_then_what_it_lists() -> None:
    env = WaitEnv()
    put(env, "a")
    env.order(manifest="s3://source/list.csv")
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    env.stage.s3.put("source", "list.csv", b"source,destination\na,\nlate,album/\n")
    await asyncio.sleep(200)
    assert env.worker.parked == 1
    put(env, "late")

    assert await ended(env, running) == ("done", "")
    assert env.archive() == {"a": b"a", "album/late": b"late"}


@instantly
async def test_a_manifest_that_never_comes_has_the_ordinary_verdict() -> None:
    env = WaitEnv()
    env.order(manifest="s3://source/list.csv", on_missing="skip")
    assert await ended(env, env.start()) == ("rejected", "source_missing")


async def test_a_manifest_that_is_denied_is_not_waited_for() -> None:
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    at = env.stage.s3.put("other", "list.csv", b"source\na\n")
    env.stage.s3.make_unavailable(at, "source_denied")
    message = await env.message(manifest="s3://other/list.csv", wait_for={"timeout": 900}, on_missing="skip")
    with pytest.raises(Rejected, match="source_denied"):
        await soon(env.pipeline.run(message, hold))

    assert hold.parks == 0


@instantly
async def test_a_listing_that_fails_does_not_end_the_wait() -> None:
    env = WaitEnv()
    put(env)
    env.order(files=[{"prefix": "src/"}])
    env.stage.reader.faults.plan("list", TransferInterrupted("reset"), times=30)
    running = env.start()
    await until(lambda: env.stage.reader.faults.calls["list"] > 30)
    put(env, "src/1")

    assert await ended(env, running) == ("done", "")


async def test_too_many_files_are_refused_before_they_are_looked_for() -> None:
    env = PipelineEnv(rules=replace(WAITS, max_files=2))
    with pytest.raises(Rejected, match="too_large"):
        await soon(env.run("a", "b", "c", wait_for={"timeout": 900}))

    assert env.stage.reader.heads == []


@instantly
async def test_listings_of_waiting_jobs_are_few_at_a_time() -> None:
    """A page takes memory, and jobs that work need the connections."""
    env = WaitEnv(StageEnv(total=15 << 20, most=128), visibility=3600)
    put(env)
    for number in range(20):
        env.order(files=[{"prefix": f"{number}/{each}/"} for each in range(10)])
    running = env.start()
    await until(lambda: env.worker.parked == 20)
    list_, now, most = env.stage.reader.list, 0, 0

    async def counted(prefix: Prefix, token: str = "") -> ListPage:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        try:
            await asyncio.sleep(0.02)
            return await list_(prefix, token)
        finally:
            now -= 1

    env.stage.reader.list = counted  # type: ignore[method-assign]
    await asyncio.sleep(200)
    await env.end(running)

    assert 2 < most <= 8


def with_role(*refused: str) -> tuple[WaitEnv, FakeRoles]:
    roles = FakeRoles(*refused)
    rules = replace(WAITS, roles={ROLE: Role(AllowList.of(["partner"], "archives"))})
    return WaitEnv(rules=rules, roles=roles), roles


@instantly
async def test_an_object_of_another_account_is_looked_for_and_restored_with_its_role() -> None:
    env, roles = with_role()
    env.order(files=[{"source": "s3://partner/late", "role_arn": ROLE}], on_archived="restore")
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    assert roles.assumed
    late = env.stage.s3.put("partner", "late", b"late", role=ROLE)
    env.stage.s3.make_unavailable(late, "source_archived")
    await until(lambda: env.restorer.asked)
    env.restorer.finish(late)

    assert await ended(env, running) == ("done", "")
    assert env.restorer.asked == [(Location("partner", "late", ROLE), "Standard", 1)]


async def test_a_role_that_can_not_be_assumed_is_not_waited_for() -> None:
    env = PipelineEnv(
        rules=replace(WAITS, roles={ROLE: Role(AllowList.of(["partner"], "archives"))}), roles=FakeRoles(ROLE)
    )
    hold = FakeHold()
    files = [{"source": "s3://partner/late", "role_arn": ROLE}]
    message = await env.message(files=files, wait_for={"timeout": 900})
    with pytest.raises(TransientError) as refused:
        await soon(env.pipeline.run(message, hold))

    assert refused.value.rejection is not None
    assert (refused.value.rejection.code, hold.parks, env.stage.reader.heads) == ("source_denied", 0, [])


# ---- pings


@instantly
async def test_a_ping_that_waits_tells_how_many_objects_are_there() -> None:
    env = WaitEnv()
    put(env, "src/a.txt", "src/b.jpg")
    files = [{"prefix": "src/", "regex": r".*\.txt"}, {"source": "late"}, {"inline": "x", "name": "x.txt"}]
    env.order(files=files, test=True)
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    put(env, "late")

    assert await ended(env, running) == ("done", "")
    assert (env.answer["status"], env.answer["accepted"], env.answer["found"]) == ("alive", True, 2)
    assert not env.stage.store.events


@instantly
async def test_a_ping_whose_objects_do_not_come_tells_what_would_reject_the_request() -> None:
    env = WaitEnv()
    put(env, "a")
    env.order("a", "late", timeout=60, test=True)
    running = env.start()

    assert await ended(env, running) == ("done", "")
    answer = env.answer
    assert (answer["status"], answer["accepted"], answer["found"]) == ("alive", False, 1)
    assert answer["problem"]["code"] == "source_missing"
    assert [one["source"] for one in answer["problem"]["sources"]] == ["late"]
    assert 58 <= env.now() <= 90  # and the long poll in flight


@instantly
async def test_a_ping_whose_manifest_does_not_come_finds_nothing() -> None:
    env = WaitEnv()
    env.order(manifest="s3://source/list.csv", test=True)

    assert await ended(env, env.start()) == ("done", "")
    assert (env.answer["accepted"], env.answer["found"]) == (False, 0)
    assert env.answer["problem"]["code"] == "source_missing"


@instantly
async def test_a_ping_restores_nothing_and_counts_archived_objects_as_found() -> None:
    env = WaitEnv()
    cold = env.stage.s3.put("source", "cold", b"cold")
    env.stage.s3.make_unavailable(cold, "source_archived")
    put(env, "warm")
    env.order("cold", "warm", on_archived="restore", test=True)

    assert await ended(env, env.start()) == ("done", "")
    assert (env.answer["accepted"], env.answer["found"]) == (True, 2)
    assert env.restorer.asked == []
    assert env.now() < 60
