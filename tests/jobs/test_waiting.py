"""Requests that wait for their objects: without a slot, without using up receives, and to the ordinary verdict."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from fakes import FakeHold, FakeNotifier, FakeObserver, FakeQueue, FakeRestorer
from instant_loop import run_instantly
from structlog.testing import capture_logs
from worker.pipeline_env import ARN, RULES, PipelineEnv

from archiver.core.locations import Location
from archiver.core.plan import ObjectInfo
from archiver.core.waiting import WaitRules
from archiver.errors import LeaseLost, Rejected, SourceUnavailable, TransferInterrupted
from archiver.jobs.archive import ArchiveWork
from archiver.ports import QueueFacts
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import PARKED_REDELIVERY_DELAY, Settler
from stages.builders import StageEnv

T = TypeVar("T")
VISIBILITY = 300
WAITS = replace(RULES, waiting=WaitRules(3600, ("Standard", "Bulk"), 7, 21_600))


@dataclass
class WaitEnv(PipelineEnv):
    """A worker with *slots* on the fakes, in the event loop's time, which may pass instantly."""

    rules: Any = WAITS
    slots: int = 1
    max_parked: int = 100
    visibility: int = VISIBILITY
    gate: ReceiveGate = field(default_factory=ReceiveGate)
    observer: FakeObserver = field(default_factory=FakeObserver)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        facts = QueueFacts(ARN, self.visibility, 43_200, 5)
        self.queue = FakeQueue(facts, dead_letters=self.dead, clock=self.now, wait_seconds=20)
        self.restorer = FakeRestorer(self.stage.s3)
        self.pipeline = self.make()

    def work(self, restorer: FakeRestorer | None = None) -> ArchiveWork:
        return super().work(restorer or self.restorer)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def start(self) -> asyncio.Task[None]:
        settler = Settler(self.queue, self.pipeline, self.gate, self.observer, clock=self.now)
        limits = WorkerLimits(self.slots, wait=20, grace=30, max_parked=self.max_parked)
        self.worker = Worker(self.queue, settler, self.gate, limits, heartbeat=Heartbeat())
        return asyncio.create_task(self.worker.run(self.stop))

    def order(self, *keys: str, timeout: int | None = 900, **fields: Any) -> str:
        """Send a request that waits."""
        wait = {} if timeout is None else {"wait_for": {"timeout": timeout}}
        return self.queue.put(json.dumps({"files": [{"source": key} for key in keys], **wait, **fields}))

    async def end(self, running: asyncio.Task[None]) -> None:
        self.stop.set()
        await running

    def receives(self) -> set[int]:
        return {message.receive_count for message in self.queue.messages}

    def heads(self) -> int:
        return self.stage.reader.faults.calls["head"]


async def until(condition: Callable[[], object], most: float = 40_000) -> None:
    async with asyncio.timeout(most):
        while not condition():
            await asyncio.sleep(1)


async def soon(work: Coroutine[Any, Any, T]) -> T:
    """Run *work*, which must not wait."""
    async with asyncio.timeout(5):
        return await work


def instantly(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_instantly(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@instantly
async def test_a_hundred_waiting_jobs_leave_the_only_slot_to_others_and_all_go_on_in_the_end() -> None:
    env = WaitEnv()
    waiting = [env.order(f"late-{number}", timeout=3600) for number in range(100)]
    running = env.start()
    await until(lambda: env.worker.parked == 100)
    env.put(there=b"x")
    others = [env.order("there", timeout=None) for _ in range(5)]
    await until(lambda: len(env.queue.deleted) == 5)
    assert env.queue.deleted == others

    await asyncio.sleep(900)  # three visibility timeouts
    assert (env.worker.parked, env.receives()) == (100, {1})
    for number in range(100):
        env.stage.s3.put("source", f"late-{number}", b"late")
    await until(lambda: len(env.queue.deleted) == 105)
    await env.end(running)

    assert sorted(env.queue.deleted[5:]) == sorted(waiting)
    assert {result.outcome for result in env.observer.seen} == {"done"}
    assert env.dead.messages == []


@instantly
async def test_at_shutdown_all_waiting_messages_go_back_at_once_and_the_next_worker_goes_on() -> None:
    env = WaitEnv()
    for number in range(100):
        env.order("late", job_id=f"job {number}", timeout=3600)
    running = env.start()
    await until(lambda: env.worker.parked == 100)
    await asyncio.sleep(1000)
    began = env.now()
    await env.end(running)

    assert [delay for _, delay in env.queue.released] == [PARKED_REDELIVERY_DELAY] * 100
    assert env.now() - began <= 30  # the long poll in flight
    assert (len(env.queue.messages), env.receives()) == (100, {1})
    env.put(late=b"x")
    env.stop = asyncio.Event()
    running = env.start()
    await until(lambda: not env.queue.messages)
    await env.end(running)
    assert len(env.queue.deleted) == 100


@instantly
async def test_messages_of_a_worker_that_died_are_waited_for_by_the_next_one() -> None:
    """A killed process calls nothing any more: its messages are visible again after their visibility timeout."""
    env = WaitEnv()
    for _ in range(10):
        env.order("late", timeout=3600)
    killed, calls = env.start(), env.queue.faults
    await until(lambda: env.worker.parked == 10)
    for verb in ("extend", "release", "receive", "delete"):
        calls.plan(verb, LeaseLost("killed"), times=0)
    await asyncio.sleep(VISIBILITY)
    killed.cancel()
    await asyncio.wait([killed])
    calls._plans.clear()
    env.put(late=b"x")
    assert len(env.queue.visible) == 10

    running = env.start()
    await until(lambda: not env.queue.messages)
    await env.end(running)
    assert len(env.queue.deleted) == 10


@instantly
async def test_a_job_whose_message_another_worker_has_stops_waiting() -> None:
    env = WaitEnv()
    env.order("late")
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    env.queue.make_visible()
    (theirs,) = await env.queue.receive(1)
    await until(lambda: env.observer.seen)
    env.put(late=b"x")
    await asyncio.sleep(100)

    assert [result.outcome for result in env.observer.seen] == ["lease_lost"]
    assert env.worker.parked == 0
    assert env.answers is not None
    assert (env.answers.sent, env.queue.deleted) == ([], [])
    await env.queue.delete(theirs)
    await env.end(running)


@instantly
async def test_a_job_whose_message_is_gone_stops_waiting() -> None:
    env = WaitEnv()
    name = env.order("late", timeout=3600)
    running = env.start()
    await until(lambda: env.worker.parked == 1)
    del env.queue._queue[name]
    await until(lambda: env.observer.seen, VISIBILITY)
    await env.end(running)

    assert [result.outcome for result in env.observer.seen] == ["lease_lost"]
    assert {location.bucket for location in env.stage.s3.objects} == set()


@instantly
async def test_a_wait_ends_at_its_limit_with_the_verdict_of_a_request_that_does_not_wait() -> None:
    env, plain = WaitEnv(), WaitEnv()
    env.order("late", "later", timeout=900)
    plain.order("late", "later", timeout=None)
    running, other = env.start(), plain.start()
    await until(lambda: plain.observer.seen)
    began = env.now()
    await until(lambda: env.observer.seen)

    assert 898 <= env.now() - began <= 900
    assert (env.observer.seen[0].outcome, env.observer.seen[0].code) == ("rejected", "source_missing")
    (failure,), (expected,) = env.failures.sent, plain.failures.sent
    assert json.loads(failure.body)["error"] == json.loads(expected.body)["error"]
    await env.end(running)
    await plain.end(other)


@instantly
async def test_missing_objects_are_skipped_once_the_wait_is_over() -> None:
    env = WaitEnv()
    env.put(there=b"x")
    env.order("there", "late", on_missing="skip")
    running = env.start()
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.now() >= 900
    assert (env.answer["status"], [one["code"] for one in env.answer["missing"]]) == ("partial", ["source_missing"])


@instantly
async def test_a_failing_store_does_not_end_the_wait() -> None:
    env = WaitEnv()
    env.order("late")
    env.stage.reader.faults.plan("head", TransferInterrupted("reset"), times=30)
    running = env.start()
    await until(lambda: env.heads() > 30)
    env.put(late=b"x")
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert [result.outcome for result in env.observer.seen] == ["done"]


@instantly
async def test_looks_of_waiting_jobs_leave_most_connections_to_jobs_that_work() -> None:
    env = WaitEnv(StageEnv(total=15 << 20, most=128), visibility=3600)
    for number in range(20):
        env.order(*(f"late-{number}-{each}" for each in range(20)))
    running = env.start()
    await until(lambda: env.worker.parked == 20)
    head, now, most = env.stage.reader.head, 0, 0

    async def counted(location: Location) -> ObjectInfo:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        try:
            await asyncio.sleep(0.02)
            return await head(location)
        finally:
            now -= 1

    env.stage.reader.head = counted  # type: ignore[method-assign]
    await asyncio.sleep(200)
    await env.end(running)

    assert 8 < most <= 32


@instantly
async def test_progress_tells_what_is_awaited() -> None:
    env = WaitEnv(watcher=FakeNotifier())
    env.put(there=b"x")
    env.order("there", "late", "later")
    running = env.start()
    await asyncio.sleep(100)
    env.put(late=b"x")
    await asyncio.sleep(100)
    env.put(later=b"x")
    await until(lambda: env.queue.deleted)
    await env.end(running)

    assert env.watcher is not None
    events = [json.loads(note.body) for note in env.watcher.sent]
    statuses = [event["status"] for event in events]
    assert statuses[:3] == ["accepted", "waiting", "waiting"]
    assert statuses[-1] == "succeeded"
    awaited = [event["progress"].get("awaited") for event in events if "progress" in event]
    assert awaited[:3] == [None, 2, 1]
    assert set(awaited[3:]) <= {None}


@instantly
async def test_a_job_beyond_the_limit_waits_in_its_slot_and_says_so() -> None:
    env = WaitEnv(max_parked=1)
    with capture_logs() as logs:
        for number in range(3):
            env.order(f"late-{number}")
        running = env.start()
        await until(lambda: env.worker.parked == 2)
        await asyncio.sleep(200)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["job.parked_in_slot"]
    assert env.receives() == {0, 1}  # the third was not received: another worker may have it
    env.stage.s3.put("source", "late-0", b"x")
    await until(lambda: len(env.queue.deleted) == 1)  # the parked one resumes, and the other parks
    await env.end(running)


async def test_objects_that_are_there_are_not_waited_for() -> None:
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    env.put(a=b"a")
    message = await env.message(files=[{"source": "a"}], wait_for={"timeout": 900})
    await env.pipeline.run(message, hold)

    assert (hold.parks, env.archive()) == (0, {"a": b"a"})


async def test_a_redelivered_job_whose_archive_exists_waits_for_nothing() -> None:
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    env.put(a=b"a")
    request = {"files": [{"source": "a"}], "wait_for": {"timeout": 900}, "job_id": "j"}
    await env.pipeline.run(await env.message(**request), FakeHold())
    env.stage.s3.objects = {at: one for at, one in env.stage.s3.objects.items() if at.bucket != "source"}
    done = await soon(env.pipeline.run(await env.message(**request), hold))

    assert (done.reused, hold.parks) == (True, 0)


async def test_a_redelivered_message_waits_for_the_rest_of_its_time_only() -> None:
    env, hold = PipelineEnv(rules=WAITS), FakeHold()
    message = await env.message(files=[{"source": "a"}], wait_for={"timeout": 900})
    earlier = replace(message, first_received=str(int((time.time() - 901) * 1000)), receive_count=2)
    with pytest.raises(Rejected, match="source_missing"):
        await soon(env.pipeline.run(earlier, hold))

    assert hold.parks == 0


# ---- restores


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
