"""
A broker that behaves as RabbitMQ does where SQS differs, and a MessageSource on it.

* A message is held for as long as its connection is open; the broker has no visibility timeout. The source keeps a
  timer for each message, as every MessageSource has to: one that was not extended in time is redelivered.
* When the connection closes, all its messages are redelivered at once, in front, marked as redelivered.
* A released message waits in a delay queue, with one delay for all messages, and then counts one more receive.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from archiver.errors import LeaseLost, TransientError
from archiver.ports import Message, QueueFacts


@dataclass
class Delivery:
    """A message at the broker. *receives*: how often it was delivered before."""

    id: str
    body: str
    receives: int = 0


@dataclass
class Broker:
    """*delay*: seconds of the delay queue. `acknowledged` holds the ids of deleted messages, in order."""

    delay: float = 0.05
    clock: Callable[[], float] = time.monotonic
    ready: deque[Delivery] = field(default_factory=deque)
    delayed: list[tuple[float, Delivery]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def publish(self, body: str) -> None:
        self.ready.append(Delivery(f"message-{next(self.numbers)}", body))

    def take(self, limit: int) -> list[Delivery]:
        now = self.clock()
        self.ready.extend(delivery for at, delivery in self.delayed if at <= now)
        self.delayed = [(at, delivery) for at, delivery in self.delayed if at > now]
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]


class ConnectionSource:
    """The MessageSource of one connection at a time; `disconnect` closes it, and the next receive opens another."""

    facts = QueueFacts("amqp:/jobs", visibility=1, longest=1740.0, max_receives=5)

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._closed = asyncio.Event()
        self._held: dict[str, tuple[Delivery, float]] = {}
        self._tags = 0
        self.refusing = False  # the broker takes no new connection

    def disconnect(self) -> None:
        """Close the connection: what it held is another consumer's at once."""
        self._closed.set()
        self._closed = asyncio.Event()
        self._broker.ready.extendleft(reversed([delivery for delivery, _ in self._held.values()]))
        self._held.clear()

    async def receive(self, limit: int) -> list[Message]:
        if self.refusing:
            raise TransientError("connection refused")
        self._redeliver_expired()
        received_at, taken = time.monotonic(), self._broker.take(limit)
        if not taken:
            await asyncio.sleep(0.005)
        return [self._deliver(delivery, received_at) for delivery in taken]

    def _deliver(self, delivery: Delivery, received_at: float) -> Message:
        self._tags += 1
        tag = f"{id(self)}/{self._tags}"
        delivery = replace(delivery, receives=delivery.receives + 1)
        self._held[tag] = (delivery, self._broker.clock() + self.facts.visibility)
        count, now = delivery.receives, datetime.now(UTC)
        return Message(delivery.id, delivery.body, tag, received_at, count, now, gone=self._closed)

    def _redeliver_expired(self) -> None:
        for tag, (delivery, held_until) in list(self._held.items()):
            if self._broker.clock() > held_until:
                del self._held[tag]
                self._broker.ready.append(delivery)

    async def extend(self, message: Message, seconds: int) -> None:
        delivery = self._held_delivery(message)
        self._held[message.receipt] = (delivery, self._broker.clock() + seconds)

    async def release(self, message: Message, delay: int) -> None:
        delivery = self._held_delivery(message)
        del self._held[message.receipt]
        self._broker.delayed.append((self._broker.clock() + self._broker.delay, delivery))

    async def delete(self, message: Message) -> None:
        delivery = self._held_delivery(message)
        del self._held[message.receipt]
        self._broker.acknowledged.append(delivery.id)

    def _held_delivery(self, message: Message) -> Delivery:
        if message.receipt not in self._held:
            raise LeaseLost("the channel of this message is closed")
        return self._held[message.receipt][0]
