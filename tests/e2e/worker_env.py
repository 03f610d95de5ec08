"""Queues, buckets and workers of one test, on servers that others wrote."""

import io
import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from faults.worker_process import wait_until
from processes.archiver_process import NO_AWS, Worker

from .servers import LOCALSTACK

MIB = 1024 * 1024


def make_client(service: str, environ: Mapping[str, str]) -> Any:
    """A plain client, to arrange and to look."""
    endpoint = environ.get(f"AWS_ENDPOINT_URL_{service.upper()}", environ["AWS_ENDPOINT_URL"])
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        verify=environ["AWS_CA_BUNDLE"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


class WorkerEnv:
    """
    `with WorkerEnv(environ) as env`: buckets and queues of its own; *environ* is a worker's environment, of which the
    names are replaced. On leaving, its workers are gone.
    """

    def __init__(self, environ: Mapping[str, str], *, visibility: int = 30) -> None:
        self.s3, self.sqs = make_client("s3", environ), make_client("sqs", environ)
        name = f"t{uuid.uuid4().hex[:10]}"
        self.sources, self.archives = f"{name}-sources", f"{name}-archives"
        for bucket in (self.sources, self.archives):
            self.s3.create_bucket(Bucket=bucket)
        self.dead, self.answers = (self._queue(f"{name}-{kind}") for kind in ("dead", "answers"))
        redrive = {"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": 5}
        attributes = {"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": str(visibility)}
        self.source = self._queue(f"{name}-source", attributes)
        self.environ = {
            **environ,
            **NO_AWS,
            "SQS_SOURCE_QUEUE": f"{name}-source",
            "SQS_DESTINATION_QUEUE": f"{name}-answers",
            "PROGRESS_QUEUE": "",
            "S3_SOURCE_BUCKET": self.sources,
            "S3_DESTINATION_BUCKET": self.archives,
            "SQS_WAIT_SECONDS": "1",
            "DEV_MODE": "0",
        }
        self.workers: list[Worker] = []

    def _queue(self, name: str, attributes: Mapping[str, str] | None = None) -> str:
        return str(self.sqs.create_queue(QueueName=name, Attributes=dict(attributes or {}))["QueueUrl"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close()
            if error is not None:
                error.add_note(f"--- {worker.name}\n{worker.log[-6000:]}")

    def arn(self, url: str) -> str:
        told = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(told["Attributes"]["QueueArn"])

    def worker(self, **settings: str) -> Worker:
        """Start a worker; return when it says that it is ready."""
        worker = Worker(f"worker-{len(self.workers)}", {**self.environ, **settings})
        self.workers.append(worker)
        wait_until(lambda: "worker.ready" in worker.log or not worker.running, "a worker to be ready")
        assert worker.running, worker.log
        return worker

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.sources, Key=key, Body=body)

    def send_request(self, *sources: str, **request: Any) -> None:
        body = {"files": [{"source": source} for source in sources], **request}
        self.sqs.send_message(QueueUrl=self.source, MessageBody=json.dumps(body))

    def answer(self, seconds: float = 90) -> dict[str, Any]:
        """The next answer, waited for, so long."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            told = self.sqs.receive_message(QueueUrl=self.answers, WaitTimeSeconds=1, MaxNumberOfMessages=1)
            for message in told.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.answers, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
            return bool(found)

        wait_until(came, "an answer", seconds=seconds)
        return found[0]

    def queue_depth(self, queue: str) -> int:
        """Messages in *queue*, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def archive(self, key: str) -> dict[str, bytes]:
        """The members of the archive at *key*."""
        body = self.s3.get_object(Bucket=self.archives, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            return {info.filename: archive.read(info) for info in archive.infolist()}

    def uploads(self) -> list[Any]:
        return list(self.s3.list_multipart_uploads(Bucket=self.archives).get("Uploads", []))

    def aws(self, *arguments: str) -> dict[str, Any]:
        """The AWS CLI, as a person types it; what it prints."""
        endpoint = self.environ["AWS_ENDPOINT_URL"]
        command = [str(LOCALSTACK / "bin/aws"), "--endpoint-url", endpoint, *arguments, "--output", "json"]
        ended = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads(ended.stdout or "{}"))

    def archiver(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """One of our own commands."""
        return subprocess.run(
            [sys.executable, "-m", "archiver", *arguments],
            env={**self.environ, **settings},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
