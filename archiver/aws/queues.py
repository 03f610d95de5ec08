"""Queues of SQS that are sent to: found by name, URL or ARN, and never sent more than they take."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from archiver.aws.attributes import attributes_size, to_sqs, valid_attributes
from archiver.aws.error_mapping import DENIED, NO_QUEUE, ErrorFactory, ResourceNotFound, error_map, map_errors
from archiver.errors import ConfigurationError, TransientError, Undeliverable
from archiver.ports import Attribute, OutgoingMessage

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

MAX_MESSAGE_BYTES = 1024 * 1024
_ARN_PARTS = 6

QUEUE_ERRORS = error_map(ResourceNotFound, NO_QUEUE) | error_map(ConfigurationError, DENIED)
# Caused by the message, not by the queue: its size (the queue's limit may have been lowered, or a proxy has one) or its
# characters.
_UNSENDABLE_ERRORS = error_map(
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


async def resolve_queue(
    client: "SQSClient",
    text: str,
    mapping: Mapping[str, ErrorFactory] = QUEUE_ERRORS,
    on_refusal: ErrorFactory = ConfigurationError,
) -> str:
    """
    Return the URL of a queue. *text* is its name, its ARN (of any account) or its URL.

    Raises ResourceNotFound if SQS knows no such queue, ConfigurationError if it refuses the call, TransientError;
    *mapping* and *on_refusal* change these.
    """
    if "://" in text:
        return text
    arguments: dict[str, Any] = {"QueueName": text}
    if text.startswith("arn:"):
        parts = text.split(":")
        if len(parts) != _ARN_PARTS or parts[2] != "sqs":
            raise ResourceNotFound(f"{text} is not the ARN of a queue")
        arguments = {"QueueName": parts[5], "QueueOwnerAWSAccountId": parts[4]}
    with map_errors(f"GetQueueUrl {text}", mapping, on_refusal):
        return str((await client.get_queue_url(**arguments))["QueueUrl"])


class QueueSender:
    """
    A queue to send to. *queue* is its name, URL or ARN; it is resolved on first use. After `check`, `limit` is the
    queue's size limit in bytes, and `arn` its ARN. *mapping* and *on_refusal* map errors, as in `map_errors`.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue: str,
        mapping: Mapping[str, ErrorFactory] = QUEUE_ERRORS,
        on_refusal: ErrorFactory = ConfigurationError,
    ) -> None:
        self.limit: int | None = None
        self.arn: str | None = None
        self._client = client
        self._queue = queue
        self._mapping = mapping
        self._on_refusal = on_refusal
        self._url: str | None = None

    async def check(self) -> None:
        """
        Check that the queue exists, and read its limit. Raises ResourceNotFound, ConfigurationError, TransientError.
        """
        url = await self._resolve_url()
        with map_errors(f"GetQueueAttributes {self._queue}", self._mapping, self._on_refusal):
            names: list[QueueAttributeNameType] = ["MaximumMessageSize", "QueueArn"]
            attributes = (await self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)).get(
                "Attributes", {}
            )
        self.limit = int(attributes.get("MaximumMessageSize", MAX_MESSAGE_BYTES))
        self.arn = attributes.get("QueueArn")

    async def send(self, body: str, attributes: Mapping[str, Attribute], group: str, deduplication_id: str) -> None:
        """
        Send one message; *group* and *deduplication_id* are used for FIFO queues. Raises as `check` does, and
        Undeliverable if the queue does not accept this message; its limit is read again then.
        """
        fifo = self._queue.endswith(".fifo")  # SQS requires this suffix
        ids: dict[str, Any] = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id} if fifo else {}
        url = await self._resolve_url()
        try:
            with map_errors(f"SendMessage {self._queue}", {**_UNSENDABLE_ERRORS, **self._mapping}, self._on_refusal):
                await self._client.send_message(
                    QueueUrl=url, MessageBody=body, MessageAttributes=to_sqs(attributes), **ids
                )
        except Undeliverable:
            with suppress(TransientError, ConfigurationError):
                await self.check()
            raise

    @property
    def url(self) -> str | None:
        """Its URL, once it was resolved."""
        return self._url

    async def _resolve_url(self) -> str:
        if self._url is None:
            self._url = await resolve_queue(self._client, self._queue, self._mapping, self._on_refusal)
        return self._url


class SqsNotifier:
    """
    A Notifier that sends to one queue. `check` at startup finds a queue that does not exist, and reads its size limit.
    Without it, the limit is SQS's own, and the queue is resolved with the first answer.
    """

    def __init__(self, client: "SQSClient", queue: str) -> None:
        self._sender = QueueSender(client, queue)
        self.check = self._sender.check

    @property
    def arn(self) -> str | None:
        """The queue's ARN, once `check` has read it."""
        return self._sender.arn

    @property
    def url(self) -> str | None:
        """The queue's URL, once it was resolved."""
        return self._sender.url

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Return the bytes of UTF-8 left for a body next to *attributes*."""
        return (self._sender.limit or MAX_MESSAGE_BYTES) - attributes_size(valid_attributes(attributes))

    async def send(self, note: OutgoingMessage) -> None:
        """Send *note* without the attributes that SQS would refuse, and those beyond ten."""
        await self._sender.send(note.body, valid_attributes(note.attributes), note.group, note.id)
