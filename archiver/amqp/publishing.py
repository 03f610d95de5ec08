"""
Publishing with confirms: replies, dead letters and requests.

The connection is another one than that of the source: RabbitMQ stops reading from a connection that publishes while it
is short of memory or disk, and the jobs' leases need theirs.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog
from aiormq import spec
from aiormq.exceptions import ChannelPreconditionFailed

from archiver.amqp.connection import Channel, Connection
from archiver.amqp.delivery import (
    CORRELATION_ID,
    MAX_BODY_BYTES,
    message_id,
    rejected_headers,
    short_text,
    to_headers,
    within_frame,
)
from archiver.amqp.faults import map_errors
from archiver.core.amqp_rules import DISCOVERY
from archiver.errors import ConfigurationError, TransientError, Undeliverable
from archiver.ports import Attribute, Message, OutgoingMessage, Rejection

if TYPE_CHECKING:
    from archiver.amqp.source import AmqpSource

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT = 10.0  # seconds until the broker's confirmation
APPLICATION = "archiver"
PERSISTENT = 2
PROGRESS_STATUSES = ("accepted", "waiting", "building")

_BLOCKED = "the broker takes no messages at present (its alarm for memory or disk): free some on its host"


class PublishingBlocked(TransientError):
    """The broker has an alarm: it takes no messages until it has memory and disk again."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message is published to: "" is the exchange that leads to queues by their names."""

    exchange: str
    key: str

    def __str__(self) -> str:
        return f"{self.exchange}/{self.key}" if self.exchange else f"the queue {self.key}"


class Publisher:
    """Publishes on one channel of *connection*, which it opens when needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        # The client finds out by its id which message was returned: two of one id must not be under way.
        self._ids: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def publish(self, route: Route, body: bytes, properties: spec.Basic.Properties) -> None:
        """
        Return once the broker has confirmed the message, in a queue. Raises ConfigurationError (no queue takes it, the
        exchange is missing, refused), Undeliverable (too large), TransientError.
        """
        if not properties.message_id:
            raise AssertionError
        lock = self._ids.setdefault(properties.message_id, asyncio.Lock())
        async with lock:
            if await self._connection.is_blocked():
                raise PublishingBlocked(f"publishing to {route}: {_BLOCKED}")
            try:
                with map_errors(f"publishing to {route}"):
                    channel = await self._open()
                    await self._send(channel, route, body, within_frame(properties, self._connection.frame_max))
            except TransientError as error:
                if await self._connection.is_blocked():
                    raise PublishingBlocked(f"publishing to {route}: {_BLOCKED}") from error
                raise

    async def _send(self, channel: Channel, route: Route, body: bytes, properties: spec.Basic.Properties) -> None:
        try:
            await channel.wire.basic_publish(
                body,
                exchange=route.exchange,
                routing_key=route.key,
                properties=properties,
                mandatory=True,
                timeout=PUBLISH_TIMEOUT,
            )
        except ChannelPreconditionFailed as error:  # its size: there is nothing else that the broker compares
            raise Undeliverable(f"publishing to {route}: {error}") from error

    async def _open(self) -> Channel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._connection.channel(confirms=True)
            return self._channel


def make_properties(identifier: str, attributes: Mapping[str, Attribute]) -> spec.Basic.Properties:
    """Return the properties of a persistent JSON message with the id *identifier*."""
    correlation_id = attributes.get(CORRELATION_ID)
    others = {name: one for name, one in attributes.items() if name != CORRELATION_ID}
    return spec.Basic.Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=short_text(identifier),
        correlation_id=short_text(str(correlation_id.value)) if correlation_id else None,
        timestamp=datetime.now(UTC),
        app_id=APPLICATION,
        headers=to_headers(others) or None,
    )


async def announce(publisher: Publisher, description: Mapping[str, object]) -> None:
    """Publish what this worker tells of itself to the queue for that, if there is one. A failure is logged."""
    properties = make_properties(token_hex(16), {})
    try:
        await publisher.publish(Route("", DISCOVERY), json.dumps(description).encode(), properties)
    except (ConfigurationError, TransientError, Undeliverable) as error:
        log.info("amqp.not_announced", reason=str(error))


class AmqpNotifier:
    """A Notifier that publishes to an exchange with one routing key."""

    def __init__(self, publisher: Publisher, exchange: str, key: str) -> None:
        self._publisher = publisher
        self._route = Route(exchange, key)

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002 - headers have a limit of their own
        return MAX_BODY_BYTES

    async def send(self, note: OutgoingMessage) -> None:
        properties = make_properties(note.id, note.attributes)
        await self._publisher.publish(self._route, note.body.encode(), properties)


class AmqpProgress(AmqpNotifier):
    """The same, for progress events alone: the answers have routing keys of their own."""

    async def send(self, note: OutgoingMessage) -> None:
        if note.status in PROGRESS_STATUSES:
            await super().send(note)


class AmqpDeadLetters:
    """The DeadLetters of *source*: a queue that rejected messages are published to, with the reason as headers."""

    def __init__(self, publisher: Publisher, source: "AmqpSource", queue: str) -> None:
        self._publisher = publisher
        self._source = source
        self._route = Route("", queue)

    async def put(self, message: Message, rejection: Rejection) -> None:
        delivered = self._source.delivered(message)
        if delivered is None:
            raise TransientError("the message is not held any more")
        given, body = delivered.header.properties, delivered.body
        # Not its expiration, which would end it there too, and not its user, which the broker compares with ours.
        properties = spec.Basic.Properties(
            content_type=_short(given.content_type),
            content_encoding=_short(given.content_encoding),
            correlation_id=_short(given.correlation_id),
            delivery_mode=PERSISTENT,
            headers=rejected_headers(given, rejection.code, rejection.message, message.id),
            message_id=short_text(message_id(given, body)),
            message_type=_short(given.message_type),
            app_id=_short(given.app_id),
            timestamp=given.timestamp,
        )
        try:
            await self._publisher.publish(self._route, body, properties)
        except ConfigurationError as error:
            raise Undeliverable(f"no dead-letter queue takes the message: {error}") from error


def _short(text: str | None) -> str | None:
    return None if text is None else short_text(text)  # decoding with replacement characters makes it longer
