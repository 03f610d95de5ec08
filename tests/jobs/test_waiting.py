"""Requests that wait for their objects: without a slot, without using up receives, and to the ordinary verdict."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from fakes import FakeHold, FakeNotifier
from structlog.testing import capture_logs
from worker.pipeline_env import PipelineEnv

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.errors import LeaseLost, Rejected, TransferInterrupted
from archiver.worker.settle import PARKED_REDELIVERY_DELAY
from jobs.waiting_env import VISIBILITY, WAITS, WaitEnv, instantly, soon, until
from stages.builders import StageEnv


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
