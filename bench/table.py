"""What was measured, as a table for people and as JSON for programs."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from implementations import Run
from network import DIRECT
from workloads import Workload

OURS = "archiver"
Results = Mapping[str, Sequence[Run]]  # by contender; the n-th runs of all were made one after the other
NOTHING: Results = {}


def spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}–{max(values):.{digits}f}]"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times as much *theirs* is: the median and the range over the repetitions, pair by pair."""
    return "× " + spread([one / other for one, other in zip(theirs, ours, strict=False)], 1)


def cpu_us_per_object(load: Workload, runs: Sequence[Run]) -> float:
    """User and system, without start-up."""
    return median(run.work_cpu_s for run in runs) / load.count * 1e6


def calls(runs: Sequence[Run]) -> dict[str, int]:
    """How often source objects were asked for and listed: the median of each kind."""
    return {kind: int(median(run.calls.get(kind, 0) for run in runs)) for kind in ("GET", "HEAD", "LIST")}


def row(load: Workload, name: str, runs: Sequence[Run], ours: Sequence[Run], beside: Sequence[Run]) -> dict[str, str]:
    """The cells of one contender by their column. *beside*: the same one's runs of the load to compare with."""
    wall, work = [run.wall_s for run in runs], [run.work_cpu_s for run in runs]
    share = runs[0].measured_bytes / load.bytes
    cells = {
        "": name if share == 1 else f"{name} (of {share:.0%})",
        "wall s": spread(wall, 2),
        "µs CPU/object": f"{cpu_us_per_object(load, runs):,.0f}",
        "CPU-s/GB": f"{median(work) / load.bytes * 1e9:.2f}",
        "ms CPU/job": f"{median(work) / load.jobs * 1e3:,.2f}",
        "objects/s": f"{load.count / median(wall):,.0f}",
        "MB/s": f"{load.bytes / 1e6 / median(wall):,.0f}",
        "start-up s": f"{median(run.cpu_s - run.work_cpu_s for run in runs):.2f}",
        "peak MiB": f"{median(run.peak_rss_mib for run in runs):.0f}",
        "server busy": f"{median(run.server_busy for run in runs):.0%}",
        f"wall, of {OURS}'s": ratio(wall, [run.wall_s for run in ours]) if ours and name != OURS else "",
        f"CPU, of {OURS}'s": ratio(work, [run.work_cpu_s for run in ours]) if ours and name != OURS else "",
    }
    if load.jobs == 1:
        del cells["ms CPU/job"]
    if load.beside:
        cells |= {kind: f"{count:,}" for kind, count in calls(runs).items()}
        cells[f"wall, of {load.beside}'s"] = ratio(wall, [run.wall_s for run in beside]) if beside else ""
        cells[f"CPU, of {load.beside}'s"] = ratio(work, [run.work_cpu_s for run in beside]) if beside else ""
    return cells


def rows(load: Workload, results: Results, beside: Results = NOTHING) -> list[list[str]]:
    ours = results.get(OURS, ())
    cells = [row(load, name, runs, ours, beside.get(name, ())) for name, runs in results.items()]
    return [list(cells[0]), *(list(one.values()) for one in cells)] if cells else []


def print_rows(table: Sequence[Sequence[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        aligned: list[Callable[[int], str]] = [row[0].ljust, *(cell.rjust for cell in row[1:])]
        print("  " + "  ".join(cell(width) for cell, width in zip(aligned, widths, strict=True)).rstrip())


def print_table(load: Workload, results: Results, beside: Results = NOTHING) -> None:
    about = load.about if load.network is DIRECT else f"{load.about}; {load.network.about}"
    print(f"\n{load.name}: {about}")
    print_rows(rows(load, results, beside))


def _ratio_to(runs: Sequence[Run], beside: Sequence[Run]) -> dict[str, float]:
    pairs = list(zip(runs, beside, strict=False))
    return {
        "wall": round(median(run.wall_s / other.wall_s for run, other in pairs), 3),
        "work_cpu": round(median(run.work_cpu_s / other.work_cpu_s for run, other in pairs), 3),
    }


def as_json(load: Workload, results: Results, beside: Results = NOTHING) -> dict[str, dict[str, object]]:
    """
    Times are those of the whole load: of a slow peer, scaled from the share that it archived (`measured_share`).
    `source_calls` are not scaled. `ratio_to`: to the same one's figures of the load that this one is compared with.
    """
    return {
        name: {
            "wall_s": round(median(run.wall_s for run in runs), 4),
            "cpu_s": round(median(run.cpu_s for run in runs), 4),
            "work_cpu_s": round(median(run.work_cpu_s for run in runs), 4),
            "cpu_us_per_object": round(cpu_us_per_object(load, runs), 2),
            "peak_rss_mib": round(median(run.peak_rss_mib for run in runs), 1),
            "objects": load.count,
            "bytes": load.bytes,
            "measured_share": round(runs[0].measured_bytes / load.bytes, 4),
            "source_calls": calls(runs),
            "ratio_to": {load.beside: _ratio_to(runs, beside[name])} if beside.get(name) else {},
            "runs": [{"wall_s": round(run.wall_s, 4), "cpu_s": round(run.cpu_s, 4)} for run in runs],
        }
        for name, runs in results.items()
    }
