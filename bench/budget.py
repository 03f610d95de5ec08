"""
How much MEMORY_BUDGET_MIB is worth: archives the same large objects with several budgets, over several networks.

Each connection of an emulated network has so much throughput, each way, and each answer so much delay before its first
byte. `python bench/budget.py`, after `make bench` or with its environment.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from compare import Bench
from implementations import ALL, Implementation, Run
from network import Network, steady
from server import LoadServer, NoTlsError, compile_c
from table import OURS, Results, as_json, print_rows, spread
from workloads import MIB, Workload

LOAD = Workload("B", "8 × 128 MiB", 8, 128 * MIB, 0)
QUICK_LOAD = Workload("B", "4 × 32 MiB", 4, 32 * MIB, 0)


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="budget", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--budgets", metavar="MIB", type=numbers, default="24,32,64,128", help="(%(default)s)")
    parser.add_argument("--latencies", metavar="MS", type=numbers, default="1,20,60", help="(%(default)s)")
    parser.add_argument(
        "--rates", metavar="MB/S", type=numbers, default="25,90", help="of one connection (%(default)s)"
    )
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LOAD.about} instead of {LOAD.about}")
    parser.add_argument("--tls", action="store_true", help="by TLS")
    parser.add_argument("--json", metavar="FILE", type=Path, help="the same figures for programs")
    return parser.parse_args()


def contenders(budgets: list[float]) -> dict[Implementation, list[str]]:
    """The archiver once for each budget, with its command."""
    ours = next(implementation for implementation in ALL if implementation.name == OURS)
    named = [
        replace(ours, name=f"{budget:g} MiB", settings=(("MEMORY_BUDGET_MIB", f"{budget:g}"),)) for budget in budgets
    ]
    return {implementation: implementation.prepare() for implementation in named}


def _short(network: Network) -> str:
    return network.about.replace(" before each answer", "").replace(" per connection", "")


def grid(title: str, results: Mapping[Network, Results], cell: Callable[[list[Run]], str]) -> list[list[str]]:
    """One row for each budget, one column for each network."""
    budgets = list(dict.fromkeys(budget for by_budget in results.values() for budget in by_budget))
    head = [title, *(_short(network) for network in results)]
    return [
        head,
        *([budget, *(cell(list(one.get(budget, ()))) for one in results.values())] for budget in budgets),
    ]


def sweep(options: argparse.Namespace) -> list[str]:
    """Prints the table; returns what failed."""
    compile_c(tls=options.tls)
    ready = contenders(options.budgets)
    names = tuple(implementation.name for implementation in ready)
    load = replace(QUICK_LOAD if options.quick else LOAD, contenders=names)
    results: dict[Network, Results] = {}
    with LoadServer([load], tls=options.tls) as server:
        bench = Bench(server, ready, options.runs)
        for latency in options.latencies:
            for rate in options.rates:
                network = steady(latency, rate)
                results[network] = bench.on(replace(load, network=network))
    print(f"\n{load.about}, one job, by MEMORY_BUDGET_MIB")
    print_rows(grid("wall s", results, lambda runs: spread([run.wall_s for run in runs], 2) if runs else "failed"))
    print_rows(
        grid("peak MiB", results, lambda runs: f"{median(run.peak_rss_mib for run in runs):.0f}" if runs else "")
    )
    if options.json:
        figures = {network.about: as_json(load, one) for network, one in results.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return bench.failures


def main() -> int:
    try:
        failures = sweep(arguments())
    except NoTlsError as error:
        print(f"budget: {error}", file=sys.stderr)
        return 2
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
