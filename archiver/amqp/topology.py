"""
The exchanges and queues of a worker, with the names and arguments that the Media Cloud AI SDK and its backend declare.

    job_submit ─▶ {queue} ─(rejected)─▶ job_delayed ─(after 5 s)─▶ {queue}        job_response ─▶ queues for replies
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from archiver.amqp.connection import CALL_TIMEOUT, Connection
from archiver.amqp.faults import AccessRefused, EntityMissing, map_errors
from archiver.core.amqp_rules import DELAYED, RESPONSE, SUBMIT

log = structlog.get_logger(__name__)

DELAY = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """*essential*: the worker depends on its type, so one that exists must be the same."""

    name: str
    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    essential: bool = False


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """*bound*: the exchange and the routing key that it is bound to. *essential*: as above, for its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bound: tuple[str, str] | None = None
    essential: bool = True


def exchanges() -> list[ExchangeSpec]:
    """The exchanges, durable all."""
    return [
        ExchangeSpec(SUBMIT, "topic", {"alternate-exchange": "job_queue_not_found"}),
        ExchangeSpec(RESPONSE, "topic", {"alternate-exchange": "job_response_not_found"}),
        ExchangeSpec(DELAYED, "fanout", essential=True),
        ExchangeSpec("direct_messaging", "headers", {"alternate-exchange": "direct_messaging_not_found"}),
    ]


def queues(queue: str, delay: float = DELAY) -> list[QueueSpec]:
    """The queue that is read, and the one that rejected messages wait in for *delay* seconds."""
    arguments = {"x-dead-letter-exchange": DELAYED, "x-dead-letter-routing-key": queue, "x-max-priority": 100}
    delaying = {"x-dead-letter-exchange": "", "x-message-ttl": round(delay * 1000)}
    return [
        QueueSpec(DELAYED, delaying, (DELAYED, "*")),
        QueueSpec(queue, arguments, (SUBMIT, queue)),
    ]


class Topology:
    """Declares the exchanges and queues of *queue*. *delay*: seconds that a rejected message waits."""

    def __init__(self, connection: Connection, queue: str, delay: float = DELAY) -> None:
        self._connection = connection
        self._queue = queue
        self._delay = delay

    async def declare(self) -> bool:
        """
        Create what is missing, and compare what the worker depends on. Return whether the queue is ours: its rejected
        messages come back after a delay. It is not if the broker does not let us declare it.

        Raises Mismatch, EntityMissing (missing, and may not be created), ConfigurationError, TransientError.
        """
        for exchange in exchanges():
            await self._declare_exchange(exchange)
        return all([await self._declare_queue(queue) for queue in queues(self._queue, self._delay)])

    async def find(self) -> None:
        """Check that the queue exists, and declare nothing. Raises as `declare` does."""
        await self.find_queue(self._queue)

    async def find_queue(self, name: str) -> None:
        """Check that the queue *name* exists. Raises as above."""
        channel = await self._connection.channel()  # a refusal closes it
        with map_errors(f"the queue {name}"):
            await channel.wire.queue_declare(name, passive=True, timeout=CALL_TIMEOUT)
            await channel.close()

    async def find_delay(self) -> None:
        """Check that the way of rejected messages exists, its exchange and its queue. Raises as above."""
        delayed = next(spec for spec in exchanges() if spec.name == DELAYED)
        await self._exchange(delayed, passive=True)
        await self.find_queue(DELAYED)

    async def compare_queue(self, name: str) -> None:
        """Check that the queue *name*, which exists, has the arguments that the worker needs. Raises as above."""
        spec = next(spec for spec in queues(self._queue, self._delay) if spec.name == name)
        await self._create_and_bind(replace(spec, bound=None))

    async def create_queue(self, name: str) -> None:
        """Create a durable queue, unless *name* exists, whatever its arguments. Raises as above."""
        await self._declare_queue(QueueSpec(name, essential=False))

    async def _declare_exchange(self, spec: ExchangeSpec) -> None:
        there = True
        try:
            await self._exchange(spec, passive=True)
        except EntityMissing:
            there = False
        if not there or spec.essential:
            try:
                await self._exchange(spec, passive=False)
            except AccessRefused as error:
                if not there:
                    raise EntityMissing(f"{error}: create it, or let this user configure it") from error

    async def _declare_queue(self, spec: QueueSpec) -> bool:
        there = True
        try:
            await self.find_queue(spec.name)
        except EntityMissing:
            there = False
        if there and not spec.essential:
            return True
        try:
            await self._create_and_bind(spec)
        except AccessRefused as error:
            if not there:
                raise EntityMissing(f"{error}: create it, or let this user configure it") from error
            log.warning("amqp.not_declared", queue=spec.name, reason=str(error))
            return False
        return True

    async def _exchange(self, spec: ExchangeSpec, *, passive: bool) -> None:
        channel = await self._connection.channel()
        with map_errors(f"the exchange {spec.name}"):
            await channel.wire.exchange_declare(
                spec.name,
                exchange_type=spec.type,
                passive=passive,
                durable=True,
                arguments=dict(spec.arguments),
                timeout=CALL_TIMEOUT,
            )
            await channel.close()

    async def _create_and_bind(self, spec: QueueSpec) -> None:
        channel = await self._connection.channel()
        with map_errors(f"the queue {spec.name}"):
            await channel.wire.queue_declare(
                spec.name, durable=True, arguments=dict(spec.arguments), timeout=CALL_TIMEOUT
            )
            if spec.bound is not None:
                exchange, key = spec.bound
                await channel.wire.queue_bind(spec.name, exchange, key, timeout=CALL_TIMEOUT)
            await channel.close()
