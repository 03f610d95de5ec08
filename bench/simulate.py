"""
What the scaling policy of deploy/worker.yaml makes of a day of bursty arrivals: a table, and with --plot a picture.

    simulate.py                     print the table, from the job times in job_times.json
    simulate.py --write             write it into docs/scaling.md
    simulate.py --plot FILE.png     draw the day with the settings that are recommended (needs matplotlib)

The job times are measured by job_times.py. Prices are list prices of Fargate in us-east-1, Linux on x86.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulation import (
    DAY,
    HOUR,
    MINUTE,
    Burst,
    Day,
    Job,
    Kind,
    Settings,
    Simulation,
    SimulationResult,
    Task,
    arrivals,
    waits_by_five_minutes,
)

ROOT = Path(__file__).parents[1]
TIMES = Path(__file__).with_name("job_times.json")
PAGE = ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"

SEED = 7
SHARES = {"documents": 0.45, "album": 0.40, "shoot": 0.12, "films": 0.03}
REFERENCE_DAY = Day(
    quiet=0.01, busy=0.12, bursts=(Burst(9 * HOUR, 10 * MINUTE, 2000), Burst(14.5 * HOUR, 5 * MINUTE, 300))
)
RAISED = (8 * HOUR + 50 * MINUTE, 9 * HOUR + 15 * MINUTE, 16)
ECS_START = 60.0  # seconds from asking for a task to its process: an assumption; images of 100 MB take 30 to 60
BANDWIDTH = 125e6  # bytes a second of one task in each direction, 1 Gbit/s: an assumption
VCPU, GB = 0.04048, 0.004445  # dollars an hour
TASK_HOUR = 1 * VCPU + 2 * GB  # TaskSize medium
MAX_WAIT_SECONDS = 60.0  # seconds that 95 of 100 messages may wait


@dataclass(frozen=True, slots=True)
class Scenario:
    about: str
    settings: Settings


DEFAULTS = Settings()
CASES = (
    Scenario("the template's defaults", DEFAULTS),
    Scenario("more tasks at the most", replace(DEFAULTS, max_tasks=30)),
    Scenario("a lower target", replace(DEFAULTS, max_tasks=30, target=2)),
    Scenario("the lowest target", replace(DEFAULTS, max_tasks=30, target=1)),
    Scenario("more slots", replace(DEFAULTS, max_tasks=30, target=8, slots=8)),
    Scenario("4 tasks always", replace(DEFAULTS, min_tasks=4, max_tasks=30, target=2)),
    Scenario("8 tasks always", replace(DEFAULTS, min_tasks=8, max_tasks=30, target=2)),
    Scenario("12 tasks always", replace(DEFAULTS, min_tasks=12, max_tasks=30, target=2)),
    Scenario("16 tasks while the mailing goes out", replace(DEFAULTS, max_tasks=30, target=2, raised=RAISED)),
    Scenario("the same, without protection", replace(DEFAULTS, max_tasks=30, target=2, raised=RAISED, protected=False)),
)


COLUMNS = (
    "settings",
    "MinTasks",
    "MaxTasks",
    "BacklogPerTask",
    "MaxConcurrentJobs",
    "wait p50, s",
    "p95",
    "p99",
    "most",
    "p95 under a minute",
    "most tasks",
    "task-hours",
    "$ a day",
    "jobs begun anew",
)


def kinds(times: dict[str, Any]) -> list[Kind]:
    """The kinds of jobs with their measured times."""
    return [
        Kind(name, SHARES[name], result["seconds"], result["cpu_seconds"], result["bytes"])
        for name, result in times["kinds"].items()
    ]


def task_of(times: dict[str, Any]) -> Task:
    return Task(cpus=1.0, bandwidth=BANDWIDTH, start=ECS_START + times["start_seconds"])


def simulate(jobs: Sequence[Job], settings: Settings, times: dict[str, Any]) -> SimulationResult:
    return Simulation(jobs, settings, task_of(times), SEED).run()


def table_row(case: Scenario, result: SimulationResult) -> str:
    settings, hours = case.settings, result.task_seconds / HOUR
    waits = [f"{result.wait(percent):.0f}" for percent in (50, 95, 99, 100)]
    min_tasks = f"{settings.min_tasks}" if settings.raised is None else f"{settings.min_tasks}, {settings.raised[2]}"
    peak = max(minute.running for minute in result.minutes)
    again = sum(job.runs - 1 for job in result.jobs)
    fits = "yes" if result.wait(95) < MAX_WAIT_SECONDS else "no"
    cells = [
        case.about,
        min_tasks,
        settings.max_tasks,
        f"{settings.target:g}",
        settings.slots,
        *waits,
        fits,
        peak,
        f"{hours:.0f}",
    ]
    return "| " + " | ".join(str(cell) for cell in [*cells, f"{hours * TASK_HOUR:.2f}", again]) + " |"


def table(times: dict[str, Any]) -> list[str]:
    """The measured job times, and the table of the settings, as Markdown."""
    jobs = arrivals(REFERENCE_DAY, kinds(times), SEED)
    lines = [
        "| job | what | share | alone, s | CPU, s | on a wire of 1 Gbit/s, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in times["kinds"].items():
        wire = max(result["seconds"], result["bytes"] / BANDWIDTH)
        share = f"{SHARES[name]:.0%}"
        lines.append(
            f"| {name} | {result['about']} | {share} | {result['seconds']} | {result['cpu_seconds']} | {wire:.1f} |"
        )
    lines += [
        "",
        f"{len(jobs):,} jobs, {sum(job.kind.bytes for job in jobs) / 1e12:.1f} TB.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| " + " | ".join(["---"] * len(COLUMNS)) + " |",
    ]
    return lines + [table_row(case, simulate(jobs, case.settings, times)) for case in CASES]


def recommended(times: dict[str, Any]) -> Scenario:
    """The cheapest of the cases that keep the bound."""
    jobs = arrivals(REFERENCE_DAY, kinds(times), SEED)
    result = [(simulate(jobs, case.settings, times), case) for case in CASES if case.settings.protected]
    fitting = [(made.task_seconds, case) for made, case in result if made.wait(95) < MAX_WAIT_SECONDS]
    return min(fitting, key=lambda one: one[0])[1]


def write(lines: list[str]) -> None:
    """Put *lines* into the page, between its marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]))


def plot(times: dict[str, Any], file: Path) -> None:
    """Four panels of one day: the defaults in grey behind what is recommended."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    jobs = arrivals(REFERENCE_DAY, kinds(times), SEED)
    best = recommended(times)
    shown = ((CASES[0], "#b0b0b0"), (best, "#0b63b0"))
    hours = [minute / 60 for minute in range(int(DAY / MINUTE))]
    fives = [five / 12 for five in range(int(DAY / (5 * MINUTE)))]
    figure, panels = plt.subplots(4, 1, figsize=(10, 10), sharex=True, layout="constrained")
    counts = [0] * len(fives)
    for job in jobs:
        counts[int(job.arrived // (5 * MINUTE))] += 1
    panels[0].fill_between(fives, [count / 5 for count in counts], step="post", color="#5a8f3c")
    panels[0].set_ylabel("messages\na minute")
    for case, colour in shown:
        result = simulate(jobs, case.settings, times)
        minutes = result.minutes[: len(hours)]
        label = f"{case.about} (p95 {result.wait(95):.0f} s, ${result.task_seconds / HOUR * TASK_HOUR:.2f} a day)"
        panels[1].plot(hours, [one.waiting + one.working for one in minutes], color=colour, label=label)
        panels[2].step(hours, [one.running for one in minutes], where="post", color=colour)
        panels[3].plot(fives, list(waits_by_five_minutes(result)), color=colour)
    panels[1].set_ylabel("messages waiting\nand in work")
    panels[1].legend(loc="upper right", frameon=False)
    panels[2].set_ylabel("running tasks")
    panels[3].axhline(MAX_WAIT_SECONDS, color="#c03020", linewidth=1, linestyle="--")
    panels[3].text(0.2, MAX_WAIT_SECONDS * 1.1, "one minute", color="#c03020", va="bottom")
    panels[3].set_ylabel("wait of 95 of 100,\nby five minutes (s)")
    panels[3].set_xlabel("hour of the day")
    panels[3].set_xticks(range(0, 25, 2))
    panels[3].set_xlim(0, 24)
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.grid(axis="y", color="#e6e6e6")
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle("A simulated day: a mailing at nine brings 2,000 requests in ten minutes")
    figure.savefig(file, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into docs/scaling.md")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the picture")
    options = parser.parse_args()
    times = json.loads(TIMES.read_text())
    if options.plot:
        plot(times, options.plot)
    elif options.write:
        write(table(times))
    else:
        print(*table(times), sep="\n")


if __name__ == "__main__":
    main()
