"""Signals: a worker that is asked to stop finishes what it can, gives back the rest, and ends with exit code 0."""

import signal
import threading
from collections.abc import Callable

import pytest
from faults.rules import Do
from faults.stage import MIB, Stage
from faults.worker import PATIENCE, until

pytestmark = pytest.mark.fresh

SetStage = Callable[..., Stage]


def held(stage: Stage, op: str) -> threading.Event:
    """Hold a worker's first call of *op* until the event that is returned is set."""
    go_on = threading.Event()
    stage.break_(Do(before_it=lambda: go_on.wait(PATIENCE)), op)
    return go_on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_ends_when_its_long_poll_does(set_stage: SetStage, number: signal.Signals) -> None:
    stage = set_stage()
    worker = stage.worker()
    stage.wait_call("ReceiveMessage")

    worker.send(number)

    assert worker.exit_code() == 0
    assert [line["message"] for line in worker.events()][-2:] == ["worker.stopping", "worker.stopped"]
    assert worker.wait_for("worker.stopping")["jobs"] == 0


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]],
    ids=["SIGTERM", "SIGINT", "a second and a third signal"],
)
def test_running_job_is_finished_and_answered_and_nothing_else_is_begun(
    set_stage: SetStage, signals: list[signal.Signals]
) -> None:
    stage = set_stage()
    go_on = held(stage, "GetObject")
    job = stage.ask(stage.photos(1000, 2000))
    worker = stage.worker(MAX_CONCURRENT_JOBS="1")
    stage.wait_call("GetObject")

    worker.send(signals[0])
    assert worker.wait_for("worker.stopping")["jobs"] == 1
    for number in signals[1:]:
        worker.send(number)
    go_on.set()

    assert worker.exit_code() == 0
    assert [answer["status"] for answer in stage.answers(job)] == ["succeeded"]
    stage.finish()


def test_job_that_outlasts_the_grace_period_is_undone_and_its_message_comes_back_soon(set_stage: SetStage) -> None:
    stage = set_stage()
    go_on = held(stage, "UploadPart")
    job = stage.ask(stage.photos(6 * MIB, 6 * MIB))
    worker = stage.worker(SHUTDOWN_GRACE_SECONDS="0")
    stage.wait_call("UploadPart")

    worker.terminate()

    assert worker.exit_code() == 0
    go_on.set()
    assert worker.wait_for("job.returned")["delay"] == 2
    assert stage.answers(job) == []
    until(lambda: not stage.direct.s3.list_multipart_uploads(Bucket=stage.archives).get("Uploads"), "the upload's end")
    stage.worker("next")
    stage.wait_deleted()
    assert len(stage.answers(job)) == 1
    stage.finish()


def test_message_that_comes_when_the_worker_is_stopping_goes_back_at_once(set_stage: SetStage) -> None:
    """The long poll is left to return: cancelled, it could take along a message that nobody would see for a while."""
    stage = set_stage()
    worker = stage.worker(SQS_WAIT_SECONDS="10")
    stage.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopping")

    job = stage.ask(stage.photos(1000))

    assert worker.exit_code() == 0
    returned = worker.wait_for("job.returned")
    assert (returned["message_id"], returned["delay"]) == (job.message, 0)
    assert not list(worker.events("job.received"))
    assert not stage.history.of("GetObject")
    stage.worker("next")
    stage.wait_deleted()
    stage.finish()
