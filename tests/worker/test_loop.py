"""The loop around the jobs: as many as there are slots, and a stop that loses none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fakes import MemoryObserver, MemoryQueue

from archiver.errors import ConfigurationFault, Rejected, Temporary
from archiver.ports import Done, Message, QueueFacts
from archiver.worker import loop as module
from archiver.worker.gate import Gate
from archiver.worker.heartbeat import Pulse
from archiver.worker.loop import Pace, Worker
from archiver.worker.settle import Settler

DONE = Done("succeeded", 1, 1, "key", reused=False)


@dataclass
class SlowJob:
    """Each run waits for *go*. `running` now, `most` at once."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0
    done: int = 0

    def identify(self, message: Message) -> str | None:
        return None

    async def run(self, message: Message, confirm: Callable[[], None]) -> Done:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        self.done += 1
        return DONE

    async def reject(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        raise NotImplementedError

    async def answer_rejection(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        raise NotImplementedError


@dataclass
class Scene:
    slots: int = 3
    grace: float = 5.0
    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue(QueueFacts("arn", visibility=30)))
    job: SlowJob = field(default_factory=SlowJob)
    gate: Gate = field(default_factory=Gate)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    observer: MemoryObserver = field(default_factory=MemoryObserver)
    pulse: Pulse = field(default_factory=Pulse)
    busy: list[int] = field(default_factory=list)

    def start(self) -> asyncio.Task[None]:
        settler = Settler(self.queue, self.queue.facts, self.job, self.gate, self.observer)
        pace = Pace(self.slots, self.queue._wait_seconds, self.grace)
        worker = Worker(self.queue, settler, self.gate, pace, pulse=self.pulse, busy=self.busy.append)
        return asyncio.create_task(worker.run(self.stop))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_never_more_messages_are_received_than_there_are_free_slots() -> None:
    scene, limits = Scene(), list[int]()
    receive = scene.queue.receive

    async def counted(limit: int) -> list[Message]:
        limits.append(limit)
        return await receive(limit)

    scene.queue.receive = counted  # type: ignore[method-assign]
    for _ in range(10):
        scene.queue.put("x")
    work = scene.start()
    await until(lambda: scene.job.running == 3)
    await asyncio.sleep(0.05)
    assert limits == [3]

    scene.job.go.set()
    await until(lambda: scene.job.done == 10)
    scene.stop.set()
    await work

    assert scene.job.most == 3
    assert max(limits) <= 3
    assert scene.queue.messages == []


async def test_a_stop_lets_running_jobs_end_and_receives_no_more() -> None:
    scene = Scene()
    scene.queue.put("x")
    work = scene.start()
    await until(lambda: scene.job.running == 1)
    scene.stop.set()
    await asyncio.sleep(0.05)
    scene.queue.put("late")
    assert not work.done()
    scene.job.go.set()
    await work

    assert scene.job.done == 1
    assert [message.body for message in scene.queue.messages] == ["late"]


async def test_a_job_that_outlasts_the_grace_period_is_cancelled_and_given_back() -> None:
    scene = Scene(grace=0.05)
    scene.queue.put("x")
    work = scene.start()
    await until(lambda: scene.job.running == 1)
    scene.stop.set()
    await work

    assert scene.queue.hidden == [(scene.queue.messages[0].id, 2)]


async def test_the_grace_period_begins_with_the_stop_and_not_with_the_end_of_the_last_poll() -> None:
    """Here the poll takes longer than the grace: when it returns, there is no time left for any job."""
    scene = Scene(grace=0.1, queue=MemoryQueue(QueueFacts("arn", visibility=30)))
    scene.queue.faults.plan("receive", delay=0.6, nth=2)
    scene.queue.put("x")
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] == 2)
    polls = [task for task in asyncio.all_tasks() if task.get_name() == "worker.poll"]
    polls[0].add_done_callback(lambda _: asyncio.get_running_loop().call_later(0.02, scene.job.go.set))
    scene.stop.set()
    await work

    assert scene.job.done == 0
    assert scene.queue.hidden == [(scene.queue.messages[0].id, 2)]


async def test_what_the_last_poll_brings_to_a_worker_that_may_take_no_more_goes_back_at_once() -> None:
    """Refused protection: what runs goes on, and nothing else is begun."""
    scene = Scene(queue=MemoryQueue(QueueFacts("arn", visibility=30)))
    scene.queue.faults.plan("receive", delay=0.05)
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] == 1)
    scene.gate.closed = True
    scene.queue.put("late")
    await until(lambda: bool(scene.queue.hidden))
    scene.stop.set()
    await work

    assert scene.job.most == 0
    assert scene.queue.hidden == [(scene.queue.messages[0].id, 0)]


async def test_failures_to_receive_are_counted_anew_after_each_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the pauses would grow for as long as the process lives."""
    attempts = list[int]()

    def at_once(attempt: int, *_: object) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(module, "full_jitter", at_once)
    scene = Scene()
    for number in (1, 2, 4):
        scene.queue.faults.plan("receive", Temporary("500"), nth=number)
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] >= 5)
    scene.stop.set()
    await work

    assert attempts == [1, 2, 1]


async def test_what_a_long_poll_brings_to_a_stopping_worker_goes_back_at_once() -> None:
    """A cancelled poll would hide it for a whole visibility time-out."""
    scene = Scene(queue=MemoryQueue(QueueFacts("arn", visibility=30), wait_seconds=0.1))
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] == 1)
    scene.stop.set()
    await asyncio.sleep(0.02)
    scene.queue.put("late")
    await work

    assert scene.job.most == 0
    assert scene.queue.hidden == [(scene.queue.messages[0].id, 0)]
    assert scene.queue.visible


async def test_a_poll_that_never_returns_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_MARGIN", 0.05)
    scene = Scene()
    scene.queue.faults.plan("receive", delay=60)
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] == 1)
    scene.stop.set()

    await work


@pytest.mark.parametrize("error", [Temporary("500"), ConfigurationFault("expired")])
async def test_receiving_goes_on_after_failures(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause", lambda _: 0.01)
    monkeypatch.setattr(module, "full_jitter", lambda *_: 0.01)
    scene = Scene()
    scene.queue.faults.plan("receive", error, times=3)
    scene.queue.put("x")
    scene.job.go.set()
    work = scene.start()
    await until(lambda: scene.job.done == 1)
    scene.stop.set()
    await work


async def test_a_stop_ends_the_pause_after_a_failure() -> None:
    scene = Scene()
    scene.queue.faults.plan("receive", ConfigurationFault("expired"), times=0)
    work = scene.start()
    await until(lambda: scene.queue.faults.calls["receive"] == 1)
    scene.stop.set()

    async with asyncio.timeout(2):
        await work


async def test_nothing_is_received_while_the_gate_is_shut() -> None:
    scene = Scene()
    scene.gate.hold()
    work = scene.start()
    await asyncio.sleep(0.05)
    assert scene.queue.faults.calls["receive"] == 0

    scene.gate.release()
    await until(lambda: scene.queue.faults.calls["receive"] > 0)
    scene.stop.set()
    await work


async def test_a_rest_ends_by_itself() -> None:
    scene = Scene()
    scene.gate.rest(0.05)
    work = scene.start()
    await asyncio.sleep(0.02)
    assert scene.queue.faults.calls["receive"] == 0
    await until(lambda: scene.queue.faults.calls["receive"] > 0)
    scene.stop.set()
    await work


async def test_a_defect_in_settling_one_message_does_not_end_the_others() -> None:
    scene = Scene()
    scene.queue.faults.plan("delete", ZeroDivisionError())
    scene.job.go.set()
    scene.queue.put("x")
    scene.queue.put("y")
    work = scene.start()
    await until(lambda: scene.job.done == 2)
    scene.stop.set()
    await work

    assert len(scene.queue.messages) == 1


async def test_a_defect_in_the_loop_ends_the_worker_with_an_error() -> None:
    """So that whoever runs the process starts another one."""
    scene = Scene()
    scene.queue.faults.plan("receive", ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await scene.start()
