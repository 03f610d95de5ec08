"""Outages: what is away, and a worker that has requests to do meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .operations import Call
from .rules import Action, Hangup, Rule, Status
from .setting import MIB
from .stage import Stage
from .worker import until

SHORT = 6.0  # seconds from when the worker has noticed, or from when it could
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
READS = {
    "S3 cut": Outage(Hangup(), when=of_s3),
    "S3 503": Outage(Status(503, "SlowDown"), when=of_s3),
    "S3 500": Outage(Status(500, "InternalError"), when=of_s3),
    "HEAD of sources": Outage(Status(503, "ServiceUnavailable"), "HeadObject", "sources"),
    "GET": Outage(Status(500, "InternalError"), "GetObject", "sources"),
    "sources denied": Outage(Status(403, "AccessDenied"), role="sources"),
    "sources' key disabled": Outage(Status(400, "KMS.DisabledException"), "GetObject", "sources"),
    "sources' key denied": Outage(Status(403, "AccessDenied", "no kms:Decrypt"), "GetObject", "sources"),
}
WRITES = {
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
}
ANSWERS = {
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


def last(stage: Stage, outage: Outage, seconds: float) -> None:
    """Requests while *outage* lasts for *seconds*, from when a worker has one behind it; then all is mended."""
    worker = stage.worker()
    stage.wait_deleted(stage.ask([stage.put("first.jpg", b"another photo")]))
    rule = outage.begin(stage)
    ask_all(stage, 30 if seconds == LONG else 12)
    until(lambda: rule.fired, "the outage to be met")
    until(lambda: "worker.paused" in worker.log, "the worker to pause", 60)
    time.sleep(seconds)
    assert not stage.dead_letters()
    stage.mend()
    stage.wait_deleted(seconds=90)
    assert all(len(stage.answers(job)) == 1 for job in stage.jobs)
    assert "worker.resumed" in worker.log
    stage.finish()
