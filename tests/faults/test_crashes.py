"""A fault at any call of a job: it ends with one byte-identical archive, and every promise is kept."""

from typing import get_args

import pytest

from .crashes import (
    MANIFEST,
    MODES,
    POINTS,
    VISIBILITY,
    Point,
    Way,
    calls_of,
    points_of,
    reference_job,
    run_with_fault,
    settings_of,
)
from .emulator import Emulator
from .operations import PUT_RECEIPT
from .scenario import Scenario
from .scenario_config import ScenarioConfig

SAMPLE = (
    (Point("ReceiveMessage", "in"), "killed after"),
    (Point("GetObject", "shoot/1.jpg"), "response lost"),
    (Point("GetObject", "shoot/2.jpg", 1), "stalls"),
    (Point("GetObject", "shoot/2.jpg", 2), "terminated before"),
    (Point("HeadObject", "shoot/2.jpg", way="planned"), "fails before"),
    (Point("GetObject", "shoot/1.jpg", way="planned"), "killed before"),
    (Point("GetObject", MANIFEST, way="selected"), "response lost"),
    (Point("ListObjects", "sources", way="selected"), "killed after"),
    (Point("GetObject", "shoot/2.jpg", 2, way="selected"), "terminated before"),
    (Point("UploadPartCopy", "archives#2", way="copied"), "killed after"),
    (Point("UploadPartCopy", "archives#2", way="copied"), "fails before"),
    (Point("CompleteMultipartUpload", "archives", way="copied"), "response lost"),
    (Point("CreateMultipartUpload", "archives"), "response lost"),
    (Point("UploadPart", "archives#2"), "killed before"),
    (Point(PUT_RECEIPT, "archives"), "killed after"),
    (Point("CompleteMultipartUpload", "archives"), "fails before"),
    (Point("CompleteMultipartUpload", "archives"), "response lost"),
    (Point("CompleteMultipartUpload", "archives"), "killed after"),
    (Point("CompleteMultipartUpload", "archives"), "frozen before"),
    (Point("SendMessage", "out"), "response lost"),
    (Point("SendMessage", "out"), "killed after"),
    (Point("DeleteMessage", "in"), "stalls"),
)
"""The points and modes of every test run. `--all-crashes` runs every mode at every point."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        every = [(point, mode) for point in POINTS for mode in MODES]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else SAMPLE
        metafunc.parametrize(("point", "mode"), chosen, ids=lambda value: str(value).replace(" ", "-"))


ATTEMPTS = 4
"""On a machine that is busy for a second, a slow object is asked for once more."""


@pytest.fixture(scope="module")
def baseline_archives(emulator: Emulator) -> dict[Way, bytes]:
    """
    Return the reference job's archive, built without faults: the same in every way but that of copies. Check that
    POINTS lists exactly the calls of all.
    """
    archives = {way: _archive_without_faults(emulator, way) for way in get_args(Way)}
    assert archives["in one pass"] == archives["planned"] == archives["selected"]
    return archives


def _archive_without_faults(emulator: Emulator, way: Way) -> bytes:
    expected = sorted(map(str, points_of(way)))
    for _ in range(ATTEMPTS):
        with Scenario(emulator, ScenarioConfig(visibility=30)) as scenario:
            reference_job(scenario, way)
            scenario.worker(**settings_of(way))
            scenario.wait_deleted()
            scenario.finish()
            calls, content = sorted(map(str, calls_of(scenario, way))), _content(scenario)
        if calls == expected:
            break
    assert calls == expected
    return content


def _content(scenario: Scenario) -> bytes:
    (job,) = scenario.jobs
    return scenario.archive(job)


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_a_job_with_a_fault_at_any_call_produces_the_same_archive(
    scenario: Scenario, baseline_archives: dict[Way, bytes], point: Point, mode: str
) -> None:
    """G1, G2: every mode at every call with `--all-crashes`, else a sample."""
    assert run_with_fault(scenario, point, mode) == baseline_archives[point.way]


def test_the_sample_contains_only_known_points_and_modes() -> None:
    assert {point for point, _ in SAMPLE} <= set(POINTS) and {mode for _, mode in SAMPLE} <= set(MODES)
