"""Outages of S3 and SQS, and a scenario with requests during an outage."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .operations import PUT_RECEIPT, Call
from .rules import Action, ResetBefore, Rule, Status
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until

SHORT_OUTAGE = 6.0  # seconds after the worker has paused or has had a failed call
LONG_OUTAGE = 180.0


def is_s3_call(call: Call) -> bool:
    """Whether *call* is an S3 call."""
    return call.queue is None and not call.fields


def is_sqs_call(call: Call) -> bool:
    return not is_s3_call(call)


@dataclass(frozen=True)
class Outage:
    """
    *action* for every call of *op* that *when* selects. *role*: of a queue, or `sources` or `archives`. *on_missing*:
    of the requests; with `skip`, objects are asked for by HEAD first.
    """

    action: Action
    op: str | None = None
    role: str | None = None
    when: Callable[[Call], bool] = field(default=lambda _: True)
    on_missing: str = "fail"

    def begin(self, scenario: Scenario) -> Rule:
        """Start the outage."""
        where: dict[str, Any] = {}
        if self.role in ("sources", "archives"):
            where["bucket"] = getattr(scenario, self.role)
        elif self.role:
            where["queue"] = scenario.arn(self.role).rpartition(":")[2]
        return scenario.inject(self.action, self.op, times=None, when=self.when, **where)


KMS = Status(400, "KMS.DisabledException")
READS = {
    "S3 cut": Outage(ResetBefore(), when=is_s3_call),
    "S3 503": Outage(Status(503, "SlowDown"), when=is_s3_call),
    "S3 500": Outage(Status(500, "InternalError"), when=is_s3_call),
    "HEAD of sources": Outage(Status(503, "ServiceUnavailable"), "HeadObject", "sources", on_missing="skip"),
    "GET": Outage(Status(500, "InternalError"), "GetObject", "sources"),
    "sources denied": Outage(Status(403, "AccessDenied"), role="sources"),
    "sources' key disabled": Outage(Status(400, "KMS.DisabledException"), "GetObject", "sources"),
    "sources' key denied": Outage(Status(403, "AccessDenied", "no kms:Decrypt"), "GetObject", "sources"),
}
WRITES = {
    "HEAD of archives": Outage(ResetBefore(), "HeadObject", "archives"),
    "PutObject": Outage(Status(503, "SlowDown"), "PutObject"),
    "Create": Outage(Status(500, "InternalError"), "CreateMultipartUpload"),
    "parts": Outage(ResetBefore(), "UploadPart"),
    "receipts": Outage(Status(503, "SlowDown"), PUT_RECEIPT),
    "Complete": Outage(Status(503, "SlowDown"), "CompleteMultipartUpload"),
    "archives denied": Outage(Status(403, "AccessDenied"), role="archives", when=lambda call: call.op != "HeadObject"),
    "archives' key disabled": Outage(KMS, role="archives", when=lambda call: call.op != "HeadObject"),
    "archives full": Outage(Status(507, "InsufficientStorage"), role="archives", when=lambda c: c.op != "HeadObject"),
    "quota": Outage(Status(403, "QuotaExceeded"), role="archives", when=lambda c: c.op != "HeadObject"),
    "not implemented": Outage(Status(501, "NotImplemented"), "CreateMultipartUpload"),
}
ANSWERS = {
    "answers cut": Outage(ResetBefore(), "SendMessage", "out"),
    "answers 500": Outage(Status(500, "InternalError"), "SendMessage", "out"),
    "answers' key denied": Outage(Status(400, "KMS.AccessDeniedException"), "SendMessage", "out"),
    "answers' key disabled": Outage(Status(400, "KmsDisabled"), "SendMessage", "out"),
    "answers cut and S3 too": Outage(ResetBefore(), when=lambda c: is_s3_call(c) or c.op == "SendMessage"),
    "answers gone": Outage(Status(400, "QueueDoesNotExist"), "SendMessage", "out"),
}


def send_requests(scenario: Scenario, count: int, on_missing: str = "fail") -> None:
    small, large = scenario.put_objects(1000, 6 * MIB)
    for number in range(count):
        scenario.send_request([small] if number % 3 else [small, large], on_missing=on_missing)


def run_through_outage(scenario: Scenario, outage: Outage, seconds: float) -> None:
    """Send requests during *outage*, which lasts *seconds* after the worker has paused. Expect one answer for each."""
    worker = scenario.worker()
    scenario.wait_deleted(scenario.send_request([scenario.put("first.jpg", b"another photo")]))
    rule = outage.begin(scenario)
    send_requests(scenario, 30 if seconds == LONG_OUTAGE else 12, outage.on_missing)
    wait_until(lambda: rule.fired, "a call to fail")
    wait_until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    time.sleep(seconds)
    assert not scenario.dead_letters()
    scenario.clear_faults()
    scenario.wait_deleted(seconds=90)
    assert all(len(scenario.answers(job)) == 1 for job in scenario.jobs)
    assert "worker.resumed" in worker.log
    scenario.finish()
