"""Group I: every outage of answers, as long as three minutes under `make faults`."""

import time

import pytest

from .outages import ANSWERS, SHORT, Outage, ask_all, last, of_sqs
from .rules import Action, Hangup, Status
from .stage import Stage
from .worker import until

pytestmark = pytest.mark.slow


@pytest.mark.stage(max_receives=1)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_outage_of_answers_is_charged_to_no_message(stage: Stage, name: str, outage_seconds: float) -> None:
    """I1"""
    last(stage, ANSWERS[name], outage_seconds)


@pytest.mark.stage(max_receives=1)
@pytest.mark.parametrize("role", ["failures", "in-dlq"])
@pytest.mark.parametrize("action", [Hangup(), Status(500, "InternalError")], ids=["cut", "500"])
def test_a_rejection_waits_for_the_queues_that_hear_of_it(stage: Stage, role: str, action: Action) -> None:
    """I2: the failure queue, and the dead-letter queue: one dead letter and one failure answer each, none twice."""
    worker = stage.worker()
    Outage(action, "SendMessage", role).begin(stage)
    jobs = [stage.send([{"source": f"missing-{n}.jpg"}], None) for n in range(6)]
    until(lambda: "worker.paused" in worker.log, "the worker to wait", 60)
    stage.mend()
    stage.wait_deleted(*jobs, seconds=90)
    assert {stage.failure(job)["code"] for job in jobs} == {"source_missing"}
    stage.finish()


@pytest.mark.stage(max_receives=3, visibility=10)
def test_without_sqs_nothing_is_lost(stage: Stage) -> None:
    """I3: leases can't be kept, and run out; what was in work comes again when SQS is back."""
    worker = stage.worker()
    stage.wait_deleted(stage.ask([stage.put("first.jpg", b"another photo")]))
    ask_all(stage, 12)
    stage.break_(Hangup(), times=None, when=of_sqs)
    until(lambda: "worker.receive_failed" in worker.log, "the outage to be met")
    time.sleep(SHORT)
    stage.mend()
    stage.wait_deleted(seconds=90)
    assert not stage.dead_letters()
    stage.finish()
