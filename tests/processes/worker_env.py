"""Queues, buckets and workers of one test, on the emulated AWS."""

import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from emulator import REGION, EmulatedAws
from faults.worker_process import wait_until

from .archiver_process import NO_AWS, Worker


class WorkerEnv:
    """
    `with WorkerEnv(aws) as env`: on leaving, its workers are gone. *fifo*: all queues are FIFO queues;
    *dead_letters*: the source queue has a redrive policy; *visibility* in seconds.
    """

    def __init__(
        self, aws: EmulatedAws, *, fifo: bool = False, dead_letters: bool = True, visibility: int = 30
    ) -> None:
        self.aws = aws
        self.fifo = fifo
        self.sources, self.archives = aws.bucket(), aws.bucket()
        self.dead, self.answers, self.failures = (aws.queue(fifo=fifo) for _ in range(3))
        redrive = {"deadLetterTargetArn": aws.arn(self.dead), "maxReceiveCount": 5}
        policy = json.dumps(redrive) if dead_letters else ""
        self.source = aws.queue({"RedrivePolicy": policy, "VisibilityTimeout": str(visibility)}, fifo=fifo)
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close()
            if error is not None:
                error.add_note(f"--- {worker.name}\n{worker.log}")

    def settings(self, **other: str) -> dict[str, str]:
        """A worker's environment; *other* settings are added, or given in place of these. Empty ones are unset."""
        return {
            **NO_AWS,
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_CA_BUNDLE": self.aws.bundle,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "SQS_SOURCE_QUEUE": self.source,
            "SQS_DESTINATION_QUEUE": self.answers,
            "SQS_FAILURE_QUEUE": self.failures,
            "S3_SOURCE_BUCKET": self.sources,
            "S3_ALLOWED_SOURCES": self.sources,
            "S3_DESTINATION_BUCKET": self.archives,
            "ARCHIVE_KEY_SECRET": "a secret",
            "ARCHIVE_BASE_URL": "https://archives.example/",
            "SQS_WAIT_SECONDS": "1",
            **other,
        }

    def worker(self, **settings: str) -> Worker:
        """Start a worker; return when it says that it is ready."""
        worker = Worker(f"worker-{len(self.workers)}", self.settings(**settings))
        self.workers.append(worker)
        wait_until(lambda: "worker.ready" in worker.log or not worker.running, "a worker to be ready")
        assert worker.running, worker.log
        return worker

    def put(self, key: str, body: bytes = b"a photo", **how: Any) -> None:
        self.aws.s3.put_object(Bucket=self.sources, Key=key, Body=body, **how)

    def send_request(self, *sources: str, attributes: Mapping[str, str] | None = None, **request: Any) -> str:
        """Send a request for *sources*, or whatever *request* says; the message's id."""
        body = {"files": [{"source": source} for source in sources], **request}
        return self.send(json.dumps(body), attributes)

    def send(self, body: str, attributes: Mapping[str, str] | None = None) -> str:
        """Send any text; the message's id."""
        wired = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
        ids = {"MessageGroupId": "customer-7", "MessageDeduplicationId": uuid.uuid4().hex} if self.fifo else {}
        sent = self.aws.sqs.send_message(QueueUrl=self.source, MessageBody=body, MessageAttributes=wired, **ids)
        return str(sent["MessageId"])

    def receive(self, queue: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for *count* messages of *queue*, and take them out; no more than these may have come with them."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.aws.all_messages(queue))
            return len(found) >= count

        wait_until(enough, f"{count} messages in {queue}")
        assert len(found) == count
        for message in found:
            self.aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def answer(self) -> dict[str, Any]:
        """The one answer that is there, or will be soon."""
        (message,) = self.receive(self.answers)
        body: dict[str, Any] = json.loads(message["Body"])
        return body

    def queue_depth(self, queue: str) -> int:
        """Messages in *queue*, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def wait_until_empty(self) -> None:
        """Wait until the source queue is empty."""
        wait_until(lambda: self.queue_depth(self.source) == 0, "the source queue to be empty")

    def archive(self, key: str) -> dict[str, bytes]:
        """The members of the archive at *key*, by their paths."""
        body = self.aws.s3.get_object(Bucket=self.archives, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def archive_keys(self) -> list[str]:
        told = self.aws.s3.list_objects_v2(Bucket=self.archives)
        return [entry["Key"] for entry in told.get("Contents", []) if entry["Key"].endswith(".zip")]
