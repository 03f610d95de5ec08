"""A broker in memory, as `archiver.amqp` sees one: connections, channels, queues and exchanges; it keeps no time."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiormq import spec
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
)

from archiver.amqp.connection import Address

Properties = spec.Basic.Properties


@dataclass
class Delivered:
    """What `basic_get` returns."""

    body: bytes
    properties: Properties
    delivery_tag: int | None = None
    redelivered: bool = False

    @property
    def header(self) -> Any:
        return self


@dataclass
class FakeBroker:
    """
    *queues* and *exchanges* by name, with their arguments; *refused*: names that may not be declared. Rejected messages
    are in *rejected*, published ones in *published*. *full*: queues that refuse what is published.
    """

    queues: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    exchanges: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bindings: set[tuple[str, str, str]] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    messages: dict[str, list[Delivered]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[Delivered] = field(default_factory=list)
    acknowledged: list[Delivered] = field(default_factory=list)
    published: list[tuple[str, str, bytes, Properties]] = field(default_factory=list)

    def put(self, queue: str, body: bytes, **properties: Any) -> None:
        self.queues.setdefault(queue, {})
        self.messages[queue].append(Delivered(body, Properties(**properties)))


class FakeWire:
    """
    One channel's lower half. A refused call closes it. Without *confirms*, publishing returns before the broker has the
    message: what it refuses is lost.
    """

    def __init__(self, broker: FakeBroker, on_close: Callable[[], None], *, confirms: bool = True) -> None:
        self._broker = broker
        self._on_close = on_close
        self._confirms = confirms
        self._tags = itertools.count(1)
        self._held: dict[int, tuple[str, Delivered]] = {}
        self.is_closed = False

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            for queue, message in self._held.values():
                message.redelivered = True
                self._broker.messages[queue].insert(0, message)
            self._held.clear()
            self._on_close()

    def _refuse(self, error: Exception) -> None:
        self.close()
        raise error

    def _check(self) -> None:
        if self.is_closed:
            raise ChannelInvalidStateError("closed")

    async def basic_get(self, queue: str, **_: Any) -> Delivered:
        self._check()
        if queue not in self._broker.queues:
            self._refuse(ChannelNotFoundEntity(f"NOT_FOUND - no queue '{queue}'"))
        if not self._broker.messages[queue]:
            return Delivered(b"", Properties())
        message = self._broker.messages[queue].pop(0)
        message.delivery_tag = next(self._tags)
        self._held[message.delivery_tag] = queue, message
        return message

    def _take(self, tag: int) -> tuple[str, Delivered]:
        self._check()
        if tag not in self._held:
            self._refuse(ChannelPreconditionFailed("PRECONDITION_FAILED - unknown delivery tag"))
        return self._held.pop(tag)

    async def basic_ack(self, tag: int) -> None:
        self._broker.acknowledged.append(self._take(tag)[1])

    async def basic_reject(self, tag: int, *, requeue: bool) -> None:
        queue, message = self._take(tag)
        if requeue:
            message.redelivered = True
            self._broker.messages[queue].append(message)
        else:
            self._broker.rejected.append(message)

    async def basic_qos(self, **_: Any) -> None:
        self._check()

    async def queue_declare(
        self, name: str, *, passive: bool = False, arguments: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        self._declare(self._broker.queues, name, dict(arguments or {}), passive=passive)

    async def exchange_declare(
        self, name: str, *, passive: bool, arguments: Mapping[str, Any], exchange_type: str, **_: Any
    ) -> None:
        self._declare(self._broker.exchanges, name, {"type": exchange_type, **arguments}, passive=passive)

    def _declare(
        self, there: dict[str, Mapping[str, Any]], name: str, arguments: Mapping[str, Any], *, passive: bool
    ) -> None:
        self._check()
        if passive:
            if name not in there:
                self._refuse(ChannelNotFoundEntity(f"NOT_FOUND - no '{name}'"))
            return
        if name in self._broker.refused:
            self._refuse(ChannelAccessRefused(f"ACCESS_REFUSED - access to '{name}'"))
        if there.setdefault(name, arguments) != arguments:
            self._refuse(ChannelPreconditionFailed(f"PRECONDITION_FAILED - inequivalent arg for '{name}'"))

    async def queue_bind(self, queue: str, exchange: str, key: str, **_: Any) -> None:
        self._broker.bindings.add((queue, exchange, key))

    async def basic_publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Properties, mandatory: bool, **_: Any
    ) -> None:
        self._check()
        assert mandatory
        properties.marshal()  # raises what the client raises
        if not self._confirms:
            return
        if exchange and exchange not in self._broker.exchanges:
            self._refuse(ChannelNotFoundEntity(f"NOT_FOUND - no exchange '{exchange}'"))
        if len(body) > 1 << 27:
            self._refuse(ChannelPreconditionFailed("PRECONDITION_FAILED - message size"))
        if routing_key in self._broker.full:
            raise DeliveryError(None, spec.Basic.Nack(delivery_tag=1))
        self._broker.published.append((exchange, routing_key, body, properties))


class FakeChannel:
    """The `Channel` of archiver.amqp.connection."""

    def __init__(self, wire: FakeWire) -> None:
        self.wire = wire

    @property
    def is_closed(self) -> bool:
        return self.wire.is_closed

    async def confirm(self, seconds: float = 10.0) -> None:
        await self.wire.basic_qos()

    async def close(self) -> None:
        self.wire.close()


class FakeConnection:
    """The `Connection` of archiver.amqp.connection. *errors*: what the next openings of channels raise."""

    def __init__(self, broker: FakeBroker) -> None:
        self.address = Address("127.0.0.1", 5672, "/", "guest", "guest")
        self.broker = broker
        self.channels: list[FakeChannel] = []
        self.errors: list[Exception] = []
        self.blocked = False
        self.frame_max = 131_072
        self.proofs = self.doubts = 0

    async def connect(self) -> str:
        return "3.10.8"

    async def channel(self, on_close: Callable[[], None] = lambda: None, *, confirms: bool = False) -> FakeChannel:
        if self.errors:
            raise self.errors.pop(0)
        channel = FakeChannel(FakeWire(self.broker, on_close, confirms=confirms))
        self.channels.append(channel)
        return channel

    async def prove(self) -> None:
        self.proofs += 1

    def doubt(self) -> None:
        self.doubts += 1

    async def is_blocked(self) -> bool:
        return self.blocked

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()
