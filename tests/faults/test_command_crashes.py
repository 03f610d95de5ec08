"""A fault at any call of a command: its outputs are whole, and it does not run again once its result is remembered."""

import json
from pathlib import Path

import pytest
from command.runs import processes_in

from .command_crashes import ALL, ARCHIVES, MADE, OWN, POINTS, PRINTED, SLEEPS_FIRST, CommandJob, run_with_fault
from .crashes import MODES, VISIBILITY, Point, calls_of
from .observations import Source
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until

BUDGET = 15 * MIB
"""MEMORY_BUDGET_MIB of a scenario's workers."""

QUICK = (Point("PutObject", ARCHIVES), "killed after")
SAMPLE = (
    (OWN[0], "response lost"),
    (Point("ListObjects", "sources"), "fails before"),
    (Point("GetObject", "in/1.txt"), "terminated before"),
    (Point("PutObject", PRINTED), "response lost"),
    (Point("PutObject", PRINTED), "frozen before"),
    (Point("PutObject", MADE), "killed after"),
    (Point("PutObject", MADE), "stalls"),
    (Point("PutObject", ARCHIVES), "response lost"),
    (Point("PutObject", ARCHIVES), "killed before"),
    (Point("SendMessage", "out"), "killed after"),
    (Point("DeleteMessage", "in"), "killed before"),
)
"""The points and modes of every slow run. `--all-crashes` runs every mode at every point."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        every = [(point, mode) for point in POINTS for mode in MODES if (point, mode) != QUICK]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else SAMPLE
        marked = [pytest.param(*QUICK), *(pytest.param(*one, marks=pytest.mark.slow) for one in chosen)]
        metafunc.parametrize(("point", "mode"), marked, ids=lambda value: str(value).replace(" ", "-"))


@pytest.mark.slow
@pytest.mark.scenario(visibility=30)
def test_the_points_are_all_calls_of_a_command(scenario: Scenario, tmp_path: Path) -> None:
    job = CommandJob(scenario, tmp_path)
    scenario.worker(**job.begin())
    scenario.wait_deleted()
    job.check()

    assert sorted(map(str, calls_of(scenario))) == sorted(map(str, ALL))
    assert len(job.runs) == 1


@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_a_command_with_a_fault_at_any_call_ends_as_if_there_had_been_none(
    scenario: Scenario, tmp_path: Path, point: Point, mode: str
) -> None:
    """K11: every mode at every call with `--all-crashes`, else a sample."""
    run_with_fault(CommandJob(scenario, tmp_path), point, mode)


@pytest.mark.slow
@pytest.mark.scenario(visibility=6)
def test_a_program_whose_job_loses_its_lease_ends_and_stores_nothing(scenario: Scenario, tmp_path: Path) -> None:
    """K12: another consumer has received the message; the program ends with what it started."""
    job = CommandJob(scenario, tmp_path, SLEEPS_FIRST)
    worker = scenario.worker(**job.begin())
    wait_until(lambda: job.runs, "the program to run")
    (sent,) = scenario.jobs
    scenario.make_visible(sent)
    (redelivered,) = scenario.receive(visibility=20)
    worker.wait_for("job.lease_lost")
    wait_until(lambda: not processes_in(job.work), "the program to end")
    assert scenario.view.outputs(sent) == scenario.view.writes(sent.key) == []
    scenario.own.sqs.change_message_visibility(
        QueueUrl=scenario.url("in"), ReceiptHandle=redelivered["ReceiptHandle"], VisibilityTimeout=0
    )
    scenario.wait_deleted()
    job.check()

    assert len(job.runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("first", ["command", "archive"])
def test_a_job_id_is_a_commands_or_an_archives_whichever_succeeds_first(
    scenario: Scenario, tmp_path: Path, first: str
) -> None:
    job = CommandJob(scenario, tmp_path)
    settings = job.begin()
    scenario.worker(**settings)
    (command,) = scenario.jobs
    scenario.wait_deleted(command)
    assert scenario.answers(command)[0]["status"] == "succeeded"
    if first == "command":
        late = scenario.send([{"source": "in/1.txt"}], None, job_id="join-1")
    else:
        archive = scenario.send([{"source": "in/1.txt"}], {"1.txt": Source(scenario.sources, "in/1.txt")}, job_id="a")
        scenario.wait_deleted(archive)
        late = scenario.send_command(json.loads(command.body)["command"], {}, job_id="a")
    scenario.wait_deleted(late)

    assert scenario.failure(late)["code"] == "job_conflict"
    assert len(job.runs) == 1


MANY = """
import sys
for _ in range(1024):
    sys.stdout.buffer.write(b"x" * 1048576)
open(sys.argv[3], "w").close()
"""


@pytest.mark.slow
@pytest.mark.scenario(visibility=30)
def test_a_program_that_prints_a_gibibyte_to_an_object_takes_part_buffers(scenario: Scenario, tmp_path: Path) -> None:
    job = CommandJob(scenario, tmp_path, MANY)
    worker = scenario.worker(**job.begin())
    worker.wait_for("worker.ready")
    before = worker.facts().memory
    scenario.wait_deleted(seconds=300)

    stored = scenario.direct.s3.head_object(Bucket=scenario.sources, Key=PRINTED)["ContentLength"]
    grown = worker.peak_memory() - before
    print(f"grew by {grown / MIB:.1f} MiB")
    assert stored == 1024 * MIB
    assert grown < BUDGET + 32 * MIB
