"""The loop around the jobs: as many as there are slots, and a stop that loses none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fakes import FakeObserver, FakeQueue

from archiver.errors import ConfigurationError, Rejected, TransientError
from archiver.ports import Hold, JobSuccess, Message, QueueFacts
from archiver.worker import loop as module
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import Settler

DONE = JobSuccess("succeeded", 1, 1, "key", reused=False)


@dataclass
class SlowJob:
    """Each run waits for *go*. `running` now, `most` at once."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0
    done: int = 0

    def read_job_id(self, message: Message) -> str | None:
        return None

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        self.done += 1
        return DONE

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise NotImplementedError

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise NotImplementedError


@dataclass
class WorkerLoopEnv:
    slots: int = 3
    grace: float = 5.0
    queue: FakeQueue = field(default_factory=lambda: FakeQueue(QueueFacts("arn", 30, 43_200)))
    job: SlowJob = field(default_factory=SlowJob)
    gate: ReceiveGate = field(default_factory=ReceiveGate)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    observer: FakeObserver = field(default_factory=FakeObserver)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    busy: list[int] = field(default_factory=list)

    def start(self) -> asyncio.Task[None]:
        settler = Settler(self.queue, self.job, self.gate, self.observer)
        pace = WorkerLimits(self.slots, self.queue._wait_seconds, self.grace)
        worker = Worker(
            self.queue, settler, self.gate, pace, heartbeat=self.heartbeat, on_running_changed=self.busy.append
        )
        return asyncio.create_task(worker.run(self.stop))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_never_more_messages_are_received_than_there_are_free_slots() -> None:
    env, limits = WorkerLoopEnv(), list[int]()
    receive = env.queue.receive

    async def counted(limit: int) -> list[Message]:
        limits.append(limit)
        return await receive(limit)

    env.queue.receive = counted  # type: ignore[method-assign]
    for _ in range(10):
        env.queue.put("x")
    work = env.start()
    await until(lambda: env.job.running == 3)
    await asyncio.sleep(0.05)
    assert limits == [3]

    env.job.go.set()
    await until(lambda: env.job.done == 10)
    env.stop.set()
    await work

    assert env.job.most == 3
    assert max(limits) <= 3
    assert env.queue.messages == []


async def test_a_stop_lets_running_jobs_end_and_receives_no_more() -> None:
    env = WorkerLoopEnv()
    env.queue.put("x")
    work = env.start()
    await until(lambda: env.job.running == 1)
    env.stop.set()
    await asyncio.sleep(0.05)
    env.queue.put("late")
    assert not work.done()
    env.job.go.set()
    await work

    assert env.job.done == 1
    assert [message.body for message in env.queue.messages] == ["late"]


async def test_a_job_that_outlasts_the_grace_period_is_cancelled_and_given_back() -> None:
    env = WorkerLoopEnv(grace=0.05)
    env.queue.put("x")
    work = env.start()
    await until(lambda: env.job.running == 1)
    env.stop.set()
    await work

    assert env.queue.released == [(env.queue.messages[0].id, 2)]


async def test_the_grace_period_begins_with_the_stop_and_not_with_the_end_of_the_last_poll() -> None:
    """Here the poll takes longer than the grace: when it returns, there is no time left for any job."""
    env = WorkerLoopEnv(grace=0.1, queue=FakeQueue(QueueFacts("arn", 30, 43_200)))
    env.queue.faults.plan("receive", delay=0.6, nth=2)
    env.queue.put("x")
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] == 2)
    polls = [task for task in asyncio.all_tasks() if task.get_name() == "worker.poll"]
    polls[0].add_done_callback(lambda _: asyncio.get_running_loop().call_later(0.02, env.job.go.set))
    env.stop.set()
    await work

    assert env.job.done == 0
    assert env.queue.released == [(env.queue.messages[0].id, 2)]


async def test_what_the_last_poll_brings_to_a_worker_that_may_take_no_more_goes_back_at_once() -> None:
    """Refused protection: what runs goes on, and nothing else is begun."""
    env = WorkerLoopEnv(queue=FakeQueue(QueueFacts("arn", 30, 43_200)))
    env.queue.faults.plan("receive", delay=0.05)
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] == 1)
    env.gate.draining = True
    env.queue.put("late")
    await until(lambda: bool(env.queue.released))
    env.stop.set()
    await work

    assert env.job.most == 0
    assert env.queue.released == [(env.queue.messages[0].id, 0)]


async def test_failures_to_receive_are_counted_anew_after_each_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the pauses would grow for as long as the process lives."""
    attempts = list[int]()

    def at_once(attempt: int, *_: object) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(module, "full_jitter", at_once)
    env = WorkerLoopEnv()
    for number in (1, 2, 4):
        env.queue.faults.plan("receive", TransientError("500"), nth=number)
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] >= 5)
    env.stop.set()
    await work

    assert attempts == [1, 2, 1]


async def test_what_a_long_poll_brings_to_a_stopping_worker_goes_back_at_once() -> None:
    """A cancelled poll would hide it for a whole visibility time-out."""
    env = WorkerLoopEnv(queue=FakeQueue(QueueFacts("arn", 30, 43_200), wait_seconds=0.1))
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] == 1)
    env.stop.set()
    await asyncio.sleep(0.02)
    env.queue.put("late")
    await work

    assert env.job.most == 0
    assert env.queue.released == [(env.queue.messages[0].id, 0)]
    assert env.queue.visible


async def test_a_poll_that_never_returns_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_MARGIN_SECONDS", 0.05)
    env = WorkerLoopEnv()
    env.queue.faults.plan("receive", delay=60)
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] == 1)
    env.stop.set()

    await work


@pytest.mark.parametrize("error", [TransientError("500"), ConfigurationError("expired")])
async def test_receiving_goes_on_after_failures(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "configuration_retry_delay", lambda _: 0.01)
    monkeypatch.setattr(module, "full_jitter", lambda *_: 0.01)
    env = WorkerLoopEnv()
    env.queue.faults.plan("receive", error, times=3)
    env.queue.put("x")
    env.job.go.set()
    work = env.start()
    await until(lambda: env.job.done == 1)
    env.stop.set()
    await work


async def test_a_stop_ends_the_pause_after_a_failure() -> None:
    env = WorkerLoopEnv()
    env.queue.faults.plan("receive", ConfigurationError("expired"), times=0)
    work = env.start()
    await until(lambda: env.queue.faults.calls["receive"] == 1)
    env.stop.set()

    async with asyncio.timeout(2):
        await work


async def test_nothing_is_received_while_the_gate_is_shut() -> None:
    env = WorkerLoopEnv()
    env.gate.pause_receiving()
    work = env.start()
    await asyncio.sleep(0.05)
    assert env.queue.faults.calls["receive"] == 0

    env.gate.resume_receiving()
    await until(lambda: env.queue.faults.calls["receive"] > 0)
    env.stop.set()
    await work


async def test_a_rest_ends_by_itself() -> None:
    env = WorkerLoopEnv()
    env.gate.pause_for(0.05)
    work = env.start()
    await asyncio.sleep(0.02)
    assert env.queue.faults.calls["receive"] == 0
    await until(lambda: env.queue.faults.calls["receive"] > 0)
    env.stop.set()
    await work


async def test_a_defect_in_settling_one_message_does_not_end_the_others() -> None:
    env = WorkerLoopEnv()
    env.queue.faults.plan("delete", ZeroDivisionError())
    env.job.go.set()
    env.queue.put("x")
    env.queue.put("y")
    work = env.start()
    await until(lambda: env.job.done == 2)
    env.stop.set()
    await work

    assert len(env.queue.messages) == 1


async def test_a_defect_in_the_loop_ends_the_worker_with_an_error() -> None:
    """So that whoever runs the process starts another one."""
    env = WorkerLoopEnv()
    env.queue.faults.plan("receive", ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await env.start()
