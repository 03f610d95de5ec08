"""Group I: every outage of the answer queue; it lasts three minutes in `make faults`."""

import time

import pytest

from .outages import ANSWERS, SHORT_OUTAGE, Outage, is_sqs_call, run_through_outage, send_requests
from .rules import Action, ResetBefore, Status
from .scenario import Scenario
from .worker_process import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.scenario(max_receives=1)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_outage_of_answers_moves_no_message_to_the_dead_letter_queue(
    scenario: Scenario, name: str, outage_seconds: float
) -> None:
    """I1: each job is answered once, after the outage."""
    run_through_outage(scenario, ANSWERS[name], outage_seconds)


@pytest.mark.scenario(max_receives=1)
@pytest.mark.parametrize("role", ["failures", "in-dlq"])
@pytest.mark.parametrize("action", [ResetBefore(), Status(500, "InternalError")], ids=["cut", "500"])
def test_a_rejection_waits_until_the_failure_and_dead_letter_queues_are_available(
    scenario: Scenario, role: str, action: Action
) -> None:
    """I2: each of the two queues fails in turn. Each job gets exactly one dead letter and one failure answer."""
    worker = scenario.worker()
    Outage(action, "SendMessage", role).begin(scenario)
    jobs = [scenario.send([{"source": f"missing-{n}.jpg"}], None) for n in range(6)]
    wait_until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    scenario.clear_faults()
    scenario.wait_deleted(*jobs, seconds=90)
    assert {scenario.failure(job)["code"] for job in jobs} == {"source_missing"}
    scenario.finish()


@pytest.mark.scenario(max_receives=3, visibility=10)
def test_an_sqs_outage_loses_no_message(scenario: Scenario) -> None:
    """I3: leases cannot be renewed and expire. Interrupted jobs are redelivered when SQS is available again."""
    worker = scenario.worker()
    scenario.wait_deleted(scenario.send_request([scenario.put("first.jpg", b"another photo")]))
    send_requests(scenario, 12)
    scenario.inject(ResetBefore(), times=None, when=is_sqs_call)
    wait_until(lambda: "worker.receive_failed" in worker.log, "a receive to fail")
    time.sleep(SHORT_OUTAGE)
    scenario.clear_faults()
    scenario.wait_deleted(seconds=90)
    assert not scenario.dead_letters()
    scenario.finish()
