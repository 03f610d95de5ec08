"""Signals: a worker that is asked to stop finishes what it can, gives back the rest, and ends with exit code 0."""

import signal
import threading
from collections.abc import Callable

import pytest
from faults.rules import SideEffect
from faults.scenario import MIB, Scenario
from faults.worker_process import WAIT_TIMEOUT, wait_until

OpenScenario = Callable[..., Scenario]


def held(scenario: Scenario, op: str) -> threading.Event:
    """Hold a worker's first call of *op* until the event that is returned is set."""
    go_on = threading.Event()
    scenario.inject(SideEffect(before_it=lambda: go_on.wait(WAIT_TIMEOUT)), op)
    return go_on


@pytest.mark.fresh
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_idle_worker_ends_when_its_long_poll_does(open_scenario: OpenScenario, number: signal.Signals) -> None:
    scenario = open_scenario()
    worker = scenario.worker()
    scenario.wait_call("ReceiveMessage")

    worker.send(number)

    assert worker.exit_code() == 0
    assert [line["message"] for line in worker.events()][-2:] == ["worker.stopping", "worker.stopped"]
    assert worker.wait_for("worker.stopping")["jobs"] == 0


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param([signal.SIGTERM], id="SIGTERM", marks=pytest.mark.fresh),
        pytest.param([signal.SIGINT], id="SIGINT", marks=pytest.mark.fresh),
        pytest.param([signal.SIGTERM, signal.SIGTERM, signal.SIGINT], id="a second and a third signal"),
    ],
)
def test_running_job_is_finished_and_answered_and_nothing_else_is_begun(
    open_scenario: OpenScenario, signals: list[signal.Signals]
) -> None:
    scenario = open_scenario()
    go_on = held(scenario, "GetObject")
    job = scenario.send_request(scenario.put_objects(1000, 2000))
    worker = scenario.worker(MAX_CONCURRENT_JOBS="1")
    scenario.wait_call("GetObject")

    worker.send(signals[0])
    assert worker.wait_for("worker.stopping")["jobs"] == 1
    for number in signals[1:]:
        worker.send(number)
    go_on.set()

    assert worker.exit_code() == 0
    assert [answer["status"] for answer in scenario.answers(job)] == ["succeeded"]
    scenario.finish()


def test_job_that_outlasts_the_grace_period_is_undone_and_its_message_comes_back_soon(
    open_scenario: OpenScenario,
) -> None:
    scenario = open_scenario()
    go_on = held(scenario, "UploadPart")
    job = scenario.send_request(scenario.put_objects(6 * MIB, 6 * MIB))
    worker = scenario.worker(SHUTDOWN_GRACE_SECONDS="0")
    scenario.wait_call("UploadPart")

    worker.terminate()

    assert worker.exit_code() == 0
    go_on.set()
    assert worker.wait_for("job.returned")["delay"] == 2
    assert scenario.answers(job) == []
    wait_until(
        lambda: not scenario.direct.s3.list_multipart_uploads(Bucket=scenario.archives).get("Uploads"),
        "the upload's end",
    )
    scenario.worker("next")
    scenario.wait_deleted()
    assert len(scenario.answers(job)) == 1
    scenario.finish()


def test_message_that_comes_when_the_worker_is_stopping_goes_back_at_once(open_scenario: OpenScenario) -> None:
    """The long poll is left to return: cancelled, it could take along a message that nobody would see for a while."""
    scenario = open_scenario()
    worker = scenario.worker(SQS_WAIT_SECONDS="10")
    scenario.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopping")

    job = scenario.send_request(scenario.put_objects(1000))

    assert worker.exit_code() == 0
    returned = worker.wait_for("job.returned")
    assert (returned["message_id"], returned["delay"]) == (job.message, 0)
    assert not list(worker.events("job.received"))
    assert not scenario.history.select("GetObject")
    scenario.worker("next")
    scenario.wait_deleted()
    scenario.finish()
