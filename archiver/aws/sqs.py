"""The source queue and its dead-letter queue, in SQS."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from archiver.aws.attributes import from_sqs, with_error_attributes
from archiver.aws.error_mapping import DENIED, NO_QUEUE, error_map, map_errors
from archiver.aws.queues import MAX_MESSAGE_BYTES, QUEUE_ERRORS, QueueSender, resolve_queue
from archiver.errors import ConfigurationError, LeaseLost, TransientError, Undeliverable
from archiver.ports import LONGEST_RETENTION, Message, QueueFacts, Rejection

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.literals import MessageSystemAttributeNameType, QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

    from archiver.aws.clients import Clients

MAX_IN_FLIGHT_SECONDS = 43_200  # that SQS keeps a message in flight, counted from its receive
_SYSTEM_ATTRIBUTES: tuple["MessageSystemAttributeNameType", ...] = (
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "MessageGroupId",
    "SentTimestamp",
)

# InvalidParameterValue: the message was deleted or is visible again, or its twelve hours have passed. SQS's own text is
# not used: it quotes the receipt handle.
_STALE_RECEIPT_ERRORS = error_map(
    lambda _: LeaseLost("SQS refuses the receipt"),
    {
        "InvalidAddress",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    },
)
_PROBE_RECEIPT = "AQEBnone"


class SqsDeadLetters:
    """
    The DeadLetters of a source queue. *arn*: its dead-letter queue, None if it has none; then, and if the queue is gone
    or denied, `put` raises Undeliverable: the message stays, and the redrive policy handles it.
    """

    def __init__(self, client: "SQSClient", arn: str | None) -> None:
        self.arn = arn
        self._sender = arn and QueueSender(client, arn, error_map(Undeliverable, NO_QUEUE | DENIED), Undeliverable)

    async def put(self, message: Message, rejection: Rejection) -> None:
        queue = self._sender
        if not queue:
            raise Undeliverable("the source queue has no dead-letter queue")
        if queue.limit is None:
            with suppress(TransientError):  # without permission to ask, SQS's own limit counts
                await queue.check()
        room = (queue.limit or MAX_MESSAGE_BYTES) - len(message.body.encode())
        attributes = with_error_attributes(message.attributes, rejection.code, rejection.message, room, message.id)
        await queue.send(message.body, attributes, rejection.group, rejection.deduplication_id)


async def look_up(client: "SQSClient", queue: str) -> tuple[str, QueueFacts, str | None]:
    """Return the URL of *queue*, its facts, and the ARN of its dead-letter queue. Raises as `SqsSource.open` does."""
    url = await resolve_queue(client, queue)
    with map_errors(f"GetQueueAttributes {queue}", QUEUE_ERRORS, ConfigurationError):
        response = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return url, *read_facts(response.get("Attributes", {}))


class SqsSource:
    """A MessageSource on one queue. `facts` and `dead_letters` come from the queue's attributes, read at startup."""

    def __init__(
        self, clients: "Clients", url: str, facts: QueueFacts, wait_seconds: int, dead_letter_arn: str | None = None
    ) -> None:
        self.url = url
        self.dead_letters = SqsDeadLetters(clients.sqs_control, dead_letter_arn)
        self._facts = facts
        self._clients = clients
        self._wait_seconds = wait_seconds

    @classmethod
    async def open(cls, clients: "Clients", queue: str, wait_seconds: int) -> Self:
        """*queue* is a name, URL or ARN. Raises ResourceNotFound, ConfigurationError, TransientError."""
        url, facts, dead_letter_arn = await look_up(clients.sqs_control, queue)
        await (source := cls(clients, url, facts, wait_seconds, dead_letter_arn)).check()
        return source

    @property
    def facts(self) -> QueueFacts:
        return self._facts

    async def check(self) -> None:
        """
        Check the permissions that a lease needs, with an invalid receipt: SQS checks permissions before the receipt.
        Raises ConfigurationError.
        """
        client = self._clients.sqs_control
        for operation, call in (
            ("ChangeMessageVisibility", partial(client.change_message_visibility, VisibilityTimeout=0)),
            ("DeleteMessage", client.delete_message),
        ):
            with suppress(TransientError), map_errors(operation, error_map(ConfigurationError, DENIED)):
                await call(QueueUrl=self.url, ReceiptHandle=_PROBE_RECEIPT)

    async def receive(self, limit: int) -> list[Message]:
        received_at = time.monotonic()
        with map_errors("ReceiveMessage"):
            response = await self._clients.sqs_receive.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                # The lease counts from before the poll: a poll longer than half of it would return expired leases.
                WaitTimeSeconds=min(self._wait_seconds, max(1, self.facts.visibility // 2)),
                VisibilityTimeout=self.facts.visibility,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=list(_SYSTEM_ATTRIBUTES),
            )
        return [_message(one, received_at) for one in response.get("Messages", [])]

    async def extend(self, message: Message, seconds: int) -> None:
        await self._change_visibility(message, seconds)

    async def release(self, message: Message, delay: int) -> None:
        await self._change_visibility(message, delay)

    async def _change_visibility(self, message: Message, seconds: int) -> None:
        with map_errors("ChangeMessageVisibility", _STALE_RECEIPT_ERRORS, ConfigurationError):
            await self._clients.sqs_lease.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )

    async def delete(self, message: Message) -> None:
        with map_errors("DeleteMessage", _STALE_RECEIPT_ERRORS, ConfigurationError):
            await self._clients.sqs_control.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)


def read_facts(attributes: "Mapping[QueueAttributeNameType, str]") -> tuple[QueueFacts, str | None]:
    """Return a queue's facts, and the ARN of its dead-letter queue."""
    redrive: dict[str, Any] = json.loads(attributes.get("RedrivePolicy") or "{}")
    facts = QueueFacts(
        id=attributes["QueueArn"],
        visibility=int(attributes["VisibilityTimeout"]),
        longest=MAX_IN_FLIGHT_SECONDS,
        max_receives=int(redrive["maxReceiveCount"]) if "maxReceiveCount" in redrive else None,
        retention=int(attributes.get("MessageRetentionPeriod") or LONGEST_RETENTION),
    )
    return facts, redrive.get("deadLetterTargetArn")


def _message(raw: "MessageTypeDef", received_at: float) -> Message:
    system = raw.get("Attributes", {})
    return Message(
        id=raw["MessageId"],
        body=raw["Body"],
        receipt=raw["ReceiptHandle"],
        received_at=received_at,
        receive_count=int(system["ApproximateReceiveCount"]),
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC),
        first_received=system.get("ApproximateFirstReceiveTimestamp", ""),
        group=system.get("MessageGroupId"),
        attributes=from_sqs(raw.get("MessageAttributes", {})),
        trace_header=system.get("AWSTraceHeader", ""),
    )
