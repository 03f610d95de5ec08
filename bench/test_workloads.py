"""
What is archived and by whom, and what is made of the figures.

Not part of `make test`: `python -m pytest bench`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import pytest
from budget import contenders, grid
from check import Checker
from compare import choose_loads
from implementations import ALL, Implementation, Run, Task, measure
from network import DIRECT, steady
from run_archiver import Measured
from run_workers import combine
from server import LoadServer, compile_c
from table import as_json, rows
from workloads import (
    CONCURRENT,
    FULL,
    GROWTH,
    QUICK,
    Workload,
    by_prefix,
    listed,
    listed_for_two_passes,
    request_of,
    selected,
)

JOBS = Workload("W5", "", 10, 1000, 0, jobs=5)
NAMED = {implementation.name: implementation for implementation in ALL}


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    compile_c()
    with LoadServer([JOBS]) as running:
        yield running


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"cost": False, "quick": False, "tls": False, "latency": None, "only": None, **given})


def a_run(wall: float, work: float, peak: float = 100.0) -> Run:
    return Run(wall, work + 0.5, work, peak, JOBS.bytes)


# Loads


def test_a_quick_load_is_a_small_one_of_the_same_kind() -> None:
    assert [load.name for load in QUICK] == [load.name for load in FULL]
    for quick, full in zip(QUICK, FULL, strict=True):
        assert (quick.contenders, quick.network, quick.request) == (full.contenders, full.network, full.request)
        assert quick.bytes < full.bytes


@pytest.mark.parametrize("loads", [FULL, QUICK, GROWTH], ids=["full", "quick", "growth"])
def test_all_loads_can_be_served_at_once_and_have_contenders_with_a_share(loads: tuple[Workload, ...]) -> None:
    assert len({load.declaration() for load in (*loads, *(one.slow() for one in loads if one.slow_size))}) <= 16
    for load in loads:
        assert set(load.contenders) <= set(NAMED)
        assert load.slow_count or not any(NAMED[name].slow for name in load.contenders)


def test_jobs_of_few_objects_share_them_evenly() -> None:
    small = next(load for load in FULL if load.name == "W6")
    assert {len(numbers) for numbers in small.split()} == {5}
    assert len(small.split()) == 500


def test_a_load_behind_a_network_has_the_objects_of_the_load_itself() -> None:
    plain, behind = FULL[0], FULL[2]
    assert (behind.name, behind.count, behind.size) == ("W1-20ms", plain.count, plain.size)
    assert (behind.network.delays_ms, behind.contenders, plain.network) == ((20.0,), CONCURRENT, DIRECT)


def test_tls_and_latency_have_loads_of_their_own_unless_some_are_named() -> None:
    def names(**given: object) -> list[str]:
        return [load.name for load in choose_loads(options(**given))]

    assert names() == [load.name for load in FULL]
    assert names(tls=True) == ["W1", "W1p", "W2", "W3", "W5", "W6"]
    assert names(tls=True, only="W4,W1-tail") == ["W1-tail", "W4"]
    slowed = choose_loads(options(latency=7.5, only="W1,W5"))
    assert {(load.network, load.slow_count) for load in slowed} == {(steady(7.5), 200)}


# Requests


def test_a_request_names_the_objects_of_one_job() -> None:
    files = [
        {"source": "w1/000007.jpg", "name": "w1/000007.jpg"},
        {"source": "w1/000008.jpg", "name": "w1/000008.jpg"},
    ]
    assert listed("w1", range(7, 9)) == {"files": files}
    assert listed_for_two_passes("w1", range(7, 9)) == {"files": files, "on_missing": "skip"}


def test_a_load_chooses_how_it_is_asked_for() -> None:
    assert request_of("w1p") is by_prefix
    assert request_of("W1") is request_of("unknown") is listed
    assert request_of("W1-tail-2") is listed_for_two_passes
    assert by_prefix("w1p", range(3)) == {"files": [{"prefix": "w1p/", "destination": "w1p"}]}


# Workers


def test_the_figures_of_workers_are_joined_and_their_keys_in_the_order_of_the_jobs() -> None:
    first, second = Measured(["a", "c", "e"], 10.0, 12.0, 1.5), Measured(["b", "d"], 10.5, 13.0, 2.0)
    assert combine([(first, 100.0), (second, 90.0)]) == {
        "wall_s": 3.0,
        "cpu_s": 3.5,
        "peak_rss_mib": 190.0,
        "keys": ["a", "b", "c", "d", "e"],
    }


def run_once(server: LoadServer, implementation: Implementation) -> tuple[Run, list[str]]:
    task = Task(server.endpoint, JOBS, JOBS.bytes, implementation.name)
    return measure(implementation.prepare(), task, dict(implementation.settings))


def test_two_workers_build_all_archives_between_them(server: LoadServer) -> None:
    run, keys = run_once(server, NAMED["archiver-x2"])
    for key, numbers in zip(keys, JOBS.split(), strict=True):
        Checker(server).check(key, [f"w5/{index:06}.jpg" for index in numbers], JOBS.size)
    assert 0 < run.work_cpu_s < run.cpu_s
    assert run.peak_rss_mib > 60  # of two processes; each imports the SDK


def test_a_worker_has_the_budget_that_it_is_given(server: LoadServer) -> None:
    (tiny,) = contenders([1])
    with pytest.raises(RuntimeError, match="MEMORY_BUDGET_MIB"):
        run_once(server, tiny)


# Figures


def test_cpu_time_per_object_and_job_leaves_out_the_start_up() -> None:
    results = {"archiver": [a_run(2, 0.02), a_run(3, 0.03), a_run(9, 0.04)], "go": [a_run(1, 0.01)]}
    head, ours, theirs = rows(JOBS, results)
    assert head[:5] == ["", "wall s", "µs CPU/object", "CPU-s/GB", "ms CPU/job"]
    assert ours[:5] == ["archiver", "3.00 [2.00–9.00]", "3,000", "3000.00", "6.00"]
    assert theirs[-2:] == ["× 0.5 [0.5–0.5]"] * 2
    assert as_json(JOBS, results)["archiver"]["cpu_us_per_object"] == 3000.0


def test_a_load_of_one_job_has_no_column_for_jobs() -> None:
    assert "ms CPU/job" not in rows(replace(JOBS, jobs=1), {"archiver": [a_run(1, 1)]})[0]
    assert rows(JOBS, {}) == []


def test_a_load_that_is_compared_with_another_has_its_calls_and_ratios() -> None:
    load = replace(JOBS, jobs=1, beside="W1")
    run = replace(a_run(1, 0.01), calls={"GET": 10, "HEAD": 0, "LIST": 1})
    beside = {"archiver": [a_run(2, 0.04)]}

    head, ours = rows(load, {"archiver": [run]}, beside)

    assert head[-5:] == ["GET", "HEAD", "LIST", "wall, of W1's", "CPU, of W1's"]
    assert ours[-5:] == ["10", "0", "1", "× 0.5 [0.5–0.5]", "× 0.2 [0.2–0.2]"]
    figures = as_json(load, {"archiver": [run]}, beside)["archiver"]
    assert figures["source_calls"] == {"GET": 10, "HEAD": 0, "LIST": 1}
    assert figures["ratio_to"] == {"W1": {"wall": 0.5, "work_cpu": 0.25}}
    assert rows(load, {"archiver": [run]})[1][-2:] == ["", ""]


def test_a_prefix_is_listed_in_pages_and_no_object_is_asked_for_by_head() -> None:
    compile_c()
    load = selected(Workload("W1", "", 2_500, 100, 0))
    with LoadServer([Workload("W1", "", 30, 100, 0), load, Workload("W2", "", 30, 100, 0)]) as server:
        task = Task(server.endpoint, load, load.bytes, "prefix")
        _, keys = measure(NAMED["archiver"].prepare(), task, {})
        assert server.calls() == {"GET": 2_500, "HEAD": 0, "LIST": 3}
        Checker(server).check(keys[0], [f"w1p/{index:06}.jpg" for index in range(2_500)], 100)


def test_budgets_stand_in_rows_and_networks_in_columns() -> None:
    near, far = steady(1, 25), steady(60, 90)
    results = {near: {"24 MiB": [a_run(4, 1)], "64 MiB": [a_run(2, 1)]}, far: {"64 MiB": [a_run(8, 1)]}}
    table = grid("wall s", results, lambda runs: f"{runs[0].wall_s:g}" if runs else "failed")
    assert table == [
        ["wall s", "1 ms, 25 MB/s", "60 ms, 90 MB/s"],
        ["24 MiB", "4", "failed"],
        ["64 MiB", "2", "8"],
    ]
