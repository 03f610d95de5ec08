"""The checks of `archiver check`: concurrent, one request per resource, each with a timeout."""

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
from archiver.aws.error_mapping import (
    DENIED,
    NO_BUCKET,
    NO_QUEUE,
    CredentialsError,
    ResourceNotFound,
    error_map,
    map_errors,
)
from archiver.aws.preflight_writes import check_writing
from archiver.aws.queues import resolve_queue
from archiver.aws.s3_store import check_bucket
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_xml import read_xml
from archiver.aws.session import client_config, credential_errors
from archiver.core import preflight
from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import PROBE_KEY, AllowList, Location
from archiver.core.policy import bucket_arn, permission_hint, queue_arn
from archiver.core.preflight import CheckResult
from archiver.errors import ArchiverError, ConfigurationError, Rejected, SourceUnavailable, TransientError
from archiver.ports import ObjectReader

if TYPE_CHECKING:
    from archiver.settings import Settings

CHECK_TIMEOUT = 20.0  # seconds for one check
MAX_LIFECYCLE = 4 << 20
"""Bytes of a lifecycle configuration: 1,000 rules, with prefixes of 1,024 bytes and tags."""

_DENIED_ERRORS = error_map(ConfigurationError, DENIED)
_QUEUE_ERRORS = error_map(ResourceNotFound, NO_QUEUE) | _DENIED_ERRORS
_BUCKET_ERRORS = error_map(ResourceNotFound, NO_BUCKET | {"404"}) | _DENIED_ERRORS
_LIFECYCLE_ERRORS = _BUCKET_ERRORS | error_map(partial(Rejected, "invalid_request"), {"NoSuchLifecycleConfiguration"})


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The identity of the credentials, and the clock *skew* in seconds."""

    arn: str
    account: str
    skew: float


async def get_caller_identity(clients: Clients) -> CallerIdentity:
    """
    Return the identity from STS. *skew*: seconds that the local clock is ahead of AWS's.

    Raises ConfigurationError, TransientError.
    """
    async with AsyncExitStack() as stack:
        with credential_errors():
            sts = await stack.enter_async_context(
                clients.session.client("sts", config=client_config(10, attempts=2, pool=1))
            )
        with map_errors("GetCallerIdentity", _DENIED_ERRORS):
            response = await sts.get_caller_identity()
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    skew = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    return CallerIdentity(response["Arn"], response["Account"], skew)


class Checks:
    """The checks of one worker's *settings*, for *caller*."""

    def __init__(
        self,
        settings: "Settings",
        clients: Clients,
        reader: ObjectReader,
        caller: CallerIdentity | None,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> None:
        """*attributes*: of archives."""
        self._settings = settings
        self._clients = clients
        self._reader = reader
        self._archive_attributes = attributes
        self._account = caller.account if caller else None
        self._region = clients.sqs_control.meta.region_name
        self._urls: dict[str, str] = {}

    async def run_all(self) -> list[CheckResult]:
        """Run all checks concurrently; the results are in the order of a message's processing."""
        settings = self._settings
        queues = [("answer queue", settings.destination_queue), ("failure queue", settings.failure_queue)]
        queues.append(("progress queue", settings.progress_queue))
        pending = [self._with_timeout("source queue", self._check_source_queue)] if settings.source_queue else []
        pending += [
            self._with_timeout(what, partial(self._check_answer_queue, what, queue)) for what, queue in queues if queue
        ]
        destination = settings.destination_bucket
        if settings.source_bucket:
            pending.append(self._with_timeout("source bucket", self._check_source_bucket))
            location = AllowList.parse(settings.allowed_sources, destination).probe(settings.source_bucket)
            if location is not None:
                pending.append(self._with_timeout("source reads", lambda: self._check_reads("source reads", location)))
        pending += [
            self._with_timeout("destination bucket", self._check_destination_bucket),
            self._with_timeout(
                "destination reads", lambda: self._check_reads("destination reads", Location(destination, PROBE_KEY))
            ),
            self._with_timeout("archives", lambda: check_writing(self._clients, destination, self._archive_attributes)),
            self._with_timeout("lifecycle", self._check_lifecycle),
        ]
        results = [result for group in await asyncio.gather(*pending) for result in group]
        if settings.destination_queue is None and settings.source_queue:
            remedy = "set SQS_DESTINATION_QUEUE"
            results.append(CheckResult("answer queue", "warning", "not set: no answers are sent", remedy))
        if settings.failure_queue is None and settings.source_queue:
            remedy = "set SQS_FAILURE_QUEUE; it may be the answer queue"
            results.append(CheckResult("failure queue", "warning", "not set: no failures are reported", remedy))
        return [*results, preflight.check_links(settings.base_url)]

    async def _with_timeout(
        self, what: str, check: Callable[[], Awaitable[Sequence[CheckResult]]]
    ) -> Sequence[CheckResult]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                return await check()
        except Exception as error:  # noqa: BLE001 - a failing check must not stop the others
            return [self._failure_result(what, error)]

    def _failure_result(self, what: str, error: Exception) -> CheckResult:
        """Return the result of the check *what*, which raised *error*."""
        if isinstance(error, ResourceNotFound):
            return CheckResult(what, "bad", f"does not exist: {error}", "check its name and AWS_REGION")
        if isinstance(error, ConfigurationError) and not isinstance(error, CredentialsError):
            return CheckResult(what, "bad", str(error), self._permission_hint(what))
        detail, remedy = str(error), "check the network and try again"
        if isinstance(error, TimeoutError):
            detail = f"no response within {CHECK_TIMEOUT:.0f} s"
        elif isinstance(error, CredentialsError):
            remedy = "try again; the provider may not be ready yet"
        elif not isinstance(error, ArchiverError):
            detail = f"internal error (a bug in the archiver): {type(error).__name__}: {error}"
            remedy = "please report it"
        return CheckResult(what, "unknown", detail, remedy)

    def _permission_hint(self, what: str) -> str:
        """Return the remedy for a denied check *what*: the IAM actions and the ARN."""
        settings = self._settings
        permissions = {
            "source queue": (
                "sqs:GetQueueAttributes and sqs:GetQueueUrl",
                self._queue_arn(settings.source_queue or ""),
            ),
            "answer queue": (
                "sqs:GetQueueAttributes and sqs:GetQueueUrl",
                self._queue_arn(settings.destination_queue or ""),
            ),
            "failure queue": (
                "sqs:GetQueueAttributes and sqs:GetQueueUrl",
                self._queue_arn(settings.failure_queue or ""),
            ),
            "progress queue": (
                "sqs:GetQueueAttributes and sqs:GetQueueUrl",
                self._queue_arn(settings.progress_queue or ""),
            ),
            "source bucket": ("s3:ListBucket", bucket_arn(settings.source_bucket or "")),
            "destination bucket": ("s3:ListBucket", bucket_arn(settings.destination_bucket)),
            "archives": ("s3:PutObject and s3:AbortMultipartUpload", bucket_arn(settings.destination_bucket, "*")),
            "lifecycle": ("s3:GetLifecycleConfiguration", bucket_arn(settings.destination_bucket)),
        }
        return permission_hint(*permissions[what]) if what in permissions else "check the settings named here"

    def _queue_arn(self, queue: str) -> str:
        """Return the ARN of *queue* if its URL or the account id gives it, else *queue* itself."""
        return queue_arn(self._urls.get(queue, queue), self._region, self._account) or queue

    # Queues

    async def _attributes(self, queue: str) -> dict[str, str]:
        self._urls[queue] = url = await resolve_queue(self._clients.sqs_control, queue)
        with map_errors(f"GetQueueAttributes {queue}", _QUEUE_ERRORS):
            response = await self._clients.sqs_control.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in response.get("Attributes", {}).items()}

    async def _check_source_queue(self) -> list[CheckResult]:
        attributes = await self._attributes(str(self._settings.source_queue))
        restores = self._settings.restore_wait_limit if self._settings.restore_tiers else 0
        results = preflight.check_source_queue(attributes, max(self._settings.wait_limit, restores))
        policy = next((result for result in results if result.what == "redrive policy" and result.state != "bad"), None)
        if policy is None:
            return results
        arn = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        try:
            results.append(preflight.check_dead_letter_queue(await self._attributes(arn)))
        except ResourceNotFound as error:
            remedy = "create it, or name another queue in the source queue's RedrivePolicy"
            results.append(CheckResult("dead-letter queue", "bad", f"does not exist: {error}", remedy))
        except ConfigurationError as error:
            remedy = permission_hint("sqs:GetQueueAttributes, sqs:GetQueueUrl and sqs:SendMessage", arn)
            results.append(CheckResult("dead-letter queue", "bad", str(error), remedy))
        except TransientError as error:
            results.append(CheckResult("dead-letter queue", "unknown", str(error), "check the network and try again"))
        return results

    async def _check_answer_queue(self, what: str, queue: str) -> list[CheckResult]:
        attributes = await self._attributes(queue)
        source: dict[str, str] = {}
        with suppress(ArchiverError):  # reported by the check of the source queue, if there is one
            source = await self._attributes(str(self._settings.source_queue))
        dead_letters = json.loads(source.get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
        conflict = preflight.find_queue_conflict(attributes.get("QueueArn"), source.get("QueueArn"), dead_letters)
        if conflict is not None:
            return [CheckResult(what, "bad", f"{queue} is {conflict}", "name another queue")]
        return [CheckResult(what, "ok", f"{queue} exists")]

    async def _check_reads(self, what: str, location: Location) -> list[CheckResult]:
        """
        Send a HEAD with the project's own HTTP client, which transfers all bodies.

        It has its own proxy, DNS, TLS and addressing code, which a call of the SDK does not check.
        """
        with suppress(SourceUnavailable):  # the probe object need not exist
            await self._reader.head(location)
        return [CheckResult(what, "ok", f"{location.bucket} can be reached for object reads")]

    # Buckets

    async def _check_source_bucket(self) -> list[CheckResult]:
        bucket = str(self._settings.source_bucket)
        await check_bucket(self._clients.s3, bucket)
        request = S3Request("GET", Location(bucket, ""), query="encoding-type=url&list-type=2&max-keys=1")
        response = await self._clients.s3.call(f"ListObjectsV2 {bucket}", request, _BUCKET_ERRORS)
        page = read_xml(response.body, "ListBucketResult")
        found = next(page.elements("Contents"), None)
        if found is None:
            return [CheckResult("source bucket", "ok", f"{bucket} exists and is empty")]
        key = page.decode(found.required("Key"))
        try:
            request = S3Request("HEAD", Location(bucket, key))
            await self._clients.s3.call(f"HeadObject {key}", request, error_map(ConfigurationError, DENIED))
        except ConfigurationError as error:
            remedy = permission_hint("s3:GetObject", bucket_arn(bucket, "*"))
            return [CheckResult("source bucket", "bad", f"its objects can't be read: {error}", remedy)]
        return [CheckResult("source bucket", "ok", f"{bucket} exists and can be read")]

    async def _check_destination_bucket(self) -> list[CheckResult]:
        bucket = self._settings.destination_bucket
        await check_bucket(self._clients.s3, bucket)
        return [CheckResult("destination bucket", "ok", f"{bucket} exists")]

    async def _check_lifecycle(self) -> list[CheckResult]:
        bucket = self._settings.destination_bucket
        rules: list[dict[str, Any]] = []
        try:
            request = S3Request("GET", Location(bucket, ""), query="lifecycle=", body_limit=MAX_LIFECYCLE)
            response = await self._clients.s3.call(
                f"GetBucketLifecycleConfiguration {bucket}", request, _LIFECYCLE_ERRORS
            )
            rules = _lifecycle_rules(response.body)
        except Rejected:
            pass  # the bucket has no rules
        except ResourceNotFound:
            raise
        except ConfigurationError:
            remedy = "optional, only for this check: " + self._permission_hint("lifecycle")
            return [CheckResult("lifecycle", "unknown", "the role may not read the rules", remedy)]
        except TransientError as error:
            return [CheckResult("lifecycle", "unknown", f"the rules can't be read: {error}")]
        return [preflight.check_lifecycle(rules, bucket)]


def _lifecycle_rules(body: bytes) -> list[dict[str, Any]]:
    """Return what `preflight.check_lifecycle` looks at of the rules in S3's answer *body*."""
    return [
        {
            "Status": rule.text("Status"),
            "AbortIncompleteMultipartUpload": next(
                (
                    {"DaysAfterInitiation": abort.text("DaysAfterInitiation")}
                    for abort in rule.elements("AbortIncompleteMultipartUpload")
                ),
                {},
            ),
        }
        for rule in read_xml(body, "LifecycleConfiguration").elements("Rule")
    ]
