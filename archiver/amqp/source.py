"""
The MessageSource of a RabbitMQ queue.

Messages are pulled, each on a channel of its own, which is closed when the message is settled: what ends one channel
(the broker's acknowledgement timeout, a wrong acknowledgement) costs no other job its message. A closed channel makes
`Message.gone` true at once, because the broker redelivers in milliseconds.

A message that is `redelivered` was lost by a worker that ended, or by a connection. The broker does not count that, so
the message is first sent through the delay queue, which does; the mark is gone then. A message that kills its workers
so comes back at most as often as any other.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Self

import structlog

from archiver.amqp import delivery
from archiver.amqp.connection import CALL_TIMEOUT, Channel, Connection
from archiver.amqp.faults import LOST, lease_errors, map_errors
from archiver.amqp.topology import Topology
from archiver.core.amqp_rules import amqp_source_id
from archiver.errors import ArchiverError, ConfigurationError, LeaseLost, TransientError
from archiver.ports import Message, QueueFacts

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage
    from pamqp.commands import Basic

VISIBILITY = 30  # seconds; shorter than the heartbeat after which the broker redelivers
MIN_VISIBILITY = 2
ACK_MARGIN = 60.0  # seconds before the broker's acknowledgement timeout, at most
MIN_PAUSE, MAX_PAUSE = 0.05, 1.0  # seconds between two looks at an empty queue
EXPIRY_LOOKS = 20  # at expired messages, in each visibility timeout
TRUST = 1.0  # seconds that the delay queue is there after it was looked for
MAX_RETURNING = 100  # messages that are held for their delay


def read_facts(vhost: str, queue: str, ack_timeout: int, max_receives: int | None) -> QueueFacts:
    """
    Return the facts of *queue*. *ack_timeout*: the broker's `consumer_timeout`, in seconds. *max_receives*: None if
    nobody counts receives.
    """
    longest = ack_timeout - min(ACK_MARGIN, ack_timeout / 4)
    return QueueFacts(
        id=amqp_source_id(vhost, queue),
        visibility=int(min(VISIBILITY, max(MIN_VISIBILITY, longest // 3))),
        longest=longest,
        max_receives=max_receives,
        redrives=False,
    )


@dataclass(eq=False, slots=True)
class Held:
    """
    A message that is not settled yet. *gone* is set when its channel closes. *expires_at*: monotonic; the message is
    given back then, unless it is extended.
    """

    channel: Channel
    delivered: "DeliveredMessage"
    received_at: float
    gone: asyncio.Event
    expires_at: float

    @property
    def tag(self) -> int:
        return int(self.delivered.delivery_tag or 0)

    @property
    def properties(self) -> "Basic.Properties":
        return self.delivered.header.properties

    def check(self) -> None:
        """Raises LeaseLost if the broker redelivers the message."""
        if self.gone.is_set() or self.channel.is_closed:
            raise LeaseLost(LOST)


class _Spare:
    """A channel that no message has come through yet."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.channel: Channel | None = None


class AmqpSource:
    """
    A MessageSource on *queue*. *delay*: seconds after which the delay queue returns a rejected message; None if there
    is no such queue: then a released message is requeued, after a wait here. *wait_seconds*: of one receive.
    """

    def __init__(
        self, connection: Connection, queue: str, facts: QueueFacts, *, wait_seconds: float, delay: float | None
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._facts = facts if delay is not None else replace(facts, max_receives=None)
        self._wait = min(wait_seconds, facts.visibility / 2)
        self._delay = delay
        self._delay_until = 0.0
        self._topology = Topology(connection, queue)
        self._held: dict[str, Held] = {}
        self._spare: _Spare | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._expiring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._expiring = asyncio.create_task(self._expire(), name="amqp.expire")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back what waits for its delay. What is still held is redelivered when the connection is closed."""
        self._closing.set()
        tasks = [*self._returning, *([self._expiring] if self._expiring else [])]
        if tasks:
            await asyncio.wait(tasks)

    @property
    def facts(self) -> QueueFacts:
        return self._facts

    def delivered(self, message: Message) -> "DeliveredMessage | None":
        """Return *message* as the broker delivered it, while it is held."""
        held = self._held.get(message.receipt)
        return None if held is None else held.delivered

    async def receive(self, limit: int) -> list[Message]:
        begun = time.monotonic()
        messages: list[Message] = []
        pause = MIN_PAUSE
        while len(messages) < limit:
            try:
                held = await self._get(begun)
            except (TransientError, ConfigurationError):
                if messages:
                    break  # the next receive meets it again
                raise
            if held is None or await self._sent_through_delay(held):
                left = begun + self._wait - time.monotonic()
                if messages or left <= 0:
                    break
                if held is None:
                    await asyncio.sleep(min(pause, left))
                    pause = min(2 * pause, MAX_PAUSE)
                continue
            messages.append(self._message(held))
        return messages

    async def extend(self, message: Message, seconds: int) -> None:
        held = self._find(message)
        if time.monotonic() + seconds > held.received_at + self._facts.longest:
            raise LeaseLost("the broker's acknowledgement timeout ends sooner")
        before = time.monotonic()
        await self._connection.prove()
        held.check()
        held.expires_at = before + seconds

    async def release(self, message: Message, delay: int) -> None:
        held = self._find(message)
        left = held.received_at + self._facts.longest - time.monotonic()
        wait = min(delay - (self._delay or 0.0), left)
        del self._held[message.receipt]
        if wait <= 0 or self._closing.is_set() or len(self._returning) >= MAX_RETURNING:
            await self._give_back(held)
            return
        task = asyncio.create_task(self._give_back_later(held, wait), name=f"amqp.release.{message.id}")
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def delete(self, message: Message) -> None:
        held = self._find(message)
        with lease_errors("basic.ack"):
            async with asyncio.timeout(CALL_TIMEOUT):
                await held.channel.wire.basic_ack(held.tag)
            await held.channel.confirm()
        del self._held[message.receipt]
        await self._close(held)

    def _find(self, message: Message) -> Held:
        held = self._held.get(message.receipt)
        if held is None:
            raise LeaseLost(LOST)
        try:
            held.check()
        except LeaseLost:
            del self._held[message.receipt]
            raise
        return held

    async def _get(self, received_at: float) -> Held | None:
        try:
            spare = self._spare
            if spare is None or spare.channel is None or spare.channel.is_closed:
                spare = self._spare = _Spare()
                spare.channel = await self._connection.channel(spare.gone.set)
            with map_errors(f"basic.get {self._queue}"):
                delivered = await spare.channel.wire.basic_get(self._queue, timeout=CALL_TIMEOUT)
        except TransientError:
            self._connection.doubt()
            raise
        if delivered.delivery_tag is None:  # the queue is empty
            return None
        self._spare = None
        expires_at = time.monotonic() + self._facts.visibility
        return Held(spare.channel, delivered, received_at, spare.gone, expires_at)

    async def _sent_through_delay(self, held: Held) -> bool:
        """Send a message that a worker lost through the delay queue, if there is one: that counts its receive."""
        if not held.delivered.redelivered or not await self._can_delay(held):
            return False
        try:
            await self._give_back(held)
        except ArchiverError as error:
            raise TransientError(str(error)) from error
        return True

    def _message(self, held: Held) -> Message:
        receipt = token_hex(16)
        self._held[receipt] = held
        properties, raw = held.properties, held.delivered.body
        body = delivery.read_message(properties, raw)
        counted = delivery.count_receives(properties, self._queue)
        return Message(
            id=delivery.message_id(properties, raw),
            body=body.text,
            receipt=receipt,
            received_at=held.received_at,
            receive_count=max(counted, 2) if held.delivered.redelivered else counted,
            sent_at=delivery.sent_at(properties, datetime.now(UTC)),
            attributes=delivery.read_attributes(properties),
            gone=held.gone,
            problem=body.problem,
        )

    async def _expire(self) -> None:
        """Close the channels of messages that nobody extends: the worker has forgotten them."""
        while not self._closing.is_set():
            now = time.monotonic()
            for receipt, held in list(self._held.items()):
                if held.expires_at <= now or held.gone.is_set():
                    self._held.pop(receipt, None)
                    await self._close(held)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._facts.visibility / EXPIRY_LOOKS):
                    await self._closing.wait()

    async def _give_back_later(self, held: Held, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        with suppress(ArchiverError):  # its channel is closed: the broker has redelivered it
            await self._give_back(held)

    async def _give_back(self, held: Held) -> None:
        """Reject *held* to the delay queue; without one, requeue it. Raises LeaseLost, TransientError."""
        held.check()
        requeue = not await self._can_delay(held)
        with lease_errors("basic.reject"):
            async with asyncio.timeout(CALL_TIMEOUT):
                await held.channel.wire.basic_reject(held.tag, requeue=requeue)
            await held.channel.confirm()
        await self._close(held)

    async def _can_delay(self, held: Held) -> bool:
        """
        Whether *held* may be rejected, and there is a delay queue now: the broker drops what is rejected to one that
        was deleted.
        """
        if delivery.has_forged_deaths(held.properties):
            return False
        if self._delay is not None and time.monotonic() > self._delay_until:
            try:
                await self._topology.find_delay()
            except ConfigurationError as error:
                log.error("amqp.no_delay_queue", reason=str(error))
                return False
            except TransientError:
                return False
            self._delay_until = time.monotonic() + TRUST
        return self._delay is not None

    async def _close(self, held: Held) -> None:
        """Close the channel of a settled message. A failure changes nothing: the broker has processed the rest."""
        with suppress(TransientError, ConfigurationError), map_errors("channel.close"):
            await held.channel.close()
