"""Slots: parked jobs leave theirs to others, and come back in order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fakes import FakeObserver, FakeQueue

from archiver.errors import Rejected
from archiver.ports import Hold, JobSuccess, Message, QueueFacts
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import SHUTDOWN_REDELIVERY_DELAY, Settler
from archiver.worker.slots import Slots

SUCCESS = JobSuccess("succeeded", 1, 10, "key", reused=False)


@dataclass
class ParkingJob:
    """A message `park` waits for *objects* without its slot, then works; any other works at once, until *go*."""

    objects: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    parked: int = 0
    working: int = 0
    most: int = 0
    done: list[str] = field(default_factory=list)

    def read_job_id(self, message: Message) -> str | None:
        return None

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        if message.body == "park":
            async with hold.parked():
                self.parked += 1
                try:
                    await self.objects.wait()
                finally:
                    self.parked -= 1
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await self.go.wait()
        finally:
            self.working -= 1
        hold.confirm()
        self.done.append(message.body)
        return SUCCESS

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise NotImplementedError

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        raise NotImplementedError


@dataclass
class ParkingEnv:
    """A worker with one slot and *max_parked* parked jobs, on a queue with a visibility timeout of *visibility* s."""

    max_parked: int = 10
    visibility: int = 30
    grace: float = 30.0
    job: ParkingJob = field(default_factory=ParkingJob)
    observer: FakeObserver = field(default_factory=FakeObserver)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    gate: ReceiveGate = field(default_factory=ReceiveGate)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = FakeQueue(QueueFacts("queue", self.visibility, 43_200))

    def start(self) -> asyncio.Task[None]:
        settler = Settler(self.queue, self.job, self.gate, self.observer)
        limits = WorkerLimits(max_jobs=1, wait=0.01, grace=self.grace, max_parked=self.max_parked)
        worker = Worker(
            self.queue, settler, self.gate, limits, heartbeat=Heartbeat(), on_running_changed=self.counts.append
        )
        return asyncio.create_task(worker.run(self.stop))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_parked_job_leaves_its_slot_to_others_and_takes_one_when_it_goes_on() -> None:
    env = ParkingEnv()
    env.job.go.set()
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 1)
    for _ in range(3):
        env.queue.put("work")
    await until(lambda: env.job.done == ["work"] * 3)

    env.job.objects.set()
    await until(lambda: env.job.done[3:] == ["park"])
    env.stop.set()
    await running

    assert env.job.most == 1
    assert env.queue.messages == []


async def test_a_parked_job_is_not_counted_as_work() -> None:
    """Scale-in protection is for work: a task whose jobs all wait may be stopped."""
    env = ParkingEnv()
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 1)

    assert env.counts[-1] == 0
    env.job.objects.set()
    await until(lambda: env.job.working == 1)
    assert env.counts[-1] == 1
    env.job.go.set()
    env.stop.set()
    await running


async def test_the_lease_of_a_parked_job_is_renewed() -> None:
    env = ParkingEnv(visibility=1)
    env.job.go.set()
    env.queue.put("park")
    running = env.start()
    await until(lambda: len(env.queue.extended) >= 3)
    env.job.objects.set()
    await until(lambda: env.job.done == ["park"])
    env.stop.set()
    await running

    assert env.observer.seen[-1].outcome == "done"


async def test_parked_jobs_are_given_back_at_once_when_the_worker_stops() -> None:
    """Running ones get their grace period."""
    env = ParkingEnv()
    env.queue.put("park")
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 2)
    env.queue.put("work")
    await until(lambda: env.job.working == 1)

    env.stop.set()
    await until(lambda: len(env.queue.released) == 2)
    assert env.job.working == 1
    env.job.go.set()
    await running

    assert [delay for _, delay in env.queue.released] == [SHUTDOWN_REDELIVERY_DELAY] * 2
    assert env.job.done == ["work"]


async def test_a_job_that_parks_while_the_worker_stops_is_given_back_at_once() -> None:
    env = ParkingEnv(grace=30.0)
    late = asyncio.Event()

    async def wait_then_park(hold: Hold) -> None:
        await late.wait()
        async with hold.parked():
            await asyncio.sleep(60)

    async def run(message: Message, hold: Hold) -> JobSuccess:
        env.job.working += 1
        await wait_then_park(hold)
        return SUCCESS

    env.job.run = run  # type: ignore[method-assign]
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.working == 1)
    env.stop.set()
    await asyncio.sleep(0.01)
    late.set()
    async with asyncio.timeout(5):
        await running

    assert [result.outcome for result in env.observer.seen] == ["returned"]


async def test_beyond_the_limit_a_job_waits_in_its_slot() -> None:
    env = ParkingEnv(max_parked=1)
    env.job.go.set()
    for _ in range(3):
        env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 2)  # one without a slot, one in the only slot
    await asyncio.sleep(0.05)

    assert env.job.parked == 2
    assert len(env.queue.visible) == 1
    env.job.objects.set()
    await until(lambda: len(env.job.done) == 3)
    env.stop.set()
    await running
    assert env.job.most == 1


async def test_jobs_resume_in_order_and_before_new_messages() -> None:
    counts: list[int] = []
    slots = Slots(1, counts.append)
    order: list[int] = []
    ready = [asyncio.Event() for _ in range(3)]

    async def job(number: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        async with slots.parked_job(task):
            await ready[number].wait()
        order.append(number)
        slots.release()

    tasks = []
    for number in range(3):
        slots.acquire()
        tasks.append(asyncio.create_task(job(number)))
        await asyncio.sleep(0)
    assert (slots.free, slots.parked, slots.working) == (1, 3, 0)
    slots.acquire()  # a new message takes the slot
    for number in (2, 0, 1):
        ready[number].set()
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (slots.free, order) == (0, [])

    slots.release()
    await asyncio.gather(*tasks)

    assert order == [2, 0, 1]
    assert (slots.free, slots.parked, slots.working, max(counts)) == (1, 0, 0, 1)


async def test_a_job_that_is_cancelled_while_it_waits_for_a_slot_gives_back_what_it_took() -> None:
    slots = Slots(1, lambda _: None)
    slots.acquire()

    async def job() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with slots.parked_job(task):
                pass
        finally:
            slots.release()

    parked = asyncio.create_task(job())
    await asyncio.sleep(0)
    slots.acquire()  # the slot went to another job at once
    parked.cancel()
    await asyncio.gather(parked, return_exceptions=True)
    slots.release()

    assert (slots.free, slots.parked, slots.working) == (1, 0, 0)
