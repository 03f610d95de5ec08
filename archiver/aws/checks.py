"""The check-up: each thing that a worker needs is asked for once, side by side, and bounded in time."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from archiver.aws.clients import Clients, tuned
from archiver.aws.faults import DENIED, NO_BUCKET, NO_QUEUE, NotThere, codes, table, translated
from archiver.aws.s3 import check_bucket
from archiver.aws.sqs import resolve_queue
from archiver.core import checkup
from archiver.core.checkup import Finding
from archiver.core.policy import bucket_arn, queue_arn, to_grant
from archiver.errors import ArchiverError, ConfigurationFault

if TYPE_CHECKING:
    from archiver.settings import Settings

LONGEST = 20.0  # seconds for one check
PROBE = ".archiver-check"  # key of the upload that is begun and aborted

_DENIED = table(ConfigurationFault, DENIED)
_QUEUE = table(NotThere, NO_QUEUE) | _DENIED
_BUCKET = table(NotThere, NO_BUCKET | {"404"}) | _DENIED


@dataclass(frozen=True, slots=True)
class Self:
    """Who we are to AWS."""

    arn: str
    account: str
    skew: float


async def who_am_i(clients: Clients) -> Self:
    """Ask STS; *skew* is how far our clock is ahead of its. Raises ConfigurationFault, Temporary."""
    async with clients.session.client("sts", config=tuned(10, attempts=2, pool=1)) as sts:
        with translated("GetCallerIdentity", _DENIED):
            told = await sts.get_caller_identity()
    date = told["ResponseMetadata"]["HTTPHeaders"].get("date")
    skew = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    return Self(told["Arn"], told["Account"], skew)


class Checks:
    """The checks of one worker's *settings*, for *me*."""

    def __init__(self, settings: "Settings", clients: Clients, me: Self | None) -> None:
        self._settings = settings
        self._clients = clients
        self._account = me.account if me else None
        self._region = clients.sqs_control.meta.region_name
        self._urls: dict[str, str] = {}

    async def all(self) -> list[Finding]:
        """Everything, side by side; in the order of a message's way."""
        settings = self._settings
        queues = [("answer queue", settings.destination_queue), ("failure queue", settings.failure_queue)]
        queues.append(("progress queue", settings.progress_queue))
        looks = [self._bounded("source queue", self._source)]
        looks += [self._bounded(what, lambda w=what, q=queue: self._outlet(w, q)) for what, queue in queues if queue]  # type: ignore[misc]
        if settings.source_bucket:
            looks.append(self._bounded("source bucket", self._source_bucket))
        looks += [
            self._bounded("destination bucket", self._destination),
            self._bounded("archives", self._write),
            self._bounded("lifecycle", self._lifecycle),
        ]
        found = [finding for findings in await asyncio.gather(*looks) for finding in findings]
        if settings.destination_queue is None:
            found.append(Finding("answer queue", "warning", "none: nobody is told", "set SQS_DESTINATION_QUEUE"))
        if settings.failure_queue is None:
            remedy = "set SQS_FAILURE_QUEUE; it may be the answer queue"
            found.append(Finding("failure queue", "warning", "none: nobody is told of failures", remedy))
        return [*found, checkup.links(settings.base_url)]

    async def _bounded(self, what: str, check: Callable[[], Awaitable[Sequence[Finding]]]) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(LONGEST):
                return await check()
        except NotThere as error:
            return [Finding(what, "bad", f"does not exist: {error}", "check its name, and AWS_REGION")]
        except TimeoutError:
            return [Finding(what, "unknown", f"no answer within {LONGEST:.0f} s", "check the network, and try again")]
        except ConfigurationFault as error:
            return [Finding(what, "bad", str(error), self._grant(what))]
        except ArchiverError as error:
            return [Finding(what, "unknown", str(error), "try again")]

    def _grant(self, what: str) -> str:
        """What to allow where *what* was refused."""
        settings = self._settings
        wanted = {
            "source queue": ("sqs:GetQueueAttributes and sqs:GetQueueUrl", self._arn(settings.source_queue)),
            "answer queue": ("sqs:GetQueueAttributes and sqs:GetQueueUrl", self._arn(settings.destination_queue or "")),
            "failure queue": ("sqs:GetQueueAttributes and sqs:GetQueueUrl", self._arn(settings.failure_queue or "")),
            "progress queue": ("sqs:GetQueueAttributes and sqs:GetQueueUrl", self._arn(settings.progress_queue or "")),
            "source bucket": ("s3:ListBucket", bucket_arn(settings.source_bucket or "")),
            "destination bucket": ("s3:ListBucket", bucket_arn(settings.destination_bucket)),
            "archives": ("s3:PutObject and s3:AbortMultipartUpload", bucket_arn(settings.destination_bucket, "*")),
            "lifecycle": ("s3:GetLifecycleConfiguration", bucket_arn(settings.destination_bucket)),
        }
        return to_grant(*wanted[what])

    def _arn(self, queue: str) -> str:
        """The ARN of *queue*, as far as its URL or our account tell it."""
        return queue_arn(self._urls.get(queue, queue), self._region, self._account) or queue

    # Queues

    async def _attributes(self, queue: str) -> dict[str, str]:
        self._urls[queue] = url = await resolve_queue(self._clients.sqs_control, queue)
        with translated(f"GetQueueAttributes {queue}", _QUEUE):
            told = await self._clients.sqs_control.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in told.get("Attributes", {}).items()}

    async def _source(self) -> list[Finding]:
        attributes = await self._attributes(self._settings.source_queue)
        findings = checkup.source_queue(attributes)
        target = next((f for f in findings if f.what == "redrive policy" and f.state != "bad"), None)
        if target is None:
            return findings
        arn = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        try:
            findings.append(checkup.dead_letter_queue(await self._attributes(arn)))
        except NotThere as error:
            remedy = "create it, or name another one in the source queue's RedrivePolicy"
            findings.append(Finding("dead-letter queue", "bad", f"does not exist: {error}", remedy))
        except ConfigurationFault as error:
            remedy = to_grant("sqs:GetQueueAttributes, sqs:GetQueueUrl and sqs:SendMessage", arn)
            findings.append(Finding("dead-letter queue", "bad", str(error), remedy))
        return findings

    async def _outlet(self, what: str, queue: str) -> list[Finding]:
        told = await self._attributes(queue)
        if self._arn(self._settings.source_queue) == told.get("QueueArn"):
            remedy = "answers would come back as requests: name another queue"
            return [Finding(what, "bad", f"{queue} is the source queue", remedy)]
        return [Finding(what, "ok", f"{queue} is there")]

    # Buckets

    async def _source_bucket(self) -> list[Finding]:
        bucket = str(self._settings.source_bucket)
        await check_bucket(self._clients.s3_control, bucket)
        with translated(f"ListObjectsV2 {bucket}", _BUCKET):
            told = await self._clients.s3_control.list_objects_v2(Bucket=bucket, MaxKeys=1)
        if not told.get("Contents"):
            return [Finding("source bucket", "ok", f"{bucket} is there, and empty")]
        key = told["Contents"][0]["Key"]
        try:
            with translated(f"HeadObject {key}", table(ConfigurationFault, DENIED)):
                await self._clients.s3_control.head_object(Bucket=bucket, Key=key)
        except ConfigurationFault as error:
            remedy = to_grant("s3:GetObject", bucket_arn(bucket, "*"))
            return [Finding("source bucket", "bad", f"its objects can't be read: {error}", remedy)]
        return [Finding("source bucket", "ok", f"{bucket} is there and can be read")]

    async def _destination(self) -> list[Finding]:
        bucket = self._settings.destination_bucket
        await check_bucket(self._clients.s3_control, bucket)
        return [Finding("destination bucket", "ok", f"{bucket} is there")]

    async def _write(self) -> list[Finding]:
        """Begin an upload and abort it: who may do that may write, and nothing is left behind."""
        bucket, s3 = self._settings.destination_bucket, self._clients.s3_control
        with translated(f"CreateMultipartUpload {bucket}", _BUCKET):
            begun = await s3.create_multipart_upload(Bucket=bucket, Key=PROBE)
        with translated(f"AbortMultipartUpload {bucket}", _BUCKET):
            await s3.abort_multipart_upload(Bucket=bucket, Key=PROBE, UploadId=begun["UploadId"])
        return [Finding("archives", "ok", f"can be written to {bucket}")]

    async def _lifecycle(self) -> list[Finding]:
        bucket = self._settings.destination_bucket
        rules: list[Any] = []
        try:
            told = await self._clients.s3_control.get_bucket_lifecycle_configuration(Bucket=bucket)
            rules = list(told.get("Rules", []))
        except ClientError as error:
            if codes(error) & DENIED:
                remedy = "optional, for this check alone: " + self._grant("lifecycle")
                return [Finding("lifecycle", "unknown", "may not be asked", remedy)]
            if not codes(error) & {"NoSuchLifecycleConfiguration"}:
                return [Finding("lifecycle", "unknown", f"could not be asked ({', '.join(codes(error))})")]
        return [checkup.lifecycle(rules, bucket)]
