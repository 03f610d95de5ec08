"""
Group I: while a store or a queue answers nobody, or refuses what we are, no message is charged for it.

One receive is all that the redrive policy allows here: whatever is booked on a message ends in the dead letters.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from .operations import Call
from .rules import Action, Hangup, Rule, Status
from .setting import MIB
from .stage import Stage
from .worker import until

SHORT = 14.0  # seconds: longer than any patience that is not meant for it
LONG = 180.0


def of_s3(call: Call) -> bool:
    """Whether it is a call of S3."""
    return call.queue is None and not call.fields


def of_sqs(call: Call) -> bool:
    return not of_s3(call)


@dataclass(frozen=True)
class Outage:
    """*action* befalls every call of *op*, or those that *when* picks; in *role*: a queue's, `sources`, `archives`."""

    action: Action
    op: str | None = None
    role: str | None = None
    when: Callable[[Call], bool] = field(default=lambda _: True)

    def begin(self, stage: Stage) -> Rule:
        """From now on it is so."""
        where: dict[str, Any] = {}
        if self.role in ("sources", "archives"):
            where["bucket"] = getattr(stage, self.role)
        elif self.role:
            where["queue"] = stage.arn(self.role).rpartition(":")[2]
        return stage.break_(self.action, self.op, times=None, when=self.when, **where)


KMS = Status(400, "KMS.DisabledException")
OUTAGES = {
    "S3 cut": Outage(Hangup(), when=of_s3),
    "S3 503": Outage(Status(503, "SlowDown"), when=of_s3),
    "S3 500": Outage(Status(500, "InternalError"), when=of_s3),
    "HEAD of sources": Outage(Status(503, "ServiceUnavailable"), "HeadObject", "sources"),
    "GET": Outage(Status(500, "InternalError"), "GetObject", "sources"),
    "sources denied": Outage(Status(403, "AccessDenied"), role="sources"),
    "sources' key disabled": Outage(Status(400, "KMS.DisabledException"), "GetObject", "sources"),
    "sources' key denied": Outage(Status(403, "AccessDenied", "no kms:Decrypt"), "GetObject", "sources"),
    "HEAD of archives": Outage(Hangup(), "HeadObject", "archives"),
    "PutObject": Outage(Status(503, "SlowDown"), "PutObject"),
    "Create": Outage(Status(500, "InternalError"), "CreateMultipartUpload"),
    "parts": Outage(Hangup(), "UploadPart"),
    "Complete": Outage(Status(503, "SlowDown"), "CompleteMultipartUpload"),
    "archives denied": Outage(Status(403, "AccessDenied"), role="archives", when=lambda call: call.op != "HeadObject"),
    "archives' key disabled": Outage(KMS, role="archives", when=lambda call: call.op != "HeadObject"),
    "archives full": Outage(Status(507, "InsufficientStorage"), role="archives", when=lambda c: c.op != "HeadObject"),
    "quota": Outage(Status(403, "QuotaExceeded"), role="archives", when=lambda c: c.op != "HeadObject"),
    "not implemented": Outage(Status(501, "NotImplemented"), "CreateMultipartUpload"),
    "answers cut": Outage(Hangup(), "SendMessage", "out"),
    "answers 500": Outage(Status(500, "InternalError"), "SendMessage", "out"),
    "answers' key denied": Outage(Status(400, "KMS.AccessDeniedException"), "SendMessage", "out"),
    "answers' key disabled": Outage(Status(400, "KmsDisabled"), "SendMessage", "out"),
    "answers cut and S3 too": Outage(Hangup(), when=lambda c: of_s3(c) or c.op == "SendMessage"),
    "answers gone": Outage(Status(400, "QueueDoesNotExist"), "SendMessage", "out"),
}


def ask_all(stage: Stage, count: int) -> None:
    small, large = stage.photos(1000, 6 * MIB)
    for number in range(count):
        stage.ask([small] if number % 3 else [small, large])


def last(stage: Stage, outage: Outage, seconds: float, count: int = 12) -> None:
    """*count* requests while *outage* lasts for *seconds*, from when a worker has one behind it; then all is mended."""
    worker = stage.worker()
    stage.wait_deleted(stage.ask([stage.put("first.jpg", b"another photo")]))
    rule = outage.begin(stage)
    ask_all(stage, count)
    until(lambda: rule.fired, "the outage to be met")
    time.sleep(seconds)
    assert "worker.paused" in worker.log
    assert not stage.dead_letters()
    stage.mend()
    stage.wait_deleted(seconds=90)
    assert all(len(stage.answers(job)) == 1 for job in stage.jobs)
    assert "worker.resumed" in worker.log
    stage.finish()


@pytest.mark.stage(max_receives=1)
@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_is_charged_to_no_message(stage: Stage, name: str) -> None:
    """I1: whatever is away, and whichever of its calls."""
    last(stage, OUTAGES[name], SHORT)


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
