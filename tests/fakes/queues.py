"""In-memory SQS: the source queue, its dead-letter queue, and the answer queue."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from archiver.aws.attributes import (
    CODE_ATTRIBUTE,
    REASON_ATTRIBUTE,
    attributes_size,
    valid_attributes,
    with_error_attributes,
)
from archiver.errors import LeaseLost, Undeliverable
from archiver.ports import Attribute, JobResult, Message, OutgoingMessage, QueueFacts, Rejection
from fakes.faults import Clock, Faults

MAX_IN_FLIGHT_SECONDS = 43_200
MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass
class _Queued:
    message: Message
    visible_at: float
    received_at: float = 0.0


class FakeQueue:
    """
    A MessageSource and its queue. A receipt becomes stale with the next receive. A message that was received
    `facts.max_receives` times is moved to *dead_letters* instead of being received again.
    """

    def __init__(
        self,
        facts: QueueFacts | None = None,
        *,
        dead_letters: "FakeQueue | None" = None,
        clock: Clock = time.monotonic,
        wait_seconds: float = 0.01,
    ) -> None:
        self.facts = facts or QueueFacts("arn:aws:sqs:eu-west-1:123456789012:source", 30, MAX_IN_FLIGHT_SECONDS)
        self.dead_letters = dead_letters
        self.faults = Faults()
        self.extended: list[tuple[str, int]] = []
        self.released: list[tuple[str, int]] = []
        self.deleted: list[str] = []
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._queue: dict[str, _Queued] = {}
        self._numbers = itertools.count(1)

    def put(self, body: str, attributes: Mapping[str, Attribute] | None = None, group: str | None = None) -> str:
        """Send a message, and return its id."""
        name = f"message-{next(self._numbers)}"
        sent_at = datetime.now(UTC)
        message = Message(name, body, "", 0.0, 0, sent_at, group=group, attributes=dict(attributes or {}))
        self._queue[name] = _Queued(message, visible_at=self._clock())
        return name

    @property
    def messages(self) -> list[Message]:
        """All messages in the queue, visible or not, oldest first."""
        return [queued.message for queued in self._queue.values()]

    @property
    def visible(self) -> list[str]:
        """Ids of the messages that could be received now."""
        return [name for name, queued in self._queue.items() if queued.visible_at <= self._clock()]

    def make_visible(self) -> None:
        """Make every message visible, as an expired visibility timeout would."""
        for queued in self._queue.values():
            queued.visible_at = self._clock()

    async def receive(self, limit: int) -> list[Message]:
        received_at = self._clock()
        async with self.faults("receive"):
            if not self.visible:
                await asyncio.sleep(self._wait_seconds)
            self._redrive()
            return [self._hand_out(self._queue[name], received_at) for name in self.visible[:limit]]

    async def extend(self, message: Message, seconds: int) -> None:
        async with self.faults("extend"):
            self._hide(message, seconds)
            self.extended.append((message.id, seconds))

    async def release(self, message: Message, delay: int) -> None:
        async with self.faults("release"):
            self._hide(message, delay)
            self.released.append((message.id, delay))

    def _hide(self, message: Message, seconds: int) -> None:
        queued = self._in_flight(message)
        if self._clock() + seconds > queued.received_at + MAX_IN_FLIGHT_SECONDS:
            raise LeaseLost("a message can be in flight for at most 12 hours")
        queued.visible_at = self._clock() + seconds

    async def delete(self, message: Message) -> None:
        async with self.faults("delete"):
            if message.id in self._queue:
                self._in_flight(message)
                del self._queue[message.id]
                self.deleted.append(message.id)

    def _redrive(self) -> None:
        max_receives = self.facts.max_receives
        for name in self.visible:
            queued = self._queue[name].message
            if max_receives is not None and self.dead_letters is not None and queued.receive_count >= max_receives:
                del self._queue[name]
                self.dead_letters.put(queued.body, queued.attributes, queued.group)

    def _hand_out(self, queued: _Queued, received_at: float) -> Message:
        message = queued.message
        count = message.receive_count + 1
        first = message.first_received or str(int(time.time() * 1000))
        passed_on = {
            name: value for name, value in message.attributes.items() if name not in (CODE_ATTRIBUTE, REASON_ATTRIBUTE)
        }
        received = replace(message, receipt=f"{message.id}/{count}", receive_count=count, first_received=first)
        queued.message = received
        queued.received_at = self._clock()
        queued.visible_at = queued.received_at + self.facts.visibility
        return replace(received, received_at=received_at, attributes=passed_on)

    def _in_flight(self, message: Message) -> _Queued:
        queued = self._queue.get(message.id)
        if queued is None or queued.message.receipt != message.receipt or queued.visible_at <= self._clock():
            raise LeaseLost("the receipt is stale")
        return queued


class FakeDeadLetters:
    """A DeadLetters that sends to *queue*; None: the source queue has no dead-letter queue."""

    def __init__(self, queue: FakeQueue | None) -> None:
        self.faults = Faults()
        self._queue = queue

    async def put(self, message: Message, rejection: Rejection) -> None:
        async with self.faults("put"):
            if self._queue is None:
                raise Undeliverable("the source queue has no dead-letter queue")
            free = MAX_MESSAGE_BYTES - len(message.body.encode())
            attributes = with_error_attributes(message.attributes, rejection.code, rejection.message, free, message.id)
            self._queue.put(message.body, attributes, rejection.group)


class FakeObserver:
    """An Observer: `seen` holds the results of all jobs, in order."""

    def __init__(self) -> None:
        self.seen: list[JobResult] = []

    def ended(self, job: JobResult) -> None:
        self.seen.append(job)


class FakeNotifier:
    """A Notifier: `sent` holds every answer that was accepted, in order."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self.limit = limit
        self.sent: list[OutgoingMessage] = []
        self.faults = Faults()

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Return the number of bytes left for a body next to *attributes*."""
        return self.limit - attributes_size(valid_attributes(attributes))

    async def send(self, note: OutgoingMessage) -> None:
        async with self.faults("send"):
            self.sent.append(replace(note, attributes=valid_attributes(note.attributes)))
