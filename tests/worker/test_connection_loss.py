"""The real Worker and Settler on a source that loses its messages with its connection, as RabbitMQ does."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fakes import FakeObserver
from fakes.broker import Broker, ConnectionSource

from archiver.errors import Rejected, TransientError
from archiver.ports import Hold, JobSuccess, Message, MessageSource
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import Settler

SUCCESS = JobSuccess("succeeded", 1, 10, "key", reused=False)


@dataclass
class CountingJob:
    """Works until *go* is set. `finished` holds the ids of jobs that came to their end, in order."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    finished: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    failing: bool = False

    def read_job_id(self, message: Message) -> str | None:
        return None

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        self.running += 1
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        if self.failing:
            raise TransientError("503")
        hold.confirm()
        self.finished.append(message.id)
        return SUCCESS

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        hold.confirm()
        self.rejected.append(message.id)

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        hold.confirm()


@dataclass
class RunningWorker:
    """A worker on *source*, as the composition root wires it."""

    source: ConnectionSource
    job: CountingJob = field(default_factory=CountingJob)
    observer: FakeObserver = field(default_factory=FakeObserver)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> asyncio.Task[None]:
        gate, source = ReceiveGate(), self.source
        checked: MessageSource = source
        settler = Settler(checked, self.job, gate, self.observer)
        limits = WorkerLimits(max_jobs=4, wait=0.01, grace=0.2)
        return asyncio.create_task(Worker(checked, settler, gate, limits, heartbeat=Heartbeat()).run(self.stop))

    @property
    def outcomes(self) -> list[str]:
        return [result.outcome for result in self.observer.seen]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def broker() -> Broker:
    broker = Broker()
    for number in range(3):
        broker.publish(str(number))
    return broker


async def test_jobs_of_a_closed_connection_end_at_once_and_are_done_by_the_next_consumer(broker: Broker) -> None:
    """The broker redelivers in milliseconds: no job may work on for a message that has another consumer."""
    first, second = RunningWorker(ConnectionSource(broker)), RunningWorker(ConnectionSource(broker))
    second.job.go.set()
    running = first.start()
    await until(lambda: first.job.running == 3)
    first.source.refusing = True

    first.source.disconnect()
    await until(lambda: len(first.outcomes) == 3)  # long before the visibility timeout of a second
    other = second.start()
    await until(lambda: len(second.job.finished) == 3)
    first.stop.set()
    second.stop.set()
    await asyncio.gather(running, other)

    assert first.outcomes == ["lease_lost"] * 3
    assert first.job.finished == []
    assert sorted(broker.acknowledged) == sorted(second.job.finished) == ["message-0", "message-1", "message-2"]


async def test_a_worker_that_reconnects_does_its_jobs_again(broker: Broker) -> None:
    worker = RunningWorker(ConnectionSource(broker))
    running = worker.start()
    await until(lambda: worker.job.running == 3)

    worker.source.disconnect()
    await until(lambda: worker.outcomes == ["lease_lost"] * 3)
    worker.job.go.set()
    await until(lambda: len(broker.acknowledged) == 3)
    worker.stop.set()
    await running

    assert sorted(worker.job.finished) == sorted(broker.acknowledged)
    assert not broker.ready
    assert broker.delayed == []


async def test_jobs_that_a_shutdown_interrupts_go_back_and_are_lost_to_nobody(broker: Broker) -> None:
    first, second = RunningWorker(ConnectionSource(broker)), RunningWorker(ConnectionSource(broker))
    second.job.go.set()
    running = first.start()
    await until(lambda: first.job.running == 3)
    first.stop.set()
    await running

    assert first.outcomes == ["returned"] * 3
    other = second.start()
    await until(lambda: len(broker.acknowledged) == 3)
    second.stop.set()
    await other


async def test_jobs_that_fail_for_a_while_are_delayed_counted_and_rejected_at_the_last_receive(broker: Broker) -> None:
    worker = RunningWorker(ConnectionSource(broker))
    worker.job.failing = True
    worker.job.go.set()
    running = worker.start()
    await until(lambda: len(broker.acknowledged) == 3)
    worker.stop.set()
    await running

    assert sorted(worker.job.rejected) == ["message-0", "message-1", "message-2"]
    assert worker.outcomes.count("retried") == 3 * 4
    assert worker.outcomes.count("rejected") == 3


async def test_a_message_that_could_not_be_released_comes_back_on_the_same_connection(broker: Broker) -> None:
    """The worker forgets it: the source's own timer redelivers it."""
    worker = RunningWorker(ConnectionSource(broker))
    worker.job.failing = True
    worker.job.go.set()
    release = worker.source.release

    async def refused(message: Message, delay: int) -> None:
        raise TransientError("the broker is busy")

    worker.source.release = refused  # type: ignore[method-assign]
    running = worker.start()
    await until(lambda: len(worker.outcomes) == 3)
    worker.source.release = release  # type: ignore[method-assign]
    worker.job.failing = False
    await until(lambda: len(broker.acknowledged) == 3)
    worker.stop.set()
    await running

    assert sorted(worker.job.finished) == ["message-0", "message-1", "message-2"]
