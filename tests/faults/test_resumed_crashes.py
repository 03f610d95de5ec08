"""A fault at any call of a worker that goes on with an upload: one right archive, and no stored part made again."""

from typing import NamedTuple

import pytest

from .crashes import MODES, VISIBILITY
from .emulator import Emulator
from .resumed import OVERTAKEN, WAYS, Point, Way, record, run_resumed
from .scenario import Scenario
from .scenario_config import ScenarioConfig

RESUMED_MODES = (*MODES, OVERTAKEN)
"""The last one: it is suspended past its lease, and wakes up while a third worker goes on with the same upload."""
SAMPLE = (
    ("read", "killed after", Point("ListParts", "archives")),
    ("read", "response lost", Point("CompleteMultipartUpload", "archives")),
    ("read", OVERTAKEN, Point("UploadPart", "archives#2")),
    ("copied", "killed after", Point("UploadPartCopy", "archives#4")),
    ("copied", "killed before", Point("CompleteMultipartUpload", "archives")),
    ("copied", "frozen before", Point("PutRecord", "archives")),
    ("copied", OVERTAKEN, Point("UploadPartCopy", "archives#4")),
)
"""The ways, modes and calls of every test run. `--all-crashes` runs every mode at every call."""
SHARES = 4  # tests for each way and mode, so that processes can share them

Recorded = dict[str, tuple[list[Point], bytes]]


class Case(NamedTuple):
    """What one test runs. *which*: one point, or each fourth one, from the first, second, … on."""

    way: Way
    mode: str
    which: Point | int

    def __str__(self) -> str:
        return f"{self.way}-{self.mode}-{self.which}".replace(" ", "-")

    def choose(self, points: list[Point]) -> list[Point]:
        if isinstance(self.which, int):
            return points[self.which :: SHARES]
        return [point for point in points if point == self.which]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    cases = [Case(way, mode, share) for way in WAYS for mode in RESUMED_MODES for share in range(SHARES)]
    if not metafunc.config.getoption("--all-crashes", default=False):
        by_name = {way.name: way for way in WAYS}
        cases = [Case(by_name[name], mode, point) for name, mode, point in SAMPLE]
    metafunc.parametrize("case", cases, ids=str)


@pytest.fixture(scope="module")
def recorded(emulator: Emulator) -> Recorded:
    """Return, for each way, the calls of a worker that goes on without a fault, and its archive."""
    found = {}
    for way in WAYS:
        with Scenario(emulator, ScenarioConfig(visibility=30)) as scenario:
            found[way.name] = record(scenario, way)
    return found


@pytest.mark.slow
def test_a_resumed_job_with_a_fault_at_any_call_produces_the_same_archive(
    emulator: Emulator, recorded: Recorded, request: pytest.FixtureRequest, case: Case
) -> None:
    """G1, G2, G16, G18: every mode at every call with `--all-crashes`, else a sample. The calls are those of a run."""
    points, whole = recorded[case.way.name]
    chosen = case.choose(points)
    assert chosen, f"{case.which} is no call of a worker that goes on"
    findings = []
    for point in chosen:
        with Scenario(emulator, ScenarioConfig(visibility=VISIBILITY, max_receives=10)) as scenario:
            try:
                assert run_resumed(scenario, case.way, point, case.mode) == whole
            except AssertionError as error:
                findings.append(f"{point}: {error}")
                request.node.add_report_section("call", str(point), scenario.dump())

    assert not findings, "\n".join(findings)


@pytest.mark.slow
def test_the_calls_that_are_recorded_are_those_of_a_resumed_job(recorded: Recorded) -> None:
    """What the enumeration would miss if nothing was resumed."""
    common = {"HeadRecord", "GetRecord", "ListParts", "PutRecord", "CompleteMultipartUpload", "DeleteRecord"}
    for way in WAYS:
        points, _ = recorded[way.name]
        told = {point.op for point in points}
        assert common <= told and "CreateMultipartUpload" not in told
        sent = {int(point.place.partition("#")[2]) for point in points if point.op.startswith("UploadPart")}
        assert sent == {*range(1, way.parts + 1)} - way.left
