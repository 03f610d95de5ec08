"""The dead-letter queue: looked at without harm, sent back once mended, or dropped."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from archiver.aws.attributes import unwired, wire
from archiver.aws.error_mapping import DENIED, NO_QUEUE, NotThere, codes, table, translated
from archiver.aws.sqs import resolve_queue
from archiver.core.dead_letters import Reject
from archiver.errors import ArchiverError, ConfigurationFault, Temporary

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

HIDE = 120  # seconds for which a message is kept from others while the queue is looked through
BATCH = 10
_SECOND = timedelta(seconds=1)  # of which a date of HTTP is the beginning
_THERE = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_TO_MOVE = "ApproximateNumberOfMessagesToMove"
_SPECIAL = table(NotThere, NO_QUEUE) | table(ConfigurationFault, DENIED)
# A store that knows no move tasks, or a role that may not begin one.
_NO_MOVE = DENIED | {"InvalidAction", "UnsupportedOperation", "InternalError", "InternalFailure", "500", "501"}


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """
    Both ends: where rejected messages lie, and the source queue that they go back to. *peeking_counts*: it has a
    redrive policy of its own, by which each look counts as a receive. *opened_at* is SQS's own time.
    """

    url: str
    arn: str
    source_url: str
    source_arn: str
    peeking_counts: bool
    opened_at: datetime = datetime(9999, 1, 1, tzinfo=UTC)

    @property
    def fifo(self) -> bool:
        return self.arn.endswith(".fifo")


async def open_dead_letters(client: "SQSClient", source: str, named: str | None = None) -> DeadLetterQueue:
    """
    The dead-letter queue of *source*, or the queue *named*. Raises NotThere (also where *source* has none),
    ConfigurationFault, Temporary.
    """
    source_url = await resolve_queue(client, source)
    told, opened_at = await _attributes(client, source_url, source)
    redrive = json.loads(told.get("RedrivePolicy") or "{}")
    target = named or redrive.get("deadLetterTargetArn")
    if not target:
        raise NotThere(f"{source} has no dead-letter queue: give it a redrive policy, or name a queue with --queue")
    url = await resolve_queue(client, target)
    dead, _ = await _attributes(client, url, target)
    peeking_counts = bool(dead.get("RedrivePolicy"))
    return DeadLetterQueue(url, dead["QueueArn"], source_url, told["QueueArn"], peeking_counts, opened_at)


async def _attributes(client: "SQSClient", url: str, name: str) -> tuple[dict[str, str], datetime]:
    """All that SQS says of a queue, and when it said so."""
    with translated(f"GetQueueAttributes {name}", _SPECIAL):
        told = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    date = told["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        at = datetime.now(UTC)
    return {str(key): value for key, value in told.get("Attributes", {}).items()}, at


@dataclass(frozen=True, slots=True)
class Held:
    """A message in our hands: what it is, and the receipt to let it go with."""

    reject: Reject
    receipt: str


class Look:
    """
    One look through the queue: everything up to *limit* messages is held, so that none is seen twice, and let go at the
    end of the block (`async with`), unless it was deleted.

    A FIFO queue hands out no more of a message group while some of it is held: what stands behind is *hidden*, until
    those before it are sent back or dropped. So who acts does it at once, message by message.
    """

    def __init__(self, client: "SQSClient", queue: DeadLetterQueue, limit: int) -> None:
        self._client = client
        self._queue = queue
        self._limit = limit
        self._held: dict[str, Held] = {}
        self._seen: set[str] = set()
        self.complete = False
        self.hidden = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        receipts = [held.receipt for held in self._held.values()]
        for start in range(0, len(receipts), BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for n, receipt in enumerate(receipts[start : start + BATCH])
            ]
            try:
                with translated("ChangeMessageVisibilityBatch"):
                    await self._client.change_message_visibility_batch(QueueUrl=self._queue.url, Entries=entries)  # type: ignore[arg-type]
            except ArchiverError:
                return  # they come back by themselves

    async def messages(self) -> AsyncIterator[Held]:
        """
        Each message once. Afterwards `complete` says whether these were all, and `hidden` about how many a FIFO queue
        kept back. Raises as SQS does.
        """
        empty = 0
        while empty < 2:  # noqa: PLR2004 - an empty answer may be one server's: asked again, it is all of them
            found = await self._receive(min(BATCH, self._limit - len(self._seen)), wait=min(empty, 1))
            fresh = [held for held in found if held.reject.id not in self._seen]
            empty = 0 if fresh else empty + 1
            self._seen.update(held.reject.id for held in fresh)
            self._held.update((held.reject.id, held) for held in fresh)
            for held in fresh:
                yield held
            if len(self._seen) >= self._limit:
                return
        if self._queue.fifo:
            told, _ = await _attributes(self._client, self._queue.url, "the dead-letter queue")
            self.hidden = max(0, sum(int(told.get(name, 0)) for name in _THERE) - len(self._held))
        self.complete = not self.hidden

    def older(self, held: Held) -> bool:
        """
        Whether it was there before the look began: what was sent back may be rejected again, and come again, and again.
        """
        return held.reject.sent_at < self._queue.opened_at + _SECOND

    async def _receive(self, limit: int, wait: int) -> list[Held]:
        with translated("ReceiveMessage", _SPECIAL):
            told = await self._client.receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait,
                VisibilityTimeout=HIDE,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
        return [Held(Reject.of(message), message["ReceiptHandle"]) for message in told.get("Messages", [])]

    async def send_back(self, held: Held) -> None:
        """To the source queue, and only then away from here: killed between the two, it is done twice, never lost."""
        reject = held.reject
        fifo: dict[str, Any] = {}
        if self._queue.source_arn.endswith(".fifo"):
            fifo = {"MessageGroupId": reject.group or reject.id, "MessageDeduplicationId": f"redrive-{reject.id}"}
        with translated("SendMessage", _SPECIAL):
            await self._client.send_message(
                QueueUrl=self._queue.source_url,
                MessageBody=reject.body,
                MessageAttributes=wire(unwired(reject.attributes)),
                **fifo,
            )
        await self.drop(held)

    async def drop(self, held: Held) -> None:
        """Delete the message."""
        with translated("DeleteMessage", _SPECIAL):
            await self._client.delete_message(QueueUrl=self._queue.url, ReceiptHandle=held.receipt)
        self._held.pop(held.reject.id, None)


async def move_all(
    client: "SQSClient", queue: DeadLetterQueue, tell: Callable[[int, int | None], None], every: float = 1.0
) -> int | None:
    """
    Send everything back by SQS's own move task; how many were moved. None: there is no such task here.

    Its destination is named: messages that a worker sent here itself carry no source. *tell* hears (moved, of how many)
    about every second. Raises ConfigurationFault, Temporary.
    """
    with translated("StartMessageMoveTask", _SPECIAL):
        try:
            await client.start_message_move_task(SourceArn=queue.arn, DestinationArn=queue.source_arn)
        except ClientError as error:
            if codes(error) & _NO_MOVE or _status(error) >= 500:  # noqa: PLR2004
                return None
            raise
    while True:
        task = await _task(client, queue)
        moved, planned = int(task.get("ApproximateNumberOfMessagesMoved", 0)), task.get(_TO_MOVE)
        tell(moved, None if planned is None else int(planned))
        if task.get("Status") == "COMPLETED":
            return moved
        if task.get("Status") in ("FAILED", "CANCELLED"):
            raise Temporary(f"SQS's move task ended: {task.get('FailureReason') or task['Status']}")
        await asyncio.sleep(every)


async def _task(client: "SQSClient", queue: DeadLetterQueue) -> dict[str, Any]:
    with translated("ListMessageMoveTasks", _SPECIAL):
        told = await client.list_message_move_tasks(SourceArn=queue.arn, MaxResults=1)
    results: Sequence[Any] = told.get("Results", [])
    if not results:
        raise Temporary("SQS does not tell how its move task goes")
    return dict(results[0])


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
