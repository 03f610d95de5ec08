"""Deployments and scale-in of a simulated service lose no job and stop no new task. Time is simulated."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from faults.cluster import PREFIX, Cluster, Task
from instant_loop import run_instantly

from archiver.aws.ecs import raise_for_response
from archiver.aws.ecs_service import is_replaced
from archiver.worker.protection import Protection

MINUTE, HOUR = 60.0, 3600.0


class Worker:
    """A task of *service* that runs two jobs at once while the service's feed has any."""

    def __init__(self, service: "Service", task: Task) -> None:
        self.service, self.task = service, task
        self.jobs: set[int] = set()
        self.draining = False
        self.protection = Protection(self, self.drain)
        self.running = asyncio.create_task(self.work())
        task.stop = self.stop

    async def protect(self, minutes: int) -> None:
        wanted = {"ProtectionEnabled": True, "ExpiresInMinutes": minutes}
        raise_for_response(200, self.service.cluster.answer(self.task.arn, wanted), enabled=True)

    async def release(self) -> None:
        raise_for_response(200, self.service.cluster.answer(self.task.arn, {"ProtectionEnabled": False}), enabled=False)

    async def replaced(self) -> bool:
        return is_replaced(self.task.revision, self.service.cluster.described())

    def drain(self) -> None:
        self.draining = True

    def stop(self) -> None:
        """Stop the task as ECS does; its running jobs are released."""
        self.service.stopped.append((self.task.revision, len(self.jobs)))
        self.running.cancel()

    async def work(self) -> None:
        keeper = asyncio.create_task(self.protection.run())
        try:
            await asyncio.gather(self.slot(0.0), self.slot(0.5))
            self.service.drained.append(self.task.revision)
            self.service.cluster.ended(self.task)
        finally:
            keeper.cancel()

    async def slot(self, offset: float) -> None:
        await asyncio.sleep(offset)
        while not self.draining:
            job = next(self.service.feed, None)
            if job is None:
                await asyncio.sleep(1)
                continue
            number, seconds = job
            self.jobs.add(number)
            self.protection.on_running_changed(len(self.jobs))
            await asyncio.sleep(seconds)
            self.service.done.append(number)
            self.jobs.discard(number)
            self.protection.on_running_changed(len(self.jobs))


class Service:
    """A service of *desired* tasks. *feed*: numbers and durations (seconds) of jobs; free workers take the next one."""

    def __init__(self, desired: int, feed: Iterator[tuple[int, float]]) -> None:
        self.feed = feed
        self.done: list[int] = []
        self.stopped: list[tuple[str, int]] = []
        self.drained: list[str] = []
        self.workers: list[Worker] = []
        self.cluster = Cluster(desired, asyncio.get_running_loop().time, self.start)

    def start(self, task: Task) -> None:
        self.workers.append(Worker(self, task))

    async def go_on(self, seconds: float) -> None:
        """Run the ECS scheduler every fifteen seconds, for *seconds*."""
        for _ in range(int(seconds / 15)):
            self.cluster.settle()
            for worker in self.workers:
                if worker.running.done() and not worker.running.cancelled():
                    worker.running.result()  # a worker that failed fails the test
            await asyncio.sleep(15)

    def protected(self) -> int:
        return sum(task.protected > self.cluster.clock() for task in self.cluster.tasks.values())

    async def end(self) -> None:
        for worker in self.workers:
            worker.running.cancel()
        await asyncio.gather(*(worker.running for worker in self.workers), return_exceptions=True)


def endless(seconds: float) -> Iterator[tuple[int, float]]:
    return ((number, seconds) for number in itertools.count())


@pytest.mark.parametrize("seconds", [7.0, 20 * MINUTE], ids=["short jobs", "long jobs"])
def test_a_deployment_of_a_permanently_busy_service_completes_without_losing_a_job(seconds: float) -> None:
    """G6: all old tasks are busy and protected. New tasks request protection and get DEPLOYMENT_BLOCKED."""

    async def day() -> None:
        service = Service(4, endless(seconds))
        await service.go_on(HOUR)
        old, new = service.cluster.revision, f"{PREFIX}:task-definition/archiver:2"
        assert service.protected() == 4
        service.cluster.revision = new
        await service.go_on(MINUTE)
        assert [task.revision for task in service.cluster.tasks.values()].count(new) == 4
        assert service.protected() == 4, "no new task is protected"
        await service.go_on(HOUR)

        assert {task.revision for task in service.cluster.tasks.values()} == {new}
        assert len(service.cluster.tasks) == service.protected() == 4
        assert service.drained == [old] * 4
        assert service.stopped == [], "no task was stopped"
        await service.end()

    run_instantly(day())


def test_scaling_in_from_ten_tasks_to_three_loses_no_job_and_leaves_three() -> None:
    """G6: all ten renewals are refused. A task is stopped when it has no job; none exits by itself."""

    async def day() -> None:
        service = Service(10, iter([(number, 40 * MINUTE + 60 * number) for number in range(20)]))
        await service.go_on(5 * MINUTE)
        assert service.protected() == 10
        service.cluster.desired = 3
        await service.go_on(30 * MINUTE)
        assert len(service.cluster.tasks) == 10, "all tasks have jobs"
        await service.go_on(HOUR)

        assert sorted(service.done) == list(range(20))
        assert [jobs for _, jobs in service.stopped] == [0] * 7
        assert (len(service.cluster.tasks), service.drained, service.protected()) == (3, [], 0)
        await service.end()

    run_instantly(day())


def test_a_trickle_of_short_jobs_does_not_prevent_scaling_in() -> None:
    """After a refused renewal, a task releases its protection as soon as it has no job."""

    async def day() -> None:
        service = Service(6, endless(2.0))
        await service.go_on(10 * MINUTE)
        service.feed = Trickle(service, 5.0)
        service.cluster.desired = 2
        await service.go_on(HOUR)

        assert len(service.cluster.tasks) == 2
        assert [jobs for _, jobs in service.stopped] == [0] * 4
        await service.end()

    run_instantly(day())


class Trickle:
    """A job of two seconds every *seconds*."""

    def __init__(self, service: Service, seconds: float) -> None:
        self.service, self.seconds, self.next = service, seconds, 0.0
        self.numbers = itertools.count(10**6)

    def __iter__(self) -> "Trickle":
        return self

    def __next__(self) -> tuple[int, float]:
        now = self.service.cluster.clock()
        if now < self.next:
            raise StopIteration
        self.next = now + self.seconds
        return next(self.numbers), 2.0


def test_a_new_revision_that_fails_to_start_drains_no_old_task() -> None:
    """The deployment circuit breaker may roll back to the old revision."""

    async def day() -> None:
        service = Service(4, endless(7.0))
        await service.go_on(HOUR)
        service.cluster.start = service.cluster.ended
        service.cluster.revision = f"{PREFIX}:task-definition/archiver:2"
        await service.go_on(HOUR)

        assert (len(service.cluster.tasks), service.drained, service.stopped) == (4, [], [])
        await service.end()

    run_instantly(day())
