"""
A day of the service on ECS, event by event: arrivals, tasks that come and go, and how long each message waits.

Pure: no clock, no file, and the same seed gives the same day. What is modelled, and from where:

* A task has slots; a message goes to a random task with a free one, as tasks long-poll side by side.
* Jobs of one task share its CPU and its bandwidth: where they ask for more than there is, all get slower alike.
* Scaling is target tracking, as Application Auto Scaling documents it, on the metric of deploy/worker.yaml:
  (messages waiting + in work) / running tasks, a value a minute, a minute late. Its alarms fire after three minutes
  above the target, and after fifteen below 90 % of it; the number of tasks is then made proportional to the metric.
* A task works some time after it was asked for. A task at work is protected: scaling in takes idle ones alone; without
  protection it takes any, and their jobs begin anew elsewhere.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
OUT_AFTER, IN_AFTER = 3, 15  # minutes
IN_BELOW = 0.9  # of the target


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job: *seconds* and *cpu* seconds that it takes alone (measured), the *bytes* of its archive."""

    name: str
    share: float
    seconds: float
    cpu: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Burst:
    """*jobs* that come within *seconds* from *at* on, seconds of the day."""

    at: float
    seconds: float
    jobs: int


@dataclass(frozen=True, slots=True)
class Day:
    """*quiet* and *busy*: jobs a second at four in the morning and at four in the afternoon."""

    quiet: float
    busy: float
    bursts: Sequence[Burst]


@dataclass(frozen=True, slots=True)
class Settings:
    """*raised*: from, until (seconds of the day), and the least number of tasks meanwhile, as scheduled actions do."""

    min_tasks: int = 1
    max_tasks: int = 10
    target: float = 4.0
    slots: int = 4
    raised: tuple[float, float, int] | None = None
    protected: bool = True
    out_cooldown: float = 60.0
    in_cooldown: float = 300.0


@dataclass(frozen=True, slots=True)
class Task:
    """What one task is: *cpus*, *bandwidth* in bytes a second, *start* seconds until it receives."""

    cpus: float = 1.0
    bandwidth: float = 125e6
    start: float = 60.0


@dataclass(slots=True)
class Job:
    """*started* and *ended*: its last, successful run."""

    kind: Kind
    arrived: float
    left: float = 0.0
    started: float = math.nan
    ended: float = math.nan
    runs: int = 0


@dataclass(slots=True, eq=False)
class _Running:
    since: float
    jobs: list[Job] = field(default_factory=list)
    told: float = 0.0  # until when the progress of its jobs is worked out
    version: int = 0
    idle_from: float = 0.0

    def speed(self, task: Task) -> float:
        """The share of its own speed that each job has."""
        cpu = sum(job.kind.cpu / job.kind.seconds for job in self.jobs)
        wire = sum(job.kind.bytes / job.kind.seconds for job in self.jobs)
        return 1.0 / max(1.0, cpu / task.cpus, wire / task.bandwidth)


@dataclass(frozen=True, slots=True)
class Minute:
    """The state at the end of a minute."""

    waiting: int
    working: int
    running: int
    wanted: int


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What came of a day."""

    jobs: list[Job]
    minutes: list[Minute]
    task_seconds: float

    def wait(self, percent: float) -> float:
        """The waiting time, in seconds, that so many percent of the messages do not exceed."""
        waits = sorted(job.started - job.arrived for job in self.jobs)
        return waits[min(len(waits) - 1, math.ceil(len(waits) * percent / 100) - 1)] if waits else 0.0


def arrivals(day: Day, kinds: Sequence[Kind], seed: int) -> list[Job]:
    """The jobs of a day, in the order in which they come: Poisson, by the hour of the day, and the bursts."""
    rng = random.Random(seed)
    times = []
    now = 0.0
    while (now := now + rng.expovariate(day.busy)) < DAY:
        rate = day.quiet + (day.busy - day.quiet) * (1 - math.cos((now - 4 * HOUR) / DAY * 2 * math.pi)) / 2
        if rng.random() < rate / day.busy:
            times.append(now)
    for burst in day.bursts:
        times += [burst.at + rng.random() * burst.seconds for _ in range(burst.jobs)]
    shares = [kind.share for kind in kinds]
    return [Job(kind, time) for time, kind in zip(sorted(times), rng.choices(kinds, shares, k=len(times)), strict=True)]


class Simulation:
    """One day with *settings*; `run` it once."""

    def __init__(self, jobs: Sequence[Job], settings: Settings, task: Task, seed: int = 0) -> None:
        self._jobs = [Job(job.kind, job.arrived) for job in jobs]
        self._settings = settings
        self._task = task
        self._rng = random.Random(seed)
        self._queue: deque[Job] = deque()
        self._tasks = [_Running(0.0) for _ in range(settings.min_tasks)]
        self._wanted = settings.min_tasks
        self._starting: list[float] = []
        self._ends: list[tuple[float, int, int, _Running]] = []
        self._ticket = 0
        self._metrics: list[float] = []
        self._minutes: list[Minute] = []
        self._last_out = self._last_in = -math.inf
        self._task_seconds = 0.0

    def run(self) -> SimulationResult:
        coming = deque(self._jobs)
        minute = MINUTE
        while coming or self._queue or any(task.jobs for task in self._tasks) or minute <= DAY:
            due = [minute]
            due += [coming[0].arrived] if coming else []
            due += [self._ends[0][0]] if self._ends else []
            due += self._starting[:1]
            now = min(due)
            while self._starting and self._starting[0] <= now:
                heapq.heappop(self._starting)
                self._tasks.append(_Running(now, told=now, idle_from=now))
            while self._ends and self._ends[0][0] <= now:
                _, _, version, task = heapq.heappop(self._ends)
                if version == task.version:
                    self._finish(task, now)
            while coming and coming[0].arrived <= now:
                self._queue.append(coming.popleft())
            self._assign_jobs(now)
            if now >= minute:
                self._scale(now)
                minute += MINUTE
        for task in self._tasks:
            self._task_seconds += max(now, DAY) - task.since
        return SimulationResult(self._jobs, self._minutes, self._task_seconds)

    # Jobs

    def _assign_jobs(self, now: float) -> None:
        while self._queue:
            free = [task for task in self._tasks if len(task.jobs) < self._settings.slots]
            if not free:
                return
            task, job = self._rng.choice(free), self._queue.popleft()
            self._advance(task, now)
            job.started, job.left, job.runs = now, job.kind.seconds, job.runs + 1
            task.jobs.append(job)
            self._plan(task, now)

    def _advance(self, task: _Running, now: float) -> None:
        done = (now - task.told) * task.speed(self._task)
        for job in task.jobs:
            job.left -= done
        task.told = now

    def _plan(self, task: _Running, now: float) -> None:
        """When the next job of *task* ends, unless one comes before."""
        task.version += 1
        if task.jobs:
            self._ticket += 1
            end = now + max(0.0, min(job.left for job in task.jobs)) / task.speed(self._task)
            heapq.heappush(self._ends, (end, self._ticket, task.version, task))

    def _finish(self, task: _Running, now: float) -> None:
        self._advance(task, now)
        min_tasks = min(job.left for job in task.jobs)
        for job in [job for job in task.jobs if job.left <= max(min_tasks, 1e-9)]:
            task.jobs.remove(job)
            job.ended = now
        task.idle_from = now
        self._plan(task, now)

    # Tasks

    def _scale(self, now: float) -> None:
        settings = self._settings
        working = sum(len(task.jobs) for task in self._tasks)
        running = len(self._tasks)
        late = self._metrics[-1] if self._metrics else 0.0  # what CloudWatch knows now is a minute old
        self._metrics.append((len(self._queue) + working) / max(1, running))
        known = self._metrics[:-1]
        high = len(known) >= OUT_AFTER and all(value > settings.target for value in known[-OUT_AFTER:])
        low = len(known) >= IN_AFTER and all(value < settings.target * IN_BELOW for value in known[-IN_AFTER:])
        in_proportion = math.ceil(running * late / settings.target)
        if high and now - self._last_out >= settings.out_cooldown:
            self._set_wanted(in_proportion, now, out=True)
        elif low and now - max(self._last_in, self._last_out) >= settings.in_cooldown:
            self._set_wanted(in_proportion, now, out=False)
        self._want_min_tasks(now)
        self._adjust(now)
        self._minutes.append(Minute(len(self._queue), working, running, self._wanted))

    def _min_tasks(self, now: float) -> int:
        raised = self._settings.raised
        inside = raised is not None and raised[0] <= now % DAY < raised[1]
        return max(self._settings.min_tasks, raised[2]) if raised is not None and inside else self._settings.min_tasks

    def _want_min_tasks(self, now: float) -> None:
        self._wanted = min(max(self._wanted, self._min_tasks(now)), max(self._settings.max_tasks, self._min_tasks(now)))

    def _set_wanted(self, tasks: int, now: float, *, out: bool) -> None:
        tasks = max(self._min_tasks(now), min(self._settings.max_tasks, tasks))
        if out and tasks > self._wanted:
            self._wanted, self._last_out = tasks, now
        elif not out and tasks < self._wanted:
            self._wanted, self._last_in = tasks, now

    def _adjust(self, now: float) -> None:
        """Start what is wanted; stop what is too much, and may be stopped."""
        for _ in range(self._wanted - len(self._tasks) - len(self._starting)):
            heapq.heappush(self._starting, now + self._task.start)
        surplus = len(self._tasks) + len(self._starting) - self._wanted
        while surplus > 0 and self._starting:
            self._starting.remove(max(self._starting))
            heapq.heapify(self._starting)
            surplus -= 1
        stoppable = [task for task in self._tasks if not task.jobs or not self._settings.protected]
        for task in self._rng.sample(stoppable, min(max(0, surplus), len(stoppable))):
            self._tasks.remove(task)
            self._task_seconds += now - task.since
            task.version += 1
            self._queue.extendleft(reversed(task.jobs))
            task.jobs.clear()
        self._assign_jobs(now)


def waits_by_five_minutes(told: SimulationResult, percent: float = 95) -> Iterator[float]:
    """The waiting time of those who came within each five minutes of the day; 0 where nobody came."""
    arrived: dict[int, list[float]] = {}
    for job in told.jobs:
        arrived.setdefault(int(job.arrived // (5 * MINUTE)), []).append(job.started - job.arrived)
    for number in range(int(DAY // (5 * MINUTE))):
        waits = sorted(arrived.get(number, [0.0]))
        yield waits[math.ceil(len(waits) * percent / 100) - 1]
