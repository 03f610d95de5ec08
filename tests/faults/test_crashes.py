"""A fault at any call of a job: it ends with one byte-identical archive, and every promise is kept."""

import pytest

from .crashes import MODES, POINTS, VISIBILITY, Point, calls_of, reference_job, run_with_fault
from .emulator import Emulator
from .operations import PUT_RECEIPT
from .scenario import Scenario
from .scenario_config import ScenarioConfig

SAMPLE = (
    (Point("ReceiveMessage", "in"), "killed after"),
    (Point("GetObject", "shoot/2.jpg", 2), "terminated before"),
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


@pytest.fixture(scope="module")
def baseline_archive(emulator: Emulator) -> bytes:
    """Return the reference job's archive, built without faults, and check that POINTS lists exactly the job's calls."""
    with Scenario(emulator, ScenarioConfig(visibility=30)) as scenario:
        reference_job(scenario)
        scenario.worker()
        scenario.wait_deleted()
        scenario.finish()
        assert sorted(map(str, calls_of(scenario))) == sorted(map(str, POINTS))
        return _content(scenario)


def _content(scenario: Scenario) -> bytes:
    (job,) = scenario.jobs
    return scenario.archive(job)


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_a_job_with_a_fault_at_any_call_produces_the_same_archive(
    scenario: Scenario, baseline_archive: bytes, point: Point, mode: str
) -> None:
    """G1, G2: every mode at every call with `--all-crashes`, else a sample."""
    assert run_with_fault(scenario, point, mode) == baseline_archive


def test_the_sample_contains_only_known_points_and_modes() -> None:
    assert {point for point, _ in SAMPLE} <= set(POINTS) and {mode for _, mode in SAMPLE} <= set(MODES)
