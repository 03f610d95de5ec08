"""
Archives the same objects with this project and with its peers, one after the other and again; one table per load.

Every archive is checked, whoever made it. `make bench`; BENCH_FLAGS hands on the options below.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

from check import Checker, WrongArchiveError
from implementations import ALL, Implementation, Run, Task, UnavailableError, measure
from network import steady
from server import LoadServer, NoTlsError, compile_c
from table import OURS, as_json, print_table, spread
from workloads import FULL, GROWTH, QUICK, Workload

TLS_LOADS, LATENCY_LOADS = "W1,W1p,W2,W3,W5,W6", "W1,W2,W5"  # unless others are named
MAX_GROWTH = 1.3  # of the cost of one member, from 2,000 to 20,000 of them


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = ",".join(implementation.name for implementation in ALL)
    parser.add_argument("--only", metavar="W1,W2", help="these loads")
    parser.add_argument("--peers", metavar="NAMES", default=names, help=f"these contenders ({names})")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each (3)")
    parser.add_argument("--quick", action="store_true", help="small loads: about a minute")
    parser.add_argument("--tls", action="store_true", help="by TLS, which the load server speaks itself (OpenSSL)")
    parser.add_argument("--latency", metavar="MS", type=float, help="so long before the first byte of each answer")
    parser.add_argument("--cost", action="store_true", help="does one member cost more among 20,000 than among 2,000?")
    parser.add_argument("--copy", action="store_true", help="streaming against server-side copies, on LocalStack")
    parser.add_argument("--json", metavar="FILE", type=Path, help="the same figures for programs")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs: at least one")
    for given, known in ((options.peers, names), (options.only, ",".join(load.name for load in FULL))):
        if unknown := set((given or known).split(",")) - set(known.split(",")):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {known}")
    return options


def choose_loads(options: argparse.Namespace) -> list[Workload]:
    if options.cost:
        return list(GROWTH)
    loads = list(QUICK if options.quick else FULL)
    usual = TLS_LOADS if options.tls else LATENCY_LOADS if options.latency else ",".join(load.name for load in loads)
    chosen = [load for load in loads if load.name in (options.only or usual).split(",")]
    if not options.latency:
        return chosen
    network = steady(options.latency)  # whoever reads one object after the other waits for each
    return [replace(load, network=network, slow_count=min(load.slow_count, 200)) for load in chosen]


def prepare_implementations(options: argparse.Namespace, loads: Sequence[Workload]) -> dict[Implementation, list[str]]:
    """The contenders that can take part, with their commands. Of the others a line says why not."""
    ready, peers = {}, [OURS] if options.cost else options.peers.split(",")
    for implementation in ALL:
        if implementation.name not in peers or not any(implementation.name in load.contenders for load in loads):
            continue
        if options.tls and not implementation.speaks_tls:
            print(f"  {implementation.name:11} skipped: it does not speak TLS")
            continue
        try:
            ready[implementation] = implementation.prepare()
            print(f"  {implementation.name:11} {implementation.about}")
        except UnavailableError as error:
            print(f"  {implementation.name:11} skipped: {error}")
    return ready


class Bench:
    """One load server, and the contenders on it."""

    def __init__(self, server: LoadServer, ready: dict[Implementation, list[str]], runs: int) -> None:
        self._server = server
        self._ready = ready
        self._runs = runs
        self._checker = Checker(server)
        self.failures: list[str] = []

    def on(self, load: Workload) -> dict[str, list[Run]]:
        """Interleaved, and each repetition begins with another contender. One that fails is left out from then on."""
        remaining = [implementation for implementation in self._ready if implementation.name in load.contenders]
        results: dict[str, list[Run]] = {implementation.name: [] for implementation in remaining}
        for repetition in range(self._runs):
            turn = repetition % max(1, len(remaining))
            for implementation in remaining[turn:] + remaining[:turn]:
                try:
                    results[implementation.name].append(self._run(implementation, load, repetition))
                except (RuntimeError, OSError, ValueError, WrongArchiveError) as error:
                    self.failures.append(f"{implementation.name} on {load.name}: {error}")
                    remaining.remove(implementation)
                    del results[implementation.name]
        return results

    def _run(self, implementation: Implementation, load: Workload, repetition: int) -> Run:
        self._server.ask("/_reset")
        self._server.emulate(load.network, seed=repetition)
        share = load.slow(warms_up=implementation.warms_up) if implementation.slow else load
        task = Task(self._server.endpoint, share, load.bytes, f"{implementation.name}-{load.name}")
        environment = {**self._server.environment, **dict(implementation.settings)}
        busy, started = self._server.cpu_seconds(), time.perf_counter()
        run, keys = measure(self._ready[implementation], task, environment)
        busy = (self._server.cpu_seconds() - busy) / (run.wall_s * share.bytes / load.bytes)
        run = replace(run, server_busy=busy, calls=self._server.calls())
        took = time.perf_counter() - started
        for key, numbers in zip(keys, share.split(), strict=True):
            names = [f"{share.name.lower()}/{index:06}.jpg" for index in numbers]
            self._checker.check(key, names, share.size)
        print(f"  {load.name} {implementation.name:11} {took:6.1f} s", file=sys.stderr)
        return run


def print_cost(results: dict[str, dict[str, list[Run]]]) -> list[str]:
    """Compares the work of ten times as many members, repetition by repetition."""
    few, many = GROWTH
    factor = many.count / few.count
    pairs = zip(results[few.name][OURS], results[many.name][OURS], strict=True)
    growth = [more.work_cpu_s / less.work_cpu_s / factor for less, more in pairs]
    print(f"\nCPU time of one member among {many.count:,}: × {spread(growth, 2)} of one among {few.count:,}.")
    return [f"the cost of one member grew more than {MAX_GROWTH} times"] if median(growth) > MAX_GROWTH else []


def bench(options: argparse.Namespace, loads: Sequence[Workload]) -> list[str]:
    compile_c(tls=options.tls)
    print("Contenders:")
    ready = prepare_implementations(options, loads)
    declared = [*loads, *(load.slow() for load in loads if load.slow_size)]
    results = {}
    with LoadServer(declared, tls=options.tls) as server:
        runs = Bench(server, ready, options.runs)
        for load in loads:
            results[load.name] = runs.on(load)
            if results[load.name]:
                print_table(load, results[load.name], results.get(load.beside, {}))
    failures = runs.failures
    if options.cost and not failures:
        failures = print_cost(results)
    if options.json:
        figures = {load.name: as_json(load, results[load.name], results.get(load.beside, {})) for load in loads}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return failures


def compare_copies(file: Path | None) -> int:
    """Print how an archive is streamed and copied; into *file* as JSON."""
    from copies import measure_copies, print_copies

    figures = measure_copies()
    print_copies(figures)
    if file is not None:
        file.write_text(json.dumps({"copy": [asdict(one) for one in figures]}, indent=2) + "\n")
    return 0


def main() -> int:
    options = arguments()
    one_minute = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores; load average before the start {one_minute:.1f}"
        + "; expect noise" * (one_minute > 0.5)
    )
    if options.copy:
        return compare_copies(options.json)
    try:
        failures = bench(options, choose_loads(options))
    except NoTlsError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"\nMedian [least–most] of {options.runs} interleaved runs over loopback; every archive was checked whole.")
    print("(of n %): that share was archived, and times are scaled to the whole.")
    print(
        "Start-up is the CPU time before the first message or object may be asked for; the other CPU columns leave it"
    )
    print("out, peak memory does not. What a job loads late counts as work.")
    if options.tls:
        print("By TLS 1.3, AES-128-GCM, certificates checked; sealing is work of the load server's, too.")
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
