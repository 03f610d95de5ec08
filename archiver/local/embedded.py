"""
An S3 and an SQS in this process, on 127.0.0.1 only, with the queues and buckets of `.envrc.dist`.

They are moto's: in memory, without a check of credentials, gone when the process ends. No request goes to real AWS.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from archiver.local.bodies import BodyMiddleware
from archiver.local.samples import read_sample

ACCOUNT = "000000000000"  # LocalStack's account: queue URLs are the same with either
INPUT_QUEUE = "input-queue"
OUTPUT_QUEUE = "output-queue"
PROGRESS_QUEUE = "progress-queue"
SOURCE_BUCKET = "source-images"
ARCHIVE_BUCKET = "zip-storage"
SAMPLE_KEY = "source.jpg"
MAX_RECEIVES = 5
DLQ_RETENTION_SECONDS = str(14 * 24 * 3600)  # seconds that dead letters are kept

_READ_ACTIONS = ["s3:GetObject", "s3:HeadObject"]  # moto has an action of its own for HEAD
_PUBLIC_READ_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": _READ_ACTIONS, "Resource": f"arn:aws:s3:::{ARCHIVE_BUCKET}/*"}
    ],
}

# No profile, instance role, other account or proxy of the user.
_ISOLATED_ENVIRONMENT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "MOTO_ACCOUNT_ID": ACCOUNT,
    "NO_PROXY": "localhost,127.0.0.1",
    "no_proxy": "localhost,127.0.0.1",
}


class LocalError(Exception):
    """The embedded S3 and SQS can't start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedAws:
    """The running S3 and SQS: *endpoint* URL, and the *environment* (settings and `AWS_*`) of a worker that uses it."""

    endpoint: str
    environment: Mapping[str, str]

    def client(self, service: str) -> Any:
        """Return a blocking client of *service* (`s3` or `sqs`)."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(max_pool_connections=4, retries={"total_max_attempts": 1}),
        )

    def queue_url(self, name: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{name}"


def local_environment(port: int) -> dict[str, str]:
    """Return the variables of `.envrc.dist`, for an endpoint on *port* of this machine."""
    endpoint = f"http://localhost:{port}"
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SQS_SOURCE_QUEUE": INPUT_QUEUE,
        "SQS_DESTINATION_QUEUE": OUTPUT_QUEUE,
        "SQS_FAILURE_QUEUE": OUTPUT_QUEUE,
        "PROGRESS_QUEUE": PROGRESS_QUEUE,
        "S3_SOURCE_BUCKET": SOURCE_BUCKET,
        "S3_DESTINATION_BUCKET": ARCHIVE_BUCKET,
        "ARCHIVE_BASE_URL": f"{endpoint}/{ARCHIVE_BUCKET}",
        "DEV_MODE": "1",
    }


@contextmanager
def embedded_aws(port: int = 0) -> Iterator[EmbeddedAws]:
    """
    Run S3 and SQS on 127.0.0.1:*port* (0: any free one), with the resources of `localstack/init-aws.sh`.

    In the block, the process environment has only the embedded server's `AWS_*` variables. Raises LocalError if moto
    is missing or the port is in use.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(closing(_listen(port)))
        environment = local_environment(listener.getsockname()[1])
        stack.enter_context(_process_environment(environment))
        stack.enter_context(_run_server(listener))
        aws = EmbeddedAws(environment["AWS_ENDPOINT_URL"], environment)
        _create_resources(aws)
        yield aws


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError as error:
        raise LocalError(
            f"port {port} on 127.0.0.1 is not available: {os.strerror(error.errno or 0)}; choose another with --port"
        ) from None


@contextmanager
def _process_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """
    Replace the user's `AWS_*` variables: a profile, a session token or a service's endpoint would take precedence and
    make the worker use a real account.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_")})
    os.environ.update(_ISOLATED_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _run_server(listener: socket.socket) -> Iterator[None]:
    try:
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - an extra, and two seconds of imports
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server  # noqa: PLC0415
    except ImportError:
        raise LocalError("moto is not installed; run: pip install 'archiver[local]'") from None

    class QuietHandler(MotoRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Do nothing: only the worker's log lines are shown."""

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # moto's ThreadedMotoServer hangs if its port is in use: the socket is bound beforehand.
    server = make_server(
        "127.0.0.1",
        0,
        BodyMiddleware(DomainDispatcherApplication(create_backend_app), _find_object),
        threaded=True,
        request_handler=QuietHandler,
        fd=listener.fileno(),
    )
    thread = threading.Thread(
        target=server.serve_forever, name="embedded-aws", kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _find_object(bucket: str, key: str) -> Any:
    from moto.s3.models import s3_backends  # noqa: PLC0415 - as above

    buckets = s3_backends[ACCOUNT]["aws"].buckets
    found = buckets[bucket].keys.get(key) if bucket in buckets else None
    return found if hasattr(found, "_value_buffer") else None  # a delete marker has no body


def _create_resources(aws: EmbeddedAws) -> None:
    """Create the queues, dead-letter queues, buckets and the sample object of the README."""
    with closing(aws.client("sqs")) as sqs, closing(aws.client("s3")) as s3:
        for name in (INPUT_QUEUE, OUTPUT_QUEUE):
            dlq_url = sqs.create_queue(
                QueueName=f"{name}-dlq", Attributes={"MessageRetentionPeriod": DLQ_RETENTION_SECONDS}
            )["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=dlq_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES}
            sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)})
        sqs.create_queue(QueueName=PROGRESS_QUEUE)
        for bucket in (SOURCE_BUCKET, ARCHIVE_BUCKET):
            s3.create_bucket(Bucket=bucket)
        rule = {"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""}}
        rule |= {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
        s3.put_bucket_lifecycle_configuration(Bucket=ARCHIVE_BUCKET, LifecycleConfiguration={"Rules": [rule]})
        # Links work without a signature, as through a content delivery network.
        s3.put_bucket_policy(Bucket=ARCHIVE_BUCKET, Policy=json.dumps(_PUBLIC_READ_POLICY))
        s3.put_object(Bucket=SOURCE_BUCKET, Key=SAMPLE_KEY, Body=read_sample(SAMPLE_KEY), ContentType="image/jpeg")
