"""Requests with archived objects: restored once and waited for, skipped, or refused."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from fakes import FakeHold
from structlog.testing import capture_logs
from worker.pipeline_env import PipelineEnv

from archiver.errors import LeaseLost, Rejected, SourceUnavailable, TransferInterrupted
from jobs.waiting_env import WAITS, WaitEnv, instantly, soon, until


@dataclass
class RestoreEnv(WaitEnv):
    """An object `cold` in Glacier, and one `warm`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.put(cold=b"cold", warm=b"warm")
        self.cold = self.stage.s3.put("source", "cold", b"cold")
        self.stage.s3.make_unavailable(self.cold, "source_archived")


@instantly
async def test_an_archived_object_is_restored_once_and_the_job_goes_on_when_it_is_readable() -> None:
    env = RestoreEnv()
    env.order("cold", "warm", timeout=None, on_archived="restore", restore={"tier": "Bulk", "days": 3})
    running = env.start()
    await asyncio.sleep(5 * 3600)
    assert env.restorer.asked == [(env.cold, "Bulk", 3)]
    assert (env.worker.parked, env.receives()) == (1, {1})
    env.restorer.finish(env.cold)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.archive() == {"cold": b"cold", "warm": b"warm"}
    assert len(env.restorer.asked) == 1


@instantly
async def test_a_restore_that_takes_longer_than_the_limit_ends_with_the_ordinary_verdict() -> None:
    env = RestoreEnv()
    env.order("cold", timeout=None, on_archived="restore", restore={"timeout": 3600})
    running = env.start()
    await until(lambda: env.observer.seen)
    await env.end(running)

    assert 3598 <= env.now() <= 3700
    assert [(one.outcome, one.code) for one in env.observer.seen] == [("rejected", "source_archived")]


@instantly
async def test_a_restore_that_runs_already_is_not_asked_for() -> None:
    env = RestoreEnv()
    env.stage.s3.objects[env.cold] = replace(env.stage.s3.objects[env.cold], restoring=True)
    env.order("cold", timeout=None, on_archived="restore")
    running = env.start()
    await asyncio.sleep(100)
    env.restorer.finish(env.cold)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.restorer.asked == []


@instantly
async def test_an_object_of_intelligent_tiering_is_restored_for_good() -> None:
    env = RestoreEnv()
    env.stage.s3.objects[env.cold] = replace(env.stage.s3.objects[env.cold], tiered=True)
    env.order("cold", timeout=None, on_archived="restore")
    running = env.start()
    await until(lambda: env.restorer.asked)
    env.restorer.finish(env.cold)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.restorer.asked == [(env.cold, "Standard", None)]


@instantly
async def test_a_failed_request_for_a_restore_is_repeated() -> None:
    env = RestoreEnv()
    env.restorer.faults.plan("restore", TransferInterrupted("503 GlacierExpeditedRetrievalNotAvailable"), times=2)
    env.order("cold", timeout=None, on_archived="restore")
    running = env.start()
    await until(lambda: env.restorer.asked)
    env.restorer.finish(env.cold)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert len(env.restorer.asked) == 1


@instantly
async def test_a_refused_restore_is_not_waited_for() -> None:
    env = RestoreEnv()
    env.restorer.faults.plan("restore", SourceUnavailable("source_denied", "denied"), times=0)
    env.order("cold", timeout=None, on_archived="restore")
    with capture_logs() as logs:
        running = env.start()
        await until(lambda: env.observer.seen, 60)
        await env.end(running)

    assert [(one.outcome, one.code) for one in env.observer.seen] == [("rejected", "source_archived")]
    assert [line["reason"] for line in logs if line["event"] == "restore.refused"] == ["source_denied: denied"]


async def test_nothing_is_asked_of_s3_once_the_lease_is_lost() -> None:
    def lost() -> None:
        raise LeaseLost("lost")

    env = RestoreEnv()
    message = await env.message(files=[{"source": "cold"}], on_archived="restore")
    with pytest.raises(LeaseLost):
        await soon(env.pipeline.run(message, FakeHold(lost)))
    assert env.restorer.asked == []


@pytest.mark.parametrize(
    ("on_missing", "on_archived", "outcome"),
    [
        ("fail", None, "source_archived"),
        ("skip", None, "partial"),
        ("fail", "skip", "partial"),
        ("skip", "skip", "partial"),
        ("skip", "fail", "source_archived"),
        ("fail", "fail", "source_archived"),
    ],
)
async def test_archived_objects_are_treated_as_the_request_says(
    on_missing: str, on_archived: str | None, outcome: str
) -> None:
    env = PipelineEnv(rules=WAITS)
    env.put(warm=b"warm", cold=b"cold")
    env.stage.s3.make_unavailable(env.stage.s3.put("source", "cold", b"cold"), "source_archived")
    files = [{"source": "warm"}, {"source": "cold"}]
    running = env.run(files=files, on_missing=on_missing, on_archived=on_archived)
    if outcome != "partial":
        with pytest.raises(Rejected, match=outcome) as rejected:
            await running
        assert [one.source for one in rejected.value.sources] == ["cold"]
        return

    assert (await running).status == "partial"
    assert env.answer["missing"] == [{"source": "cold", "code": "source_archived"}]


async def test_a_missing_object_rejects_a_request_that_skips_archived_ones() -> None:
    env = PipelineEnv(rules=WAITS)
    env.stage.s3.make_unavailable(env.stage.s3.put("source", "cold", b"cold"), "source_archived")
    with pytest.raises(Rejected, match="source_missing") as rejected:
        await env.run("cold", "none", on_archived="skip")

    assert [one.source for one in rejected.value.sources] == ["none"]


@instantly
async def test_archived_objects_under_a_prefix_are_restored_and_those_that_are_not_cost_no_look() -> None:
    """A listing says that they are archived, and HEAD how far their restore is."""
    env = RestoreEnv()
    env.stage.s3.buckets.add("source")
    env.order(timeout=None, files=[{"prefix": "s3://source/"}], on_archived="restore")
    running = env.start()
    await until(lambda: env.restorer.asked)
    await asyncio.sleep(100)
    assert set(env.stage.reader.heads) == {env.cold}
    env.restorer.finish(env.cold)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.restorer.asked == [(env.cold, "Standard", 1)]
    assert env.archive() == {"cold": b"cold", "warm": b"warm"}


@instantly
async def test_an_archived_manifest_is_restored_too() -> None:
    env = RestoreEnv()
    manifest = env.stage.s3.put("source", "list.csv", b"source\nwarm\n")
    env.stage.s3.make_unavailable(manifest, "source_archived")
    env.order(timeout=None, manifest="s3://source/list.csv", on_archived="restore")
    running = env.start()
    await until(lambda: env.restorer.asked)
    env.restorer.finish(manifest)
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.restorer.asked == [(manifest, "Standard", 1)]
    assert env.archive() == {"warm": b"warm"}


@pytest.mark.parametrize(("on_archived", "heads"), [("skip", 2), ("fail", 0), (None, 0)])
async def test_one_pass_is_for_requests_that_archived_objects_reject(on_archived: str | None, heads: int) -> None:
    """If they are skipped, the place of a member depends on which of those before it are archived."""
    env = PipelineEnv(rules=WAITS)
    env.put(a=b"a", b=b"b")
    await env.run("a", "b", on_archived=on_archived)

    assert len(env.stage.reader.heads) == heads


@pytest.mark.parametrize("on_archived", ["fail", None])
async def test_all_archived_objects_are_reported_although_one_pass_found_the_first(on_archived: str | None) -> None:
    env = PipelineEnv(rules=WAITS)
    env.put(warm=b"warm")
    for key in ("cold", "colder"):
        env.stage.s3.make_unavailable(env.stage.s3.put("source", key, b"cold"), "source_archived")
    with pytest.raises(Rejected, match="source_archived") as rejected:
        await env.run("cold", "warm", "colder", on_archived=on_archived)

    assert [one.source for one in rejected.value.sources] == ["cold", "colder"]
