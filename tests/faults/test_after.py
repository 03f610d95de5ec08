"""A fault at any call of what is done after an archive: nothing is lost or moved twice, and the flag comes last."""

from pathlib import Path

import pytest
from receivers import receivers

from .crashes import ENDING, JOB_TIMEOUT, MODES, STARTING, VISIBILITY, Point, calls_of, place
from .observations import executed
from .operations import PUT_RECEIPT
from .rules import Rule, SideEffect, Status
from .scenario import Scenario
from .ways_out import LOOKING, TELLING, WaysOut, check_that_all_were_told, ways_out
from .worker_process import wait_until

__all__ = ["receivers", "ways_out"]

FLAG = "done/x.fin"
MOVED = {"done/1.jpg", "done/2.jpg", FLAG}


READING = (
    Point("HeadObject", "archives"),
    Point("GetObject", "shoot/1.jpg"),
    Point("GetObject", "shoot/2.jpg"),
    Point(PUT_RECEIPT, "archives"),
    Point("PutObject", "archives"),
    Point("HeadObject", "archives", 2),  # the archive is looked at again
    Point("HeadReceipt", "archives"),
    *(Point("GetReceipt", "archives", nth) for nth in range(1, 5)),
)
MOVING = (
    Point("HeadObject", "done/1.jpg"),
    Point("HeadObject", "done/2.jpg"),
    Point(PUT_RECEIPT, "archives", 2),  # the store's proof
    Point("DeleteReceipt", "archives", 1),
    Point("DeleteReceipt", "archives", 2),
    Point("PutObject", "done/1.jpg"),  # a copy
    Point("PutObject", "done/2.jpg"),
    Point("HeadObject", "done/1.jpg", 2),
    Point("HeadObject", "done/2.jpg", 2),
    Point("DeleteObject", "shoot/1.jpg"),
    Point("DeleteObject", "shoot/2.jpg"),
    Point("PutObject", FLAG),
)
POINTS = (*STARTING, *LOOKING, *READING, *MOVING, *TELLING, *ENDING)
"""Every call of a job with `move`, `flag` and three ways out. A test compares this list with a real run."""

SAMPLE = (
    (READING[5], "fails before"),
    (READING[7], "killed before"),
    (MOVING[3], "killed after"),
    (MOVING[5], "response lost"),
    (MOVING[5], "killed after"),
    (MOVING[7], "frozen before"),
    (MOVING[9], "response lost"),
    (MOVING[10], "killed after"),
    (MOVING[11], "killed after"),
    (TELLING[0], "killed after"),
    (TELLING[2], "response lost"),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        every = [(point, mode) for point in POINTS for mode in MODES]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else SAMPLE
        metafunc.parametrize(("point", "mode"), chosen, ids=lambda value: str(value).replace(" ", "-"))


def begin(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Send the request; the settings of workers that may do what it asks for."""
    file, bucket = folder / "policy.toml", scenario.sources
    file.write_text(f'[after]\nmove = [{{from = "{bucket}", to = "{bucket}/done/"}}]\nflags = ["{bucket}/done/"]\n')
    after = {"action": "move", "destination": f"s3://{bucket}/done/"}
    scenario.send_request(scenario.put_objects(20_000, 30_000), after=after, flag=f"s3://{bucket}/{FLAG}")
    return {"POLICY_FILE": str(file)}


def keys(scenario: Scenario) -> set[str]:
    listed = scenario.direct.s3.list_objects_v2(Bucket=scenario.sources).get("Contents", [])
    return {one["Key"] for one in listed}


def finish(scenario: Scenario) -> None:
    """Check the promises. A worker that is killed while the store proves itself leaves the object of the proof."""
    listed = scenario.direct.s3.list_objects_v2(Bucket=scenario.archives, Prefix=".archiver-check/").get("Contents", [])
    for one in listed:
        scenario.direct.s3.delete_object(Bucket=scenario.archives, Key=one["Key"])
    scenario.finish()


@pytest.mark.scenario(visibility=30)
def test_the_points_are_all_calls_of_a_move_with_a_flag_and_three_ways_out(
    scenario: Scenario, tmp_path: Path, ways_out: WaysOut
) -> None:
    settings = begin(scenario, tmp_path)
    scenario.worker(**settings, **ways_out.settings)
    scenario.wait_deleted()
    finish(scenario)

    assert sorted(map(str, calls_of(scenario))) == sorted(map(str, POINTS))
    check_that_all_were_told(scenario, ways_out)


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_a_move_with_a_fault_at_any_call_ends_as_if_there_had_been_none(
    scenario: Scenario, ways_out: WaysOut, tmp_path: Path, point: Point, mode: str
) -> None:
    """J1: with a flag and three ways out, every mode at every call with `--all-crashes`, else a sample."""
    settings = begin(scenario, tmp_path) | ways_out.settings
    bodies = {
        key: scenario.direct.s3.get_object(Bucket=scenario.sources, Key=key)["Body"].read() for key in keys(scenario)
    }
    worker = scenario.worker(**settings)
    rules = [
        scenario.proxy.add(
            Rule(action, op=point.op, nth=point.nth, when=lambda call: place(scenario, call) == point.place)
        )
        for action in MODES[mode](worker)
    ]
    (job,) = scenario.jobs
    killed = "killed" in mode
    wait_until(lambda: not worker.running or (scenario.ended(job) and not killed), "an exit or the end", JOB_TIMEOUT)
    if not worker.running and not scenario.ended(job):
        assert keys(scenario) & {"shoot/1.jpg", "done/1.jpg"}, "an object is lost"
        scenario.worker("clean", **settings)
    scenario.wait_deleted(seconds=JOB_TIMEOUT)

    assert all(rule.fired == 1 for rule in rules)
    finish(scenario)
    assert keys(scenario) == MOVED
    for number in (1, 2):
        moved = scenario.direct.s3.get_object(Bucket=scenario.sources, Key=f"done/{number}.jpg")["Body"].read()
        assert moved == bodies[f"shoot/{number}.jpg"]
    answer = scenario.answers(job)[-1]["after"]
    assert (answer["done"], answer["kept"], answer["flag"]) == (2, [], f"s3://{scenario.sources}/{FLAG}")
    flags = [one for one in scenario.history.select("PutObject") if one.call.key == FLAG]
    gone = [one for one in executed(scenario.history.select("DeleteObject")) if one.call.bucket == scenario.sources]
    assert min(one.began for one in flags) > min(one.began for one in gone)
    check_that_all_were_told(scenario, ways_out)


def test_an_object_that_is_overwritten_before_it_is_deleted_is_kept_and_told(
    scenario: Scenario, tmp_path: Path
) -> None:
    """J2"""
    settings = begin(scenario, tmp_path)

    def overwrite() -> None:
        scenario.direct.s3.put_object(Bucket=scenario.sources, Key="shoot/1.jpg", Body=b"newer")

    scenario.inject(SideEffect(before_it=overwrite), "DeleteObject", key="shoot/1.jpg")
    scenario.worker(**settings)
    scenario.wait_deleted()
    (job,) = scenario.jobs
    finish(scenario)

    answer = scenario.answers(job)[-1]["after"]
    source = f"s3://{scenario.sources}/shoot/1.jpg"
    assert (answer["done"], answer["kept"]) == (1, [{"source": source, "code": "source_changed"}])
    assert answer["flag"] is None
    kept = scenario.direct.s3.get_object(Bucket=scenario.sources, Key="shoot/1.jpg")["Body"].read()
    assert kept == b"newer"
    assert FLAG not in keys(scenario)


def test_a_refused_delete_pauses_the_worker_and_uses_up_no_receive(scenario: Scenario, tmp_path: Path) -> None:
    """J3"""
    settings = begin(scenario, tmp_path)
    scenario.inject(Status(403, "AccessDenied"), "DeleteObject", bucket=scenario.sources, times=None)
    worker = scenario.worker(**settings)
    worker.wait_for("worker.paused")
    scenario.clear_faults()
    scenario.wait_deleted()
    finish(scenario)
    assert keys(scenario) == MOVED


def test_a_store_that_knows_no_condition_deletes_nothing(scenario: Scenario, tmp_path: Path) -> None:
    """J4"""
    settings = begin(scenario, tmp_path)
    before = keys(scenario)
    scenario.inject(Status(501, "NotImplemented"), "DeleteReceipt", times=1)
    scenario.worker(**settings)
    scenario.wait_deleted()
    finish(scenario)
    assert keys(scenario) == before
    (job,) = scenario.jobs
    assert {one["code"] for one in scenario.answers(job)[-1]["after"]["kept"]} == {"not_conditional"}
