"""Group F, beside SQS: every receiver gets the answer, whatever fails and whoever is killed while it is sent."""

import pytest
from receivers import receivers

from .crashes import MODES, ONE_PASS, VISIBILITY, Point, calls_of, reference_job, run_with_fault
from .observations import executed
from .rules import Status
from .scenario import Scenario
from .ways_out import LOOKING, TELLING, WaysOut, check_that_all_were_told, told_by_events, ways_out
from .worker_process import wait_until

__all__ = ["receivers", "ways_out"]

POINTS = (*ONE_PASS, *LOOKING, *TELLING)
"""Every call of the reference job with three ways out. A test compares this list with a real run."""

SAMPLE = (
    (TELLING[0], "killed after"),
    (TELLING[1], "response lost"),
    (TELLING[2], "killed before"),
    (Point("SendMessage", "out"), "killed after"),
    (Point("DeleteMessage", "in"), "killed before"),
)
"""The points and modes of every run. `--all-crashes` runs every mode at every point."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        every = [(point, mode) for point in POINTS for mode in MODES]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else SAMPLE
        metafunc.parametrize(("point", "mode"), chosen, ids=lambda value: str(value).replace(" ", "-"))


@pytest.mark.scenario(visibility=30)
def test_the_points_are_all_calls_of_a_job_with_three_ways_out(scenario: Scenario, ways_out: WaysOut) -> None:
    reference_job(scenario)
    scenario.worker(**ways_out.settings)
    scenario.wait_deleted()
    scenario.finish()

    assert sorted(map(str, calls_of(scenario))) == sorted(map(str, POINTS))
    check_that_all_were_told(scenario, ways_out)


@pytest.mark.slow
@pytest.mark.scenario(visibility=VISIBILITY, max_receives=10)
def test_every_way_out_is_told_whatever_call_of_the_job_fails(
    scenario: Scenario, ways_out: WaysOut, point: Point, mode: str
) -> None:
    """F9, G1: every mode at every call with `--all-crashes`, else a sample."""
    run_with_fault(scenario, point, mode, ways_out.settings)

    check_that_all_were_told(scenario, ways_out)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Publish", "PutEvents", "Invoke"])
def test_a_way_out_that_is_down_pauses_the_worker_and_the_others_are_told_once(
    scenario: Scenario, ways_out: WaysOut, op: str
) -> None:
    """F10: no receive is used up, and nothing is deleted before all have accepted."""
    scenario.inject(Status(500, "InternalError"), op, times=None)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker(**ways_out.settings)
    worker.wait_for("worker.paused")
    setting = {"Publish": "NOTIFY_SNS_TOPIC", "PutEvents": "NOTIFY_EVENT_BUS", "Invoke": "NOTIFY_LAMBDA"}[op]
    assert any(setting in line["reason"] for line in worker.events("worker.paused"))
    assert scenario.history.select("DeleteMessage") == []
    scenario.clear_faults()
    scenario.wait_deleted(job)
    scenario.finish()

    assert len(list(worker.events("job.received"))) == len(scenario.answers(job)) == 1
    assert len(executed(scenario.history.select(op))) == 1
    check_that_all_were_told(scenario, ways_out)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Publish", "PutEvents", "Invoke"])
def test_a_way_out_that_refuses_keeps_the_message_until_that_is_fixed(
    scenario: Scenario, ways_out: WaysOut, op: str
) -> None:
    """F10: a missing permission is the operator's, not the message's."""
    scenario.inject(Status(403, "AccessDeniedException"), op)
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker(**ways_out.settings)
    scenario.wait_deleted(job)
    scenario.finish()

    assert len(list(worker.events("worker.paused"))) == 1
    assert len(scenario.answers(job)) == 1
    check_that_all_were_told(scenario, ways_out)


@pytest.mark.slow
def test_a_rejection_is_told_to_every_way_out(scenario: Scenario, ways_out: WaysOut) -> None:
    """F9: as a success is, before the message is deleted."""
    job = scenario.send([{"source": "not there"}], None)
    scenario.worker(**ways_out.settings)
    scenario.wait_deleted(job)
    scenario.finish()

    (failure,) = ways_out.published()
    assert (failure["status"], failure["error"]["code"]) == ("failed", "source_missing")
    assert told_by_events(executed(scenario.history.select("PutEvents"))) == [failure]
    (deleted,) = executed(scenario.history.select("DeleteMessage"))
    told = executed(scenario.history.select("Publish", "PutEvents", "Invoke"))
    assert len(told) == 3 and all(one.ended is not None and one.ended <= deleted.began for one in told)


def test_a_receiver_that_is_missing_at_start_stops_the_worker(scenario: Scenario, ways_out: WaysOut) -> None:
    """A16: like a queue."""
    worker = scenario.worker(**{**ways_out.settings, "NOTIFY_EVENT_BUS": "nowhere"})
    wait_until(lambda: not worker.running, "an exit")

    assert worker.exit_code() == 2 and "NOTIFY_EVENT_BUS: this event bus does not exist" in worker.log
