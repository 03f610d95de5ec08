"""A fault at any call of what is done after an archive: nothing is lost or moved twice, and the flag comes last."""

from pathlib import Path
from typing import NamedTuple

import pytest

from .crashes import JOB_TIMEOUT, MODES, VISIBILITY, place
from .observations import executed
from .rules import Rule, SideEffect, Status
from .scenario import Scenario
from .worker_process import wait_until

FLAG = "done/x.fin"
MOVED = {"done/1.jpg", "done/2.jpg", FLAG}


class Point(NamedTuple):
    """The *nth* call *op* at *place*; a copy is a PutObject of its target."""

    op: str
    place: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.op}-{self.place}-{self.nth}"


POINTS = (
    Point("HeadObject", "archives", 2),  # the archive is looked at again
    Point("HeadReceipt", "archives"),
    Point("GetReceipt", "archives"),
    Point("HeadObject", "done/1.jpg"),
    Point("PutReceipt", "archives", 2),  # the store's proof
    Point("DeleteReceipt", "archives"),
    Point("DeleteReceipt", "archives", 2),
    Point("PutObject", "done/1.jpg"),
    Point("HeadObject", "done/1.jpg", 2),
    Point("DeleteObject", "shoot/1.jpg"),
    Point("DeleteObject", "shoot/2.jpg"),
    Point("PutObject", FLAG),
    Point("SendMessage", "out"),
    Point("DeleteMessage", "in"),
)
SAMPLE = (
    (POINTS[0], "fails before"),
    (POINTS[2], "killed before"),
    (POINTS[5], "killed after"),
    (POINTS[7], "response lost"),
    (POINTS[7], "killed after"),
    (POINTS[8], "frozen before"),
    (POINTS[9], "response lost"),
    (POINTS[10], "killed after"),
    (POINTS[11], "killed after"),
    (POINTS[12], "killed before"),
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


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_a_move_with_a_fault_at_any_call_ends_as_if_there_had_been_none(
    scenario: Scenario, tmp_path: Path, point: Point, mode: str
) -> None:
    """J1: every mode at every call with `--all-crashes`, else a sample."""
    settings = begin(scenario, tmp_path)
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
