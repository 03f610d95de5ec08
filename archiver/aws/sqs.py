"""SQS: the queue that jobs come from, the dead-letter queue behind it, and the queues that answers go to."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from archiver.aws.attributes import sendable, size_of, unwired, wire, with_reason
from archiver.aws.error_mapping import DENIED, NO_QUEUE, Make, NotThere, table, translated
from archiver.errors import ConfigurationFault, LeaseLost, Temporary, Undeliverable
from archiver.ports import Attribute, Message, Note, QueueFacts, Rejection

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.literals import MessageSystemAttributeNameType, QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

    from archiver.aws.clients import Clients

MESSAGE_LIMIT = 1024 * 1024
_ARN_PARTS = 6
_SYSTEM: tuple["MessageSystemAttributeNameType", ...] = (
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "MessageGroupId",
    "SentTimestamp",
)

_ABSENT = table(NotThere, NO_QUEUE) | table(ConfigurationFault, DENIED)
# InvalidParameterValue: the message was deleted or is visible again, or its twelve hours are over.
# SQS's own sentence about it quotes the receipt handle.
_STALE = table(
    lambda _: LeaseLost("SQS refuses the receipt"),
    {
        "InvalidAddress",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    },
)
# About what is sent, not about the queue: its size (the queue's limit may have been lowered, or a proxy has one), or
# characters.
_UNSENDABLE = table(
    Undeliverable,
    {
        "413",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "MessageTooLong",
        "RequestEntityTooLarge",
    },
)
_NO_RECEIPT = "AQEBnone"


async def resolve_queue(
    client: "SQSClient", text: str, special: Mapping[str, Make] = _ABSENT, refused: Make = ConfigurationFault
) -> str:
    """
    The URL of the queue that *text* names: a name, an ARN (of this account or another), or the URL itself.
    Raises NotThere where SQS knows no such queue, ConfigurationFault where it won't say, Temporary.
    *special* and *refused* say otherwise.
    """
    if "://" in text:
        return text
    asked: dict[str, Any] = {"QueueName": text}
    if text.startswith("arn:"):
        parts = text.split(":")
        if len(parts) != _ARN_PARTS or parts[2] != "sqs":
            raise NotThere(f"{text} is not the ARN of a queue")
        asked = {"QueueName": parts[5], "QueueOwnerAWSAccountId": parts[4]}
    with translated(f"GetQueueUrl {text}", special, refused):
        return str((await client.get_queue_url(**asked))["QueueUrl"])


class Outlet:
    """
    A queue to send to, named by *queue* (name, URL or ARN) and looked up when first needed. `limit` is its own size
    limit in bytes once `check` has asked, `arn` its ARN. *special* and *refused* sort the errors, as in `translated`.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue: str,
        special: Mapping[str, Make] = _ABSENT,
        refused: Make = ConfigurationFault,
    ) -> None:
        self.limit: int | None = None
        self.arn: str | None = None
        self._client = client
        self._queue = queue
        self._special = special
        self._refused = refused
        self._url: str | None = None

    async def check(self) -> None:
        """Ask whether the queue is there, and for its limit. Raises NotThere, ConfigurationFault, Temporary."""
        url = await self._resolved()
        with translated(f"GetQueueAttributes {self._queue}", self._special, self._refused):
            names: list[QueueAttributeNameType] = ["MaximumMessageSize", "QueueArn"]
            told = (await self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)).get("Attributes", {})
        self.limit = int(told.get("MaximumMessageSize", MESSAGE_LIMIT))
        self.arn = told.get("QueueArn")

    async def send(self, body: str, attributes: Mapping[str, Attribute], group: str, deduplication_id: str) -> None:
        """
        Send one message; *group* and *deduplication_id* only to a FIFO queue. Raises as `check` does, and Undeliverable
        where the queue does not take this one; its limit is read anew then.
        """
        fifo = self._queue.endswith(".fifo")  # SQS knows them by this ending, too
        ids: dict[str, Any] = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id} if fifo else {}
        url = await self._resolved()
        try:
            with translated(f"SendMessage {self._queue}", {**_UNSENDABLE, **self._special}, self._refused):
                await self._client.send_message(
                    QueueUrl=url, MessageBody=body, MessageAttributes=wire(attributes), **ids
                )
        except Undeliverable:
            with suppress(Temporary, ConfigurationFault):
                await self.check()
            raise

    @property
    def url(self) -> str | None:
        """Its URL, once it was looked up."""
        return self._url

    async def _resolved(self) -> str:
        if self._url is None:
            self._url = await resolve_queue(self._client, self._queue, self._special, self._refused)
        return self._url


class SqsNotifier:
    """
    The Notifier on one queue. `check` at start finds a queue that is not there and reads its size limit;
    without it the limit is SQS's own, and the queue is looked up with the first answer.
    """

    def __init__(self, client: "SQSClient", queue: str) -> None:
        self._outlet = Outlet(client, queue)
        self.check = self._outlet.check

    @property
    def arn(self) -> str | None:
        """The queue's ARN, once `check` was told it."""
        return self._outlet.arn

    @property
    def url(self) -> str | None:
        """The queue's URL, once it was looked up."""
        return self._outlet.url

    def room_for(self, attributes: Mapping[str, Attribute]) -> int:
        """Bytes left for a body of UTF-8 beside *attributes*."""
        return (self._outlet.limit or MESSAGE_LIMIT) - size_of(sendable(attributes))

    async def send(self, note: Note) -> None:
        """Attributes that SQS would refuse, and those beyond ten, are left out."""
        await self._outlet.send(note.body, sendable(note.attributes), note.group, note.id)


class SqsSource:
    """The MessageSource on one queue. `facts` is what the queue said of itself at start."""

    def __init__(self, clients: "Clients", url: str, facts: QueueFacts, wait_seconds: int) -> None:
        self.url = url
        self.facts = facts
        self._clients = clients
        self._wait_seconds = wait_seconds
        self._dead_letters: Outlet | None = None
        if facts.dead_letter_arn:
            # Gone or denied, it is no fault to pause for: the message stays, and the redrive policy takes it.
            self._dead_letters = Outlet(
                clients.sqs_control, facts.dead_letter_arn, table(Undeliverable, NO_QUEUE | DENIED), Undeliverable
            )

    @classmethod
    async def open(cls, clients: "Clients", queue: str, wait_seconds: int) -> Self:
        """*queue* is a name, URL or ARN. Raises NotThere, ConfigurationFault, Temporary."""
        url = await resolve_queue(clients.sqs_control, queue)
        with translated(f"GetQueueAttributes {queue}", _ABSENT, ConfigurationFault):
            told = await clients.sqs_control.get_queue_attributes(
                QueueUrl=url, AttributeNames=["QueueArn", "VisibilityTimeout", "RedrivePolicy"]
            )
        source = cls(clients, url, _facts(told.get("Attributes", {})), wait_seconds)
        await source.check()
        return source

    async def check(self) -> None:
        """
        Ask for what a lease and its end need, with a receipt that is none: who may not do it is refused before SQS
        looks at the receipt. Raises ConfigurationFault.
        """
        client = self._clients.sqs_control
        for operation, call in (
            ("ChangeMessageVisibility", partial(client.change_message_visibility, VisibilityTimeout=0)),
            ("DeleteMessage", client.delete_message),
        ):
            with suppress(Temporary), translated(operation, table(ConfigurationFault, DENIED)):
                await call(QueueUrl=self.url, ReceiptHandle=_NO_RECEIPT)

    async def receive(self, limit: int) -> list[Message]:
        received_at = time.monotonic()
        with translated("ReceiveMessage"):
            told = await self._clients.sqs_receive.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                # The lease counts from before the poll: one that is longer than half of it would bring lost messages.
                WaitTimeSeconds=min(self._wait_seconds, max(1, self.facts.visibility // 2)),
                VisibilityTimeout=self.facts.visibility,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=list(_SYSTEM),
            )
        return [_message(one, received_at) for one in told.get("Messages", [])]

    async def hide(self, message: Message, seconds: int) -> None:
        with translated("ChangeMessageVisibility", _STALE, ConfigurationFault):
            await self._clients.sqs_lease.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )

    async def delete(self, message: Message) -> None:
        with translated("DeleteMessage", _STALE, ConfigurationFault):
            await self._clients.sqs_control.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    async def reject(self, message: Message, rejection: Rejection) -> None:
        queue = self._dead_letters
        if queue is None:
            raise Undeliverable("the source queue has no dead-letter queue")
        if queue.limit is None:
            with suppress(Temporary):  # who may not ask goes by SQS's own limit
                await queue.check()
        room = (queue.limit or MESSAGE_LIMIT) - len(message.body.encode())
        attributes = with_reason(message.attributes, rejection.code, rejection.message, room, message.id)
        await queue.send(message.body, attributes, rejection.group, rejection.deduplication_id)


def _facts(told: "Mapping[QueueAttributeNameType, str]") -> QueueFacts:
    redrive: dict[str, Any] = json.loads(told.get("RedrivePolicy") or "{}")
    return QueueFacts(
        arn=told["QueueArn"],
        visibility=int(told["VisibilityTimeout"]),
        max_receives=int(redrive["maxReceiveCount"]) if "maxReceiveCount" in redrive else None,
        dead_letter_arn=redrive.get("deadLetterTargetArn"),
    )


def _message(told: "MessageTypeDef", received_at: float) -> Message:
    system = told.get("Attributes", {})
    return Message(
        id=told["MessageId"],
        body=told["Body"],
        receipt=told["ReceiptHandle"],
        received_at=received_at,
        receive_count=int(system["ApproximateReceiveCount"]),
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC),
        first_received=system.get("ApproximateFirstReceiveTimestamp", ""),
        group=system.get("MessageGroupId"),
        attributes=unwired(told.get("MessageAttributes", {})),
    )
