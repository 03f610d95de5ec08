"""Queues, buckets and a function of one test, on the emulated AWS; the function runs in the test's own event loop."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from emulator import EmulatedAws

from archiver.awslambda.event_run import EventRun, Invocation
from archiver.awslambda.service import Service, open_service
from archiver.ports import MultipartUpload, StoredArchive, Target
from archiver.settings import load_function_settings

NOW = datetime(2026, 11, 25, tzinfo=UTC)
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:zips"


class FunctionEnv:
    """What the function works with. *fifo*: its queues are FIFO queues."""

    def __init__(self, aws: EmulatedAws, *, fifo: bool = False, visibility: int = 900) -> None:
        self.aws = aws
        self.sources, self.archives = aws.bucket(), aws.bucket()
        self.dead, self.answers, self.failures = (aws.queue(fifo=fifo) for _ in range(3))
        redrive = {"deadLetterTargetArn": aws.arn(self.dead), "maxReceiveCount": 5}
        attributes = {"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": str(visibility)}
        self.source = aws.queue(attributes, fifo=fifo)
        self.lines: list[str] = []

    def settings(self, **other: str) -> dict[str, str]:
        return {
            "SQS_DESTINATION_QUEUE": self.answers,
            "SQS_FAILURE_QUEUE": self.failures,
            "S3_SOURCE_BUCKET": self.sources,
            "S3_DESTINATION_BUCKET": self.archives,
            **other,
        }

    @asynccontextmanager
    async def service(self, **other: str) -> AsyncIterator[Service]:
        async with open_service(load_function_settings(self.settings(**other)), self.lines.append) as service:
            yield service

    def put(self, key: str, body: bytes = b"x", bucket: str = "") -> None:
        self.aws.s3.put_object(Bucket=bucket or self.sources, Key=key, Body=body)

    def batch(self, *bodies: str, **ids: str) -> dict[str, Any]:
        """The event of a batch: *bodies* are sent to the source queue, and received from it, as Lambda does it."""
        for number, body in enumerate(bodies):
            fifo = {name: value.format(number) for name, value in ids.items()}
            self.aws.sqs.send_message(QueueUrl=self.source, MessageBody=body, **fifo)
        return {"Records": [self._record(message) for message in self.aws.all_messages(self.source)]}

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": self.aws.arn(self.source),
        }

    def sent(self, url: str) -> list[dict[str, Any]]:
        """The answers that were sent to a queue."""
        return [json.loads(message["Body"]) for message in self.aws.all_messages(url)]

    def archive(self, key: str) -> dict[str, bytes]:
        body = self.aws.s3.get_object(Bucket=self.archives, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}

    def archives_made(self) -> list[str]:
        found = self.aws.s3.list_objects_v2(Bucket=self.archives).get("Contents", [])
        return [one["Key"] for one in found if one["Key"].endswith(".zip")]


class BrokenStore:
    """The store *inner*, but archives whose file name has *hangs* hang, or fail with *error*."""

    def __init__(self, inner: Any, error: Exception | None = None, hangs: str = "") -> None:
        self._inner = inner
        self._error = error
        self._hangs = hangs
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        if self._hangs in target.disposition:
            self.reached.set()
            if self._error is not None:
                raise self._error
            await asyncio.Event().wait()
        stored: StoredArchive = await self._inner.put(target, body, crc32)
        return stored

    async def create_upload(self, target: Target) -> MultipartUpload:
        upload: MultipartUpload = await self._inner.create_upload(target)
        if self._hangs in target.disposition:
            return _HangingUpload(upload, self.reached)
        return upload


class _HangingUpload:
    """An upload whose parts never end."""

    def __init__(self, inner: MultipartUpload, reached: asyncio.Event) -> None:
        self._inner = inner
        self._reached = reached

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def upload_part(self, *_: Any) -> None:
        self._reached.set()
        await asyncio.Event().wait()


def broken(service: Service, archive: str = "", error: Exception | None = None) -> tuple[Service, BrokenStore]:
    """*service*, with a store in which archives whose file name has *archive* hang, or fail with *error*."""
    store = BrokenStore(service.bucket.store, error, archive)
    return replace(service, bucket=service.bucket._replace(store=store), _works={}), store


def request(*keys: str, **fields: Any) -> str:
    return json.dumps({"files": [{"source": key} for key in keys], **fields})


def invocation(**fields: Any) -> Invocation:
    return replace(Invocation("invocation-1", FUNCTION, 60.0, monotonic()), **fields)


async def invoke(service: Service, event: object, **fields: Any) -> Any:
    return await EventRun(service, invocation(**fields)).run(event)


def failed_items(event: dict[str, Any], *numbers: int) -> dict[str, Any]:
    """What is returned if these records of *event* are to come again."""
    items = [{"itemIdentifier": event["Records"][number]["messageId"]} for number in numbers]
    return {"batchItemFailures": items}
