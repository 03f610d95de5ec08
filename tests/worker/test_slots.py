"""Slots: parked jobs leave theirs to others, and come back in order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
from fakes import FakeObserver, FakeQueue

from archiver.errors import Rejected
from archiver.ports import Hold, JobSuccess, Message, QueueFacts
from archiver.worker import lease as leases
from archiver.worker.gate import ReceiveGate
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.hold import JobHold
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.settle import PARKED_REDELIVERY_DELAY, Settler
from archiver.worker.slots import Claim, Slots

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

    assert [delay for _, delay in env.queue.released] == [PARKED_REDELIVERY_DELAY] * 2
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


class Lease:
    """What a hold needs of a lease."""

    is_lost = False

    def confirm(self) -> None: ...


@dataclass
class Started:
    """Jobs on *slots*, each in a task of its own."""

    slots: Slots
    lease: Lease = field(default_factory=Lease)

    def start(self, work: Callable[[JobHold], Awaitable[None]]) -> tuple[Claim, asyncio.Task[None]]:
        claim = self.slots.claim()

        async def run() -> None:
            try:
                await claim.granted
                await work(JobHold(cast("leases.Lease", self.lease), claim))
            finally:
                self.slots.give_back(claim)

        claim.task = asyncio.create_task(run())
        return claim, claim.task


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_jobs_get_slots_in_the_order_of_asking_resumed_ones_and_new_ones() -> None:
    counts, order = list[int](), list[int]()
    jobs = Started(Slots(1, counts.append))
    ready, busy = [asyncio.Event() for _ in range(3)], asyncio.Event()

    def parking(number: int) -> Callable[[JobHold], Awaitable[None]]:
        async def work(hold: JobHold) -> None:
            async with hold.parked():
                await ready[number].wait()
            order.append(number)

        return work

    async def busy_work(_hold: JobHold) -> None:
        await busy.wait()

    tasks = []
    for number in range(3):
        tasks.append(jobs.start(parking(number))[1])
        await turns()
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (1, 3, 0)
    tasks.append(jobs.start(busy_work)[1])  # a new message takes the slot
    for number in (2, 0, 1):
        ready[number].set()
        await turns()
    assert (jobs.slots.free, order) == (0, [])

    busy.set()
    await asyncio.gather(*tasks)

    assert order == [2, 0, 1]
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working, max(counts)) == (1, 0, 0, 1)


async def test_a_job_that_came_with_a_poll_waits_where_a_parked_one_took_the_slot_meanwhile() -> None:
    """The poll asked for as many messages as there were free slots: that was up to 20 s ago."""
    env = ParkingEnv()
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 1)
    receive, arrived = env.queue.receive, asyncio.Event()

    async def slow(limit: int) -> list[Message]:
        await arrived.wait()
        return await receive(limit)

    env.queue.receive = slow  # type: ignore[method-assign]
    await asyncio.sleep(0.05)  # the poll with a free slot is on its way
    env.job.objects.set()
    await until(lambda: env.job.working == 1)
    env.queue.put("work")
    arrived.set()
    await asyncio.sleep(0.05)
    assert env.job.working == 1

    env.job.go.set()
    await until(lambda: len(env.job.done) == 2)
    env.stop.set()
    await running
    assert env.job.most == 1


async def test_handing_a_slot_over_is_never_reported_as_no_work() -> None:
    """A task that drains ends at the first report of 0: the resumed job would be cut short."""
    counts = list[int]()
    jobs, ready, busy = Started(Slots(1, counts.append)), asyncio.Event(), asyncio.Event()

    async def parking(hold: JobHold) -> None:
        async with hold.parked():
            await ready.wait()
        await asyncio.sleep(0.01)

    async def work(_hold: JobHold) -> None:
        await busy.wait()

    _, parked = jobs.start(parking)
    await turns()
    _, other = jobs.start(work)
    await turns()
    ready.set()
    await turns()
    counts.clear()
    busy.set()
    await asyncio.gather(parked, other)

    assert counts[-1] == 0
    assert 0 not in counts[:-1]


async def test_a_job_beyond_the_limit_parks_once_another_has_resumed() -> None:
    """With every slot held by one that waits, no job that is ready could ever go on."""
    jobs = Started(Slots(2, lambda _: None, max_parked=1))
    ready, second = asyncio.Event(), asyncio.Event()

    async def first(hold: JobHold) -> None:
        async with hold.parked():
            await ready.wait()
        await second.wait()

    async def waiting(hold: JobHold) -> None:
        async with hold.parked():
            await asyncio.sleep(60)

    _, one = jobs.start(first)
    await turns()
    beyond, two = jobs.start(waiting)
    _, three = jobs.start(waiting)
    await turns()
    assert (jobs.slots.working, beyond.has_slot) == (2, True)
    ready.set()
    await turns()

    assert (beyond.has_slot, jobs.slots.working) == (False, 2)  # the first has a slot again
    for task in (two, three):
        task.cancel()
    second.set()
    await asyncio.gather(one, two, three, return_exceptions=True)
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (2, 0, 0)


async def test_a_job_beyond_the_limit_is_given_back_at_once_at_shutdown_too() -> None:
    jobs = Started(Slots(1, lambda _: None, max_parked=0))

    async def waiting(hold: JobHold) -> None:
        async with hold.parked():
            await asyncio.sleep(60)

    claim, task = jobs.start(waiting)
    await turns()
    assert claim.has_slot
    jobs.slots.drain()
    await asyncio.gather(task, return_exceptions=True)

    assert (task.cancelled(), claim.drained, jobs.slots.working) == (True, True, 0)


async def test_two_tasks_of_one_job_free_one_slot() -> None:
    jobs, ready = Started(Slots(2, lambda _: None)), [asyncio.Event(), asyncio.Event()]

    async def part(hold: JobHold, event: asyncio.Event) -> None:
        async with hold.parked(), hold.parked():
            await event.wait()

    async def work(hold: JobHold) -> None:
        await asyncio.gather(*(part(hold, event) for event in ready))

    _, task = jobs.start(work)
    await turns()
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (2, 1, 0)
    ready[0].set()
    await turns()
    assert jobs.slots.working == 0
    ready[1].set()
    await task
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (2, 0, 0)


async def test_a_timeout_around_a_parked_block_does_not_let_more_jobs_work_than_there_are_slots() -> None:
    jobs = Started(Slots(1, lambda _: None))
    at_work, most = 0, 0

    async def work(hold: JobHold) -> None:
        nonlocal at_work, most
        try:
            async with asyncio.timeout(0.02), hold.parked():
                await asyncio.sleep(60)
        except TimeoutError:
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.001)
            at_work -= 1

    tasks = []
    for _ in range(20):
        tasks.append(jobs.start(work)[1])
        await turns()
    assert jobs.slots.parked == 20
    await asyncio.gather(*tasks)

    assert most == 1
    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (1, 0, 0)


@pytest.mark.parametrize("granted", [False, True], ids=["waiting", "just granted"])
async def test_a_job_that_is_cancelled_while_it_waits_for_a_slot_leaves_none_behind(granted: bool) -> None:
    jobs, ready, busy = Started(Slots(1, lambda _: None)), asyncio.Event(), asyncio.Event()

    async def parking(hold: JobHold) -> None:
        async with hold.parked():
            await ready.wait()

    async def work(_hold: JobHold) -> None:
        await busy.wait()

    _, parked = jobs.start(parking)
    await turns()
    _, other = jobs.start(work)
    await turns()
    ready.set()
    await turns()
    if granted:
        busy.set()
        await asyncio.wait([other])
    parked.cancel()
    busy.set()
    await asyncio.gather(parked, other, return_exceptions=True)

    assert (jobs.slots.free, jobs.slots.parked, jobs.slots.working) == (1, 0, 0)


async def test_an_error_of_a_job_that_the_shutdown_interrupted_is_no_verdict() -> None:
    env = ParkingEnv()

    async def run(message: Message, hold: Hold) -> JobSuccess:
        env.job.parked += 1
        try:
            async with hold.parked():
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise Rejected("internal", "a defect while it was interrupted") from None
        return SUCCESS

    env.job.run = run  # type: ignore[method-assign]
    env.queue.put("park")
    running = env.start()
    await until(lambda: env.job.parked == 1)
    env.stop.set()
    await running

    assert [result.outcome for result in env.observer.seen] == ["returned"]
