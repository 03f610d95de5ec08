"""What was measured, as a table for people and as JSON for programs."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from implementations import Run
from workloads import Workload

OURS = "archiver"
Results = Mapping[str, Sequence[Run]]  # by contender; the n-th runs of all were made one after the other


def spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}–{max(values):.{digits}f}]"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times as much *theirs* is: the median and the range over the repetitions, pair by pair."""
    return "× " + spread([one / other for one, other in zip(theirs, ours, strict=False)], 1)


def rows(load: Workload, results: Results) -> list[list[str]]:
    head = ["", "wall s", "objects/s", "MB/s", "CPU-s/GB", "µs CPU/object", "start-up s", "peak MiB", "server busy"]
    table = [[*head, f"wall, of {OURS}'s", f"CPU, of {OURS}'s"]]
    ours = results.get(OURS, ())
    for name, runs in results.items():
        wall, work = [run.wall_s for run in runs], [run.work_cpu_s for run in runs]
        share = runs[0].measured_bytes / load.bytes
        table.append(
            [
                name if share == 1 else f"{name} (of {share:.0%})",
                spread(wall, 2),
                f"{load.count / median(wall):,.0f}",
                f"{load.bytes / 1e6 / median(wall):,.0f}",
                f"{median(work) / load.bytes * 1e9:.2f}",
                f"{median(work) / load.count * 1e6:,.0f}",
                f"{median(run.cpu_s - run.work_cpu_s for run in runs):.2f}",
                f"{median(run.peak_rss_mib for run in runs):.0f}",
                f"{median(run.server_busy for run in runs):.0%}",
                ratio(wall, [run.wall_s for run in ours]) if ours and name != OURS else "",
                ratio(work, [run.work_cpu_s for run in ours]) if ours and name != OURS else "",
            ]
        )
    return table


def print_table(load: Workload, results: Results) -> None:
    table = rows(load, results)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    print(f"\n{load.name}: {load.about}")
    for row in table:
        aligned: list[Callable[[int], str]] = [row[0].ljust, *(cell.rjust for cell in row[1:])]
        print("  " + "  ".join(cell(width) for cell, width in zip(aligned, widths, strict=True)).rstrip())


def as_json(load: Workload, results: Results) -> dict[str, dict[str, object]]:
    """Times are those of the whole load: of a slow peer, scaled from the share that it archived (`measured_share`)."""
    return {
        name: {
            "wall_s": round(median(run.wall_s for run in runs), 4),
            "cpu_s": round(median(run.cpu_s for run in runs), 4),
            "work_cpu_s": round(median(run.work_cpu_s for run in runs), 4),
            "peak_rss_mib": round(median(run.peak_rss_mib for run in runs), 1),
            "objects": load.count,
            "bytes": load.bytes,
            "measured_share": round(runs[0].measured_bytes / load.bytes, 4),
            "runs": [{"wall_s": round(run.wall_s, 4), "cpu_s": round(run.cpu_s, 4)} for run in runs],
        }
        for name, runs in results.items()
    }
