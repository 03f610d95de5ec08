"""The queues that messages in Lambda events come from. Lambda receives and deletes; what is left to do is here."""

from typing import TYPE_CHECKING, Any

import structlog

from archiver.aws.error_mapping import DENIED, error_map, map_errors
from archiver.aws.queues import QUEUE_ERRORS, resolve_queue
from archiver.aws.sqs import SqsDeadLetters, read_facts
from archiver.errors import ArchiverError, ConfigurationError, TransientError
from archiver.ports import Message, QueueFacts

if TYPE_CHECKING:
    from archiver.aws.clients import Clients

log = structlog.get_logger(__name__)


class EventQueue:
    """
    One queue. *url* and *facts*: None if its attributes can't be read; then it has no dead letters that are known, and
    rejected messages are left to its redrive policy.
    """

    def __init__(
        self, clients: "Clients", url: str | None, facts: QueueFacts | None, dead_letter_arn: str | None
    ) -> None:
        self.facts = facts
        self.dead_letters = SqsDeadLetters(clients.sqs_control, dead_letter_arn)
        self._clients = clients
        self._url = url
        self._may_delay = True

    async def delay(self, message: Message, seconds: int) -> None:
        """
        Let *message* come again after *seconds*, instead of after the queue's visibility timeout, which is many times
        as long for functions. Best effort: never raises.
        """
        if self._url is None or not message.receipt or not self._may_delay:
            return
        try:
            with map_errors("ChangeMessageVisibility", error_map(ConfigurationError, DENIED)):
                await self._clients.sqs_lease.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
                )
        except ArchiverError as error:
            self._may_delay = not isinstance(error, ConfigurationError)
            log.warning("event.not_delayed", reason=str(error))


class EventQueues:
    """Looks queues up, once each."""

    def __init__(self, clients: "Clients") -> None:
        self._clients = clients
        self._found: dict[str, EventQueue] = {}

    def of_rejected(self, dead_letter_arn: str) -> EventQueue:
        """Return a queue of which only the dead-letter queue is known, and is not asked for."""
        return EventQueue(self._clients, None, None, dead_letter_arn)

    async def find(self, arn: str) -> EventQueue | None:
        """Return the queue with the ARN *arn*; None if that is not the ARN of a queue. Never raises."""
        if not is_queue(arn):
            return None
        if arn in self._found:
            return self._found[arn]
        try:
            queue = await self._read(arn)
        except TransientError as error:
            log.warning("event.queue_unknown", queue=arn, reason=str(error))
            return EventQueue(self._clients, None, None, None)
        except ConfigurationError as error:
            log.warning("event.queue_unknown", queue=arn, reason=str(error))
            queue = EventQueue(self._clients, None, None, None)
        self._found[arn] = queue
        return queue

    async def _read(self, arn: str) -> EventQueue:
        client: Any = self._clients.sqs_control
        url = await resolve_queue(client, arn)
        names = ["QueueArn", "VisibilityTimeout", "RedrivePolicy"]
        with map_errors(f"GetQueueAttributes {arn}", QUEUE_ERRORS, ConfigurationError):
            response = await client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        facts, dead_letter_arn = read_facts(response.get("Attributes", {}))
        return EventQueue(self._clients, url, facts, dead_letter_arn)


def is_queue(arn: str) -> bool:
    """Return whether *arn* is the ARN of a queue."""
    return arn.startswith("arn:") and arn.split(":")[2:3] == ["sqs"]
