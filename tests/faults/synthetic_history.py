"""Short synthetic histories for the tests of the checker."""

import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

from .checker import check
from .history import Exchange, History, ObservedArchive
from .observations import CORRELATION, FinalState, Job, Observations, Resources, Source
from .operations import PUT_RECEIPT, Call

CONTENT = b"a photo, so to speak"
KEY = "ab12/download.zip"
RECEIPT = "receipt-of-m1"
SOURCE = Source("photos", "p/one.jpg")
JOB = Job("m1", "t1", '{"files": [...]}', KEY, {"one.jpg": SOURCE})
WORLD = Resources(
    source_queue="in",
    answer_queue="out",
    failure_queue="failures",
    dead_letters="in-dlq",
    archives="archives",
    allowed=frozenset({"photos", "archives"}),
    visibility=30,
    versions={
        ("photos", "p/one.jpg", '"v1"'): CONTENT,
        ("photos", "p/one.jpg", '"v2"'): b"another photo, planned late",
    },
    secrets=("hunter2-secret",),
    private=("born in 1970",),
)


def make_zip(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, content in members.items():
            archive.writestr(path.replace("_", "."), content)
    return made.getvalue()


ARCHIVE = make_zip(one_jpg=CONTENT)


@dataclass
class HistoryBuilder:
    """Builds a history with one call per second."""

    history: History = field(default_factory=History)
    now: float = 100.0

    def call(
        self, op: str, *, client: str = "worker", done: bool = True, call: dict[str, Any], **facts: Any
    ) -> Exchange:
        self.now += 1
        exchange = self.history.begin(client, Call(op, **call))
        exchange.began, exchange.ended, exchange.facts = self.now, self.now + 0.2, facts
        exchange.committed, exchange.status = (self.now + 0.1, 200) if done else (None, 500)
        return exchange

    def received(self, receipt: str = RECEIPT, **how: Any) -> Exchange:
        messages = [{"id": "m1", "receipt": receipt, "count": 1}]
        return self.call("ReceiveMessage", call={"queue": "in"}, messages=messages, visibility=30, **how)

    def renewed(self, seconds: int = 30, **how: Any) -> Exchange:
        how |= {"message": "m1", "receipt": RECEIPT, "visibility": seconds}
        return self.call("ChangeMessageVisibility", call={"queue": "in"}, **how)

    def planned(self, etag: str = '"v1"', op: str = "HeadObject", **how: Any) -> Exchange:
        return self.call(op, call={"bucket": "photos", "key": "p/one.jpg"}, etag=etag, **how)

    def sealed(self, client: str) -> None:
        """Its receipt, half a second before the next call."""
        receipt = self.history.begin(client, Call(PUT_RECEIPT, bucket="archives", key="ab12/receipt-77.json.gz"))
        receipt.began, receipt.committed, receipt.status = self.now + 0.5, self.now + 0.6, 200

    def written(self, body: bytes = ARCHIVE, *, sealed: bool = True, **how: Any) -> Exchange:
        if sealed:
            self.sealed(how.get("client", "worker"))
        write = self.call("CompleteMultipartUpload", call={"bucket": "archives", "key": KEY, "upload": "u"}, **how)
        if write.committed is not None:
            self.history.observed_archives.append(ObservedArchive(write.began + 0.15, KEY, body))
        return write

    def answered(self, body: bytes = ARCHIVE, changes: dict[str, Any] | None = None, **how: Any) -> Exchange:
        archive = {"bucket": "archives", "key": KEY, "size": len(body), "files": 1, "crc32": f"{zlib.crc32(body):08x}"}
        body_fields = {"status": "succeeded", "archive": archive | (changes or {}), "notification_id": "n1"}
        return self.sent("out", json.dumps(body_fields), **how)

    def sent(self, queue: str, body: str, *, token: str = "t1", error: str | None = None, **how: Any) -> Exchange:
        attributes = {CORRELATION: token} | ({"ErrorMessage": error} if error else {})
        return self.call("SendMessage", call={"queue": queue}, body=body, attributes=attributes, **how)

    def rejected(self, *, failure: bool = True, **how: Any) -> None:
        self.sent("in-dlq", JOB.body, **how)
        if failure:
            self.sent("failures", json.dumps({"status": "failed", "error": {"code": "source_missing"}}), **how)

    def deleted(self, receipt: str = RECEIPT, **how: Any) -> Exchange:
        return self.call("DeleteMessage", call={"queue": "in"}, message="m1", receipt=receipt, **how)

    def observations(self, job: Job = JOB, resources: Resources = WORLD, **final_state: Any) -> Observations:
        return Observations(resources, (job,), self.history, FinalState(**final_state))


def valid_history() -> HistoryBuilder:
    builder = HistoryBuilder()
    builder.received()
    builder.planned()
    builder.renewed()
    builder.written()
    builder.answered()
    builder.deleted()
    return builder


def violations(observations: Observations) -> set[str]:
    return {finding.partition(":")[0] for finding in check(observations)}
