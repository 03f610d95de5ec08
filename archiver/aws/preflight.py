"""The check-up: each thing that a worker needs is asked for once, side by side, and bounded in time."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import DENIED, NO_BUCKET, NO_QUEUE, CredentialsFault, NotThere, table, translated
from archiver.aws.preflight_writes import look_at_writing
from archiver.aws.s3 import check_bucket
from archiver.aws.session import provided, tuned
from archiver.aws.sqs import resolve_queue
from archiver.core import preflight as checkup
from archiver.core.locations import PROBE, AllowList, Location
from archiver.core.policy import bucket_arn, queue_arn, to_grant
from archiver.core.preflight import Finding
from archiver.errors import ArchiverError, ConfigurationFault, Rejected, SourceUnavailable, Temporary
from archiver.ports import ObjectReader

if TYPE_CHECKING:
    from archiver.settings import Settings

LONGEST = 20.0  # seconds for one check

_DENIED = table(ConfigurationFault, DENIED)
_QUEUE = table(NotThere, NO_QUEUE) | _DENIED
_BUCKET = table(NotThere, NO_BUCKET | {"404"}) | _DENIED
_LIFECYCLE = _BUCKET | table(partial(Rejected, "invalid_request"), {"NoSuchLifecycleConfiguration"})


@dataclass(frozen=True, slots=True)
class Self:
    """Who we are to AWS."""

    arn: str
    account: str
    skew: float


async def who_am_i(clients: Clients) -> Self:
    """Ask STS; *skew* is how far our clock is ahead of its. Raises ConfigurationFault, Temporary."""
    async with AsyncExitStack() as stack:
        with provided():
            sts = await stack.enter_async_context(clients.session.client("sts", config=tuned(10, attempts=2, pool=1)))
        with translated("GetCallerIdentity", _DENIED):
            told = await sts.get_caller_identity()
    date = told["ResponseMetadata"]["HTTPHeaders"].get("date")
    skew = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    return Self(told["Arn"], told["Account"], skew)


class Checks:
    """The checks of one worker's *settings*, for *me*."""

    def __init__(self, settings: "Settings", clients: Clients, reader: ObjectReader, me: Self | None) -> None:
        self._settings = settings
        self._clients = clients
        self._reader = reader
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
        destination = settings.destination_bucket
        if settings.source_bucket:
            looks.append(self._bounded("source bucket", self._source_bucket))
            place = AllowList.parse(settings.allowed_sources, destination).probe(settings.source_bucket)
            if place is not None:
                looks.append(self._bounded("source reads", lambda: self._reads("source reads", place)))
        looks += [
            self._bounded("destination bucket", self._destination),
            self._bounded("destination reads", lambda: self._reads("destination reads", Location(destination, PROBE))),
            self._bounded("archives", lambda: look_at_writing(self._clients, destination)),
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
        except Exception as error:  # noqa: BLE001 - one check must not end the others
            return [self._failed(what, error)]

    def _failed(self, what: str, error: Exception) -> Finding:
        """What is said of *what*, whose check raised *error*."""
        if isinstance(error, NotThere):
            return Finding(what, "bad", f"does not exist: {error}", "check its name, and AWS_REGION")
        if isinstance(error, ConfigurationFault) and not isinstance(error, CredentialsFault):
            return Finding(what, "bad", str(error), self._grant(what))
        told, remedy = str(error), "check the network, and try again"
        if isinstance(error, TimeoutError):
            told = f"no answer within {LONGEST:.0f} s"
        elif isinstance(error, CredentialsFault):
            remedy = "try again: the provider may not be there yet"
        elif not isinstance(error, ArchiverError):
            told, remedy = f"a defect of the archiver: {type(error).__name__}: {error}", "please report it"
        return Finding(what, "unknown", told, remedy)

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
        return to_grant(*wanted[what]) if what in wanted else "check the settings that this names"

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
        except Temporary as error:
            findings.append(Finding("dead-letter queue", "unknown", str(error), "check the network, and try again"))
        return findings

    async def _outlet(self, what: str, queue: str) -> list[Finding]:
        told = await self._attributes(queue)
        source: dict[str, str] = {}
        with suppress(ArchiverError):  # its own row says why
            source = await self._attributes(self._settings.source_queue)
        dead_letters = json.loads(source.get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
        clash = checkup.queue_clash(told.get("QueueArn"), source.get("QueueArn"), dead_letters)
        if clash is not None:
            return [Finding(what, "bad", f"{queue} is {clash}", "name another queue")]
        return [Finding(what, "ok", f"{queue} is there")]

    async def _reads(self, what: str, place: Location) -> list[Finding]:
        """Ask by our own client, which reads and sends all bytes: it has proxy, names, trust and style to itself."""
        with suppress(SourceUnavailable):  # nothing is meant to be there
            await self._reader.head(place)
        return [Finding(what, "ok", f"{place.bucket} answers where objects are read")]

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

    async def _lifecycle(self) -> list[Finding]:
        bucket = self._settings.destination_bucket
        rules: list[Any] = []
        try:
            with translated(f"GetBucketLifecycleConfiguration {bucket}", _LIFECYCLE):
                told = await self._clients.s3_control.get_bucket_lifecycle_configuration(Bucket=bucket)
            rules = list(told.get("Rules", []))
        except Rejected:
            pass  # there are none
        except NotThere:
            raise
        except ConfigurationFault:
            remedy = "optional, for this check alone: " + self._grant("lifecycle")
            return [Finding("lifecycle", "unknown", "may not be asked", remedy)]
        except Temporary as error:
            return [Finding("lifecycle", "unknown", f"could not be asked: {error}")]
        return [checkup.lifecycle(rules, bucket)]
