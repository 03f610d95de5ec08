"""Lists, redrives and deletes messages of the dead-letter queue."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from archiver.aws.attributes import from_sqs, to_sqs
from archiver.aws.error_mapping import DENIED, NO_QUEUE, ResourceNotFound, error_codes, error_map, map_errors
from archiver.aws.queues import resolve_queue
from archiver.core.dead_letters import DeadLetter
from archiver.errors import ArchiverError, ConfigurationError, TransientError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

SCAN_VISIBILITY_TIMEOUT = 120  # seconds for which a received message is invisible during a scan
MAX_BATCH = 10
_SECOND = timedelta(seconds=1)  # resolution of an HTTP date, which is rounded down
_DEPTH_ATTRIBUTES = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_MESSAGES_TO_MOVE = "ApproximateNumberOfMessagesToMove"
_ERROR_MAP = error_map(ResourceNotFound, NO_QUEUE) | error_map(ConfigurationError, DENIED)
# The endpoint does not support move tasks, or the role may not start one.
_MOVE_UNAVAILABLE_CODES = DENIED | {
    "InvalidAction",
    "UnsupportedOperation",
    "InternalError",
    "InternalFailure",
    "500",
    "501",
}


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """
    A dead-letter queue and the source queue to which its messages are redriven.

    *scan_counts_as_receive*: the dead-letter queue has its own redrive policy, so each read counts as a receive.
    *opened_at*: SQS's time when the queue was opened.
    """

    url: str
    arn: str
    source_url: str
    source_arn: str
    scan_counts_as_receive: bool
    opened_at: datetime = datetime(9999, 1, 1, tzinfo=UTC)

    @property
    def fifo(self) -> bool:
        return self.arn.endswith(".fifo")


async def open_dead_letter_queue(client: "SQSClient", source: str, named: str | None = None) -> DeadLetterQueue:
    """
    Return the dead-letter queue of *source*, or the queue *named*.

    Raises ResourceNotFound (also if *source* has no dead-letter queue), ConfigurationError, TransientError.
    """
    source_url = await resolve_queue(client, source)
    attributes, opened_at = await _get_queue_attributes(client, source_url, source)
    redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
    target = named or redrive.get("deadLetterTargetArn")
    if not target:
        raise ResourceNotFound(
            f"{source} has no dead-letter queue; give it a redrive policy or name a queue with --queue"
        )
    url = await resolve_queue(client, target)
    dead, _ = await _get_queue_attributes(client, url, target)
    scan_counts_as_receive = bool(dead.get("RedrivePolicy"))
    return DeadLetterQueue(url, dead["QueueArn"], source_url, attributes["QueueArn"], scan_counts_as_receive, opened_at)


async def _get_queue_attributes(client: "SQSClient", url: str, name: str) -> tuple[dict[str, str], datetime]:
    """Return all attributes of a queue, and SQS's time of the response."""
    with map_errors(f"GetQueueAttributes {name}", _ERROR_MAP):
        response = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        server_time = parsedate_to_datetime(date)
    except ValueError:
        server_time = datetime.now(UTC)
    return {str(key): value for key, value in response.get("Attributes", {}).items()}, server_time


@dataclass(frozen=True, slots=True)
class ReceivedDeadLetter:
    """A received message and its receipt handle."""

    dead_letter: DeadLetter
    receipt: str


class QueueScan:
    """
    Reads up to *limit* messages of the queue, each once. They stay invisible until the end of the block
    (`async with`), which releases those that were not deleted.

    A FIFO queue delivers no more messages of a group while some are in flight: *hidden* counts those held back.
    Callers that redrive or drop must therefore handle each message as soon as they receive it.
    """

    def __init__(self, client: "SQSClient", queue: DeadLetterQueue, limit: int) -> None:
        self._client = client
        self._queue = queue
        self._limit = limit
        self._in_flight: dict[str, ReceivedDeadLetter] = {}
        self._seen_ids: set[str] = set()
        self.complete = False
        self.hidden = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        receipts = [received.receipt for received in self._in_flight.values()]
        for start in range(0, len(receipts), MAX_BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for n, receipt in enumerate(receipts[start : start + MAX_BATCH])
            ]
            try:
                with map_errors("ChangeMessageVisibilityBatch"):
                    await self._client.change_message_visibility_batch(QueueUrl=self._queue.url, Entries=entries)  # type: ignore[arg-type]
            except ArchiverError:
                return  # the messages become visible again after SCAN_VISIBILITY_TIMEOUT

    async def messages(self) -> AsyncIterator[ReceivedDeadLetter]:
        """
        Yield each message once. Afterwards, `complete` tells whether the whole queue was read, and `hidden` is the
        approximate number of messages that a FIFO queue held back.

        Raises ResourceNotFound, ConfigurationError, TransientError.
        """
        empty = 0
        while empty < 2:  # noqa: PLR2004 - a short poll may query only some of SQS's servers; the long poll asks all
            found = await self._receive(min(MAX_BATCH, self._limit - len(self._seen_ids)), wait=min(empty, 1))
            new = [received for received in found if received.dead_letter.id not in self._seen_ids]
            empty = 0 if new else empty + 1
            self._seen_ids.update(received.dead_letter.id for received in new)
            self._in_flight.update((received.dead_letter.id, received) for received in new)
            for received in new:
                yield received
            if len(self._seen_ids) >= self._limit:
                return
        if self._queue.fifo:
            attributes, _ = await _get_queue_attributes(self._client, self._queue.url, "the dead-letter queue")
            self.hidden = max(0, sum(int(attributes.get(name, 0)) for name in _DEPTH_ATTRIBUTES) - len(self._in_flight))
        self.complete = not self.hidden

    def predates_scan(self, received: ReceivedDeadLetter) -> bool:
        """
        Return whether the message was sent before the scan began. A redriven message may be rejected again at once,
        and would otherwise be redriven in an endless loop.
        """
        return received.dead_letter.sent_at < self._queue.opened_at + _SECOND

    async def _receive(self, limit: int, wait: int) -> list[ReceivedDeadLetter]:
        with map_errors("ReceiveMessage", _ERROR_MAP):
            response = await self._client.receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait,
                VisibilityTimeout=SCAN_VISIBILITY_TIMEOUT,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
        return [
            ReceivedDeadLetter(DeadLetter.of(message), message["ReceiptHandle"])
            for message in response.get("Messages", [])
        ]

    async def redrive(self, received: ReceivedDeadLetter) -> None:
        """Send the message to the source queue, then delete it here: a crash in between duplicates it."""
        dead_letter = received.dead_letter
        fifo: dict[str, Any] = {}
        if self._queue.source_arn.endswith(".fifo"):
            fifo = {
                "MessageGroupId": dead_letter.group or dead_letter.id,
                "MessageDeduplicationId": f"redrive-{dead_letter.id}",
            }
        with map_errors("SendMessage", _ERROR_MAP):
            await self._client.send_message(
                QueueUrl=self._queue.source_url,
                MessageBody=dead_letter.body,
                MessageAttributes=to_sqs(from_sqs(dead_letter.attributes)),
                **fifo,
            )
        await self.drop(received)

    async def drop(self, received: ReceivedDeadLetter) -> None:
        """Delete the message."""
        with map_errors("DeleteMessage", _ERROR_MAP):
            await self._client.delete_message(QueueUrl=self._queue.url, ReceiptHandle=received.receipt)
        self._in_flight.pop(received.dead_letter.id, None)


async def redrive_all(
    client: "SQSClient", queue: DeadLetterQueue, report_progress: Callable[[int, int | None], None], every: float = 1.0
) -> int | None:
    """
    Redrive all messages with an SQS message move task. Returns the number of moved messages; None if the endpoint does
    not support move tasks or the role may not start one.

    The task names its destination, because messages that a worker sent to this queue have no source queue.
    *report_progress* gets (moved, planned) about once in *every* seconds. Raises ConfigurationError, TransientError.
    """
    with map_errors("StartMessageMoveTask", _ERROR_MAP):
        try:
            await client.start_message_move_task(SourceArn=queue.arn, DestinationArn=queue.source_arn)
        except ClientError as error:
            if error_codes(error) & _MOVE_UNAVAILABLE_CODES or _http_status(error) >= 500:  # noqa: PLR2004
                return None
            raise
    while True:
        task = await _latest_move_task(client, queue)
        moved, planned = int(task.get("ApproximateNumberOfMessagesMoved", 0)), task.get(_MESSAGES_TO_MOVE)
        report_progress(moved, None if planned is None else int(planned))
        if task.get("Status") == "COMPLETED":
            return moved
        if task.get("Status") in ("FAILED", "CANCELLED"):
            raise TransientError(f"the SQS message move task failed: {task.get('FailureReason') or task['Status']}")
        await asyncio.sleep(every)


async def _latest_move_task(client: "SQSClient", queue: DeadLetterQueue) -> dict[str, Any]:
    with map_errors("ListMessageMoveTasks", _ERROR_MAP):
        response = await client.list_message_move_tasks(SourceArn=queue.arn, MaxResults=1)
    results: Sequence[Any] = response.get("Results", [])
    if not results:
        raise TransientError("SQS did not return the status of its message move task")
    return dict(results[0])


def _http_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
