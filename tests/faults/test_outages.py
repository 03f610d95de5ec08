"""
Group I: while a store or a queue answers nobody, or refuses what we are, no message is charged for it.

One receive is all that the redrive policy allows here: whatever is booked on a message ends in the dead letters.
"""

import time

import pytest

from .outages import ANSWERS, READS, SHORT, WRITES, Outage, ask_all, last, of_sqs
from .rules import Action, Hangup, Status
from .stage import Stage
from .worker import until

SAMPLE = {name: (READS | WRITES | ANSWERS)[name] for name in ("S3 cut", "sources denied", "answers' key denied")}
"""What every test run tries; the others are slow, each group in a file of its own, as files run side by side."""


@pytest.mark.stage(max_receives=1)
@pytest.mark.parametrize("name", SAMPLE)
def test_an_outage_is_charged_to_no_message(stage: Stage, name: str) -> None:
    """I1: whatever is away, and whichever of its calls."""
    last(stage, SAMPLE[name], SHORT)


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


@pytest.mark.stage(max_receives=2)
def test_one_object_that_can_not_be_read_rejects_its_own_request_and_holds_up_no_other(stage: Stage) -> None:
    """I4: a poisoned object among healthy ones, and alone."""
    worker = stage.worker()
    poisoned = stage.put("poisoned.jpg", b"no more to be read")
    stage.break_(Status(500, "InternalError"), "GetObject", key="poisoned.jpg", times=None)
    bad = stage.send([{"source": "poisoned.jpg"}], None)
    mixed = stage.send([{"source": "poisoned.jpg"}, *({"source": s.key} for s in stage.photos(10, 20, 30))], None)
    assert poisoned.key == "poisoned.jpg"
    healthy = [stage.ask(stage.photos(1000)) for _ in range(6)]
    stage.wait_deleted(*healthy)
    stage.wait_deleted(bad, mixed, seconds=240)
    assert {stage.failure(job)["code"] for job in (bad, mixed)} == {"retries_exhausted"}
    assert "worker.paused" not in worker.log
    stage.finish()
