"""The simulation of docs/scaling.md: invariants, and that the page contains its current results."""

import json
import math
from dataclasses import replace

import pytest
import simulate
from deploy.template import merged_section
from simulation import DAY, HOUR, MINUTE, Burst, Day, Job, Kind, Settings, Simulation, SimulationResult, Task, arrivals

from archiver.settings import Settings as WorkerSettings

SHORT = Kind("short", 0.8, seconds=2.0, cpu=1.0, bytes=100e6)
LONG = Kind("long", 0.2, seconds=200.0, cpu=20.0, bytes=4e9)
JOBS = arrivals(Day(0.005, 0.03, (Burst(9 * HOUR, 5 * MINUTE, 300),)), (SHORT, LONG), seed=3)
SETTINGS = Settings(min_tasks=1, max_tasks=12, target=2)


def day(settings: Settings = SETTINGS, jobs: list[Job] = JOBS, task: Task | None = None) -> SimulationResult:
    return Simulation(jobs, settings, task or Task(), seed=5).run()


def test_every_job_begins_after_it_came_and_ends() -> None:
    told = day()

    assert len(told.jobs) == len(JOBS) > 1000
    assert all(job.arrived <= job.started < job.ended for job in told.jobs)
    assert all(job.ended - job.started >= job.kind.seconds - 1e-6 for job in told.jobs)


def test_a_job_alone_takes_the_time_that_was_measured() -> None:
    told = day(jobs=[Job(SHORT, 10.0), Job(SHORT, 100.0)])

    assert [(job.started, round(job.ended, 6)) for job in told.jobs] == [(10, 12), (100, 102)]


def test_jobs_of_one_task_share_its_cpu_and_its_bandwidth() -> None:
    four = [Job(SHORT, 10.0) for _ in range(4)]

    by_cpu = day(Settings(max_tasks=1), four, Task(cpus=1, bandwidth=math.inf))
    by_wire = day(Settings(max_tasks=1), four, Task(cpus=4, bandwidth=50e6))
    assert [round(job.ended - job.started, 6) for job in by_cpu.jobs] == [4] * 4  # 2 CPU seconds a second are wanted
    assert [round(job.ended - job.started, 6) for job in by_wire.jobs] == [8] * 4  # 400 MB over 50 MB/s


def test_there_are_never_more_tasks_than_allowed_and_never_fewer() -> None:
    told = day()

    assert max(minute.running for minute in told.minutes) == SETTINGS.max_tasks
    assert min(minute.running for minute in told.minutes) == SETTINGS.min_tasks
    assert told.minutes[-1].running == SETTINGS.min_tasks, "what a burst brought is gone in the end"


def test_more_tasks_make_nobody_wait_longer() -> None:
    waits = [day(replace(SETTINGS, min_tasks=tasks, max_tasks=tasks)).wait(95) for tasks in (2, 4, 8, 16)]

    assert waits == sorted(waits, reverse=True)
    assert waits[0] > waits[-1]


def test_a_task_at_work_is_not_scaled_away_while_it_is_protected() -> None:
    bare = day(replace(SETTINGS, protected=False, target=4))

    assert all(job.runs == 1 for job in day(replace(SETTINGS, target=4)).jobs)
    assert any(job.runs > 1 for job in bare.jobs), "without protection some are"
    assert all(job.ended >= job.started for job in bare.jobs), "and they are done all the same"


def test_new_tasks_come_five_minutes_after_a_burst_began() -> None:
    """The rest of the first minute, two more minutes above the target, one of CloudWatch delay, and a task start."""
    jobs = [Job(LONG, HOUR + 1) for _ in range(40)]
    told = day(Settings(max_tasks=10), jobs, Task(start=60))

    first = next(number for number, minute in enumerate(told.minutes) if minute.running > 1)
    assert first + 1 == 60 + 5


def test_a_raised_minimum_is_there_in_its_hours_and_gone_afterwards() -> None:
    told = day(replace(SETTINGS, raised=(2 * HOUR, 3 * HOUR, 6)), jobs=[])

    running = [minute.running for minute in told.minutes]
    assert (running[119], running[125], running[int(DAY / MINUTE) - 1]) == (1, 6, 1)


def test_a_task_is_paid_for_as_long_as_it_is_there() -> None:
    assert day(Settings(min_tasks=3, max_tasks=3), jobs=[]).task_seconds == 3 * DAY


def test_the_same_seed_is_the_same_day() -> None:
    assert [job.started for job in day().jobs] == [job.started for job in day().jobs]
    assert arrivals(simulate.REFERENCE_DAY, [SHORT], 1) != arrivals(simulate.REFERENCE_DAY, [SHORT], 2)


# ---- the page


@pytest.fixture(scope="module")
def times() -> dict[str, object]:
    told: dict[str, object] = json.loads(simulate.TIMES.read_text())
    return told


@pytest.mark.slow
def test_the_page_holds_what_the_simulation_makes(times: dict[str, object]) -> None:
    """To regenerate it: `python bench/simulate.py --write`."""
    _, _, rest = simulate.PAGE.read_text().partition(simulate.BEGIN + "\n")
    told, _, _ = rest.partition("\n" + simulate.END)

    assert told.splitlines() == simulate.table(times)


def test_the_first_case_is_the_template_as_it_stands() -> None:
    default = {name: told.get("Default") for name, told in merged_section("Parameters").items()}
    policy = merged_section("Resources")["BacklogScaling"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    first = simulate.CASES[0].settings

    assert (first.min_tasks, first.max_tasks, first.target, first.slots) == (
        default["MinTasks"],
        default["MaxTasks"],
        default["BacklogPerTask"],
        default["MaxConcurrentJobs"],
    )
    assert (first.out_cooldown, first.in_cooldown) == (policy["ScaleOutCooldown"], policy["ScaleInCooldown"])
    assert default["TaskSize"] == "medium"
    assert first.slots == WorkerSettings.model_fields["max_concurrent_jobs"].default


@pytest.mark.slow
def test_some_settings_keep_waiting_under_a_minute_and_the_page_names_the_cheapest(times: dict[str, object]) -> None:
    best = simulate.recommended(times)

    assert f"**{best.about}**" in simulate.PAGE.read_text()
