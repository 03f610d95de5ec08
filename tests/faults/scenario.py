"""One scenario: buckets, queues, objects, messages, workers behind the proxy, and the check at its end."""

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from certificates import shared_trust

from .checker import check
from .emulator import REGION, Clients, Emulator, clients
from .history import SCENARIO_CLIENT, Exchange, History
from .observations import CORRELATION, FinalState, Job, Observations, Resources, Source, answer_body, executed
from .operations import is_receipt, is_record
from .proxy import FaultProxy
from .results import is_result, result_key
from .rules import Action, Rule
from .scenario_config import ACCESS_SECRET, KEY_SECRET, MIB, PRIVATE, SESSION_TOKEN, ScenarioConfig, content
from .worker_process import WAIT_TIMEOUT, WorkerProcess, wait_until

__all__ = ["MIB", "Scenario", "ScenarioConfig"]

MAX_LINE_CHARS = 800  # characters of one call in a dump


class Scenario:
    """One scenario. Its buckets and queues have unique names, so that scenarios can share an emulator."""

    def __init__(self, emulator: Emulator, config: ScenarioConfig) -> None:
        name = f"f{uuid.uuid4().hex[:12]}"
        self.config = config
        self._emulator = emulator
        self.sources, self.archives = f"{name}-sources", f"{name}-archives"
        serving = shared_trust().server_context if config.tls else None
        self.proxy = FaultProxy(emulator.address, observed_bucket=self.archives, serving=serving)
        self.direct = clients(emulator.plain)
        self.workers: list[WorkerProcess] = []
        self.jobs: list[Job] = []
        self._versions: dict[tuple[str, str, str], bytes] = {}
        self._queues = {role: f"{name}-{role}" for role in ("in", "in-dlq", "out", "failures")}
        self._urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        self.own: Clients = clients(self.proxy.listen(SCENARIO_CLIENT))
        for bucket in (self.sources, self.archives):
            self.direct.s3.create_bucket(Bucket=bucket)
        self._make_queues()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close()
        for pair in (self.own, self.direct):
            pair.s3.close()
            pair.sqs.close()
        self.proxy.__exit__(kind, error, trace)
        self._emulator.forget(self.sources, self.archives)

    def _make_queues(self) -> None:
        for role in ("in-dlq", "out", "failures"):
            self._urls[role] = self.own.sqs.create_queue(QueueName=self._queues[role])["QueueUrl"]
        attributes = {"VisibilityTimeout": str(self.config.visibility)}
        if self.config.max_receives is not None:
            policy = {"deadLetterTargetArn": self.arn("in-dlq"), "maxReceiveCount": self.config.max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        created = self.own.sqs.create_queue(QueueName=self._queues["in"], Attributes=attributes)
        self._urls["in"] = created["QueueUrl"]

    @property
    def history(self) -> History:
        return self.proxy.history

    def arn(self, role: str) -> str:
        """Return the ARN of the queue with this *role*: in, in-dlq, out, failures."""
        return f"arn:aws:sqs:{REGION}:123456789012:{self._queues[role]}"

    def url(self, role: str) -> str:
        """Return the queue's URL for the scenario's own clients."""
        return self._urls[role]

    def role_of(self, queue: str) -> str:
        """Return the role of the queue named *queue*."""
        return next(role for role, name in self._queues.items() if name == queue)

    def inject(self, action: Action, op: str | None = None, **where: Any) -> Rule:
        """Apply *action* to matching calls from now on (see `Rule`)."""
        return self.proxy.add(Rule(action, op=op, **where))

    def direct_url(self, role: str) -> str:
        """Return the queue's URL for clients that bypass the proxy."""
        url: str = self.direct.sqs.get_queue_url(QueueName=self._queues[role])["QueueUrl"]
        return url

    def clear_faults(self) -> None:
        """Remove all rules."""
        self.proxy.rules.clear()

    def put(self, key: str, body: bytes, bucket: str | None = None, **how: Any) -> Source:
        """Write an object for workers to read; replace an existing one."""
        bucket = bucket or self.sources
        created = self.direct.s3.put_object(Bucket=bucket, Key=key, Body=body, **how)
        self._versions[bucket, key, created["ETag"]] = body
        return Source(bucket, key)

    def put_objects(self, *sizes: int) -> list[Source]:
        """Write objects of these sizes in bytes, each with different content."""
        return [self.put(f"shoot/{n}.jpg", content(size, seed=n)) for n, size in enumerate(sizes, 1)]

    def send_request(self, sources: Sequence[Source], **request: Any) -> Job:
        """Send a request for *sources* in one folder; all of them must be in the archive."""
        members = {f"album/{PurePosixPath(source.key).name}": source for source in sources}
        return self.send([{"source": str(s.key), "destination": "album"} for s in sources], members, **request)

    def send(self, files: Any, members: Mapping[str, Source | bytes] | None, **request: Any) -> Job:
        """Send a request. *members*: the expected members of the archive; None if the request must be rejected."""
        body = {"files": files, "metadata": {"note": PRIVATE}, **request}
        return self.send_text(json.dumps(body), members, job_id=request.get("job_id"))

    def send_command(self, command: Mapping[str, Any], outputs: Mapping[str, bytes], *, job_id: str) -> Job:
        """Send a request that runs *command*, which makes *outputs*, by URI."""
        body = {"command": command, "metadata": {"note": PRIVATE}, "job_id": job_id}
        made = replace(self.send_text(json.dumps(body), outputs, job_id=job_id), command=True)
        self.jobs[-1] = made = replace(made, key=result_key(made.key.partition("/")[0]))
        return made

    def send_text(self, body: str, members: Mapping[str, Source | bytes] | None, *, job_id: str | None = None) -> Job:
        """Send any message body. *job_id*: the one in *body*, if any."""
        token = uuid.uuid4().hex
        attributes = {CORRELATION: {"DataType": "String", "StringValue": token}}
        sent = self.own.sqs.send_message(QueueUrl=self.url("in"), MessageBody=body, MessageAttributes=attributes)
        message = sent["MessageId"]
        job = Job(message, token, body, self._key(job_id, message), members)
        self.jobs.append(job)
        return job

    def receive(self, visibility: int = 1) -> list[dict[str, Any]]:
        """Receive messages as another consumer of the source queue."""
        how = {"MaxNumberOfMessages": 10, "VisibilityTimeout": visibility}
        found: list[dict[str, Any]] = self.own.sqs.receive_message(QueueUrl=self.url("in"), **how).get("Messages", [])
        return found

    def make_visible(self, job: Job) -> None:
        """Make *job*'s message visible, bypassing the proxy, so that it is redelivered."""
        receipts = (
            message["receipt"]
            for call in self.history.select("ReceiveMessage")
            for message in call.facts.get("messages", ())
            if message["id"] == job.message
        )
        self.direct.sqs.change_message_visibility(
            QueueUrl=self.direct_url("in"), ReceiptHandle=list(receipts)[-1], VisibilityTimeout=0
        )

    def changed(self, job: Job) -> Job:
        """Mark *job*: its sources change while it runs."""
        self.jobs[self.jobs.index(job)] = marked = replace(job, changed=True)
        return marked

    def _key(self, job_id: str | None, message: str) -> str:
        identity = f"job\n{job_id}" if job_id is not None else f"msg\n{message}"
        digest = hmac.new(KEY_SECRET.encode(), f"v1\n{self.arn('in')}\n{identity}".encode(), hashlib.sha256)
        return f"{digest.hexdigest()}/download.zip"

    def worker(self, name: str = "worker", **settings: str) -> WorkerProcess:
        """Start a worker; do not wait until it is ready."""
        environment = self.config.environment(self._queues, self.sources, self.archives)
        endpoint = {"AWS_ENDPOINT_URL": self.proxy.listen(name)}
        worker = WorkerProcess(name, environment | endpoint | settings)
        self.workers.append(worker)
        return worker

    def ended(self, job: Job) -> bool:
        """Whether *job*'s message was deleted."""
        return bool(executed(self.view.deletes(job)))

    def wait_deleted(self, *jobs: Job, seconds: float = WAIT_TIMEOUT) -> None:
        """Wait until the messages of *jobs*, or of all, are deleted."""
        expected = jobs or tuple(self.jobs)
        wait_until(lambda: all(self.ended(job) for job in expected), "the deletion of the messages", seconds)

    def wait_call(self, op: str, count: int = 1, seconds: float = WAIT_TIMEOUT) -> Exchange:
        """Wait until a worker has begun the *count*-th call of *op*, and return it."""
        wait_until(lambda: len(self.history.select(op)) >= count, f"call {count} of {op}", seconds)
        return self.history.select(op)[count - 1]

    def answers(self, job: Job) -> list[dict[str, Any]]:
        """Return the success answers for *job* that were accepted."""
        return [answer_body(answer) for answer in executed(self.view.successes(job))]

    def failure(self, job: Job) -> dict[str, Any]:
        """Return the error of the only failure answer for *job*. Its code must equal that of the dead letter."""
        (answer,) = executed(self.view.failures(job))
        (letter,) = executed(self.view.rejections(job))
        error: dict[str, Any] = answer_body(answer)["error"]
        assert letter.facts["attributes"]["ErrorCode"] == error["code"]
        assert letter.facts["body"] == job.body
        return error

    def archive(self, job: Job) -> bytes:
        """Return the bytes of *job*'s archive in the bucket."""
        body: bytes = self.direct.s3.get_object(Bucket=self.archives, Key=job.key)["Body"].read()
        return body

    @property
    def view(self) -> Observations:
        """The observations so far, without the final state."""
        names = self._queues
        resources = Resources(
            source_queue=names["in"],
            answer_queue=names["out"] if self.config.answers else None,
            failure_queue=names["failures"] if self.config.failures else None,
            dead_letters=names["in-dlq"],
            archives=self.archives,
            allowed=frozenset({self.sources, self.archives}),
            visibility=self.config.visibility,
            versions=self._versions,
            secrets=(ACCESS_SECRET, SESSION_TOKEN, KEY_SECRET),
            private=(PRIVATE,),
        )
        return Observations(resources, tuple(self.jobs), self.history)

    def finish(self) -> None:
        """Stop the workers (SIGTERM, exit code 0), and assert that every promise was kept."""
        for worker in self.workers:
            if worker.running and not worker.terminating:
                worker.terminate()
            if worker.terminating:
                code = worker.exit_code()
                assert code == 0, f"{worker.name} ended with {code}"
        findings = check(replace(self.view, final_state=self._final_state()))
        assert not findings, "\n".join(findings)

    def _final_state(self) -> FinalState:
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        counts = self.direct.sqs.get_queue_attributes(QueueUrl=self.direct_url("in"), AttributeNames=names)[
            "Attributes"
        ]
        uploads = self.direct.s3.list_multipart_uploads(Bucket=self.archives).get("Uploads", [])
        listed = self.direct.s3.list_objects_v2(Bucket=self.archives).get("Contents", [])
        keys = [one["Key"] for one in listed]
        return FinalState(
            waiting=sum(int(counts[name]) for name in names),
            records=tuple(filter(is_record, keys)),
            receipts=tuple(filter(is_receipt, keys)),
            due=tuple(key for key in map(self._receipt_of, keys) if key is not None),
            dead=tuple(message["MessageId"] for message in self.dead_letters()),
            uploads=tuple(upload["Key"] for upload in uploads),
            logs="\n".join(worker.log for worker in self.workers),
        )

    def _receipt_of(self, key: str) -> str | None:
        """Return the key of the receipt that the archive at *key* names; None if it is no archive of a worker."""
        if is_result(key):
            return None
        token = self.direct.s3.head_object(Bucket=self.archives, Key=key)["Metadata"].get("archiver-token")
        return token and f"{key.rpartition('/')[0]}/receipt-{token}.json.gz"

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return the messages in the dead-letter queue without removing them."""
        how = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 0, "MessageAttributeNames": ["All"]}
        found: list[dict[str, Any]] = self.direct.sqs.receive_message(QueueUrl=self.direct_url("in-dlq"), **how).get(
            "Messages", []
        )
        return found

    def dump(self) -> str:
        """Return the history and the logs, for the report of a failed test."""
        logs = (f"--- {worker.name}\n{worker.log}" for worker in self.workers)
        calls = (line[:MAX_LINE_CHARS] for line in self.history.lines())
        return "\n".join(("--- history", *calls, *logs))
