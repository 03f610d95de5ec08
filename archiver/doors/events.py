"""The door of AWS events: each message is a source of its own, which the function's answer settles."""

import math
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from archiver.aws.attributes import from_sqs
from archiver.core.events import EventMessage
from archiver.errors import LeaseLost, Undeliverable
from archiver.ports import Attribute, DeadLetters, Message, OutgoingMessage, QueueFacts, Rejection

if TYPE_CHECKING:
    from archiver.aws.event_queues import EventQueue

log = structlog.get_logger(__name__)

VISIBILITY = 10  # seconds: a look at the clock, no call
MAX_ANSWER_BYTES = 5 * 1024 * 1024  # what a function returns may have 6 MB ("Lambda quotas")
_MARGIN_FRACTION, _MAX_MARGIN = 0.1, 10.0  # of the time that is left, for what comes after the last job


def event_facts(source: str, seconds: float, queue: "EventQueue | None", max_receives: int | None = None) -> QueueFacts:
    """
    Return the properties of *source* in an invocation of which *seconds* are left. The *queue* hides its messages for
    its visibility timeout; after *max_receives* (default: its own) it gives up.
    """
    longest = seconds - min(_MAX_MARGIN, seconds * _MARGIN_FRACTION) if math.isfinite(seconds) else seconds
    facts = queue.facts if queue else None
    if facts is not None and math.isfinite(seconds):
        longest = min(longest, facts.visibility)
    receives = max_receives or (facts.max_receives if facts else None)
    return QueueFacts(source, VISIBILITY, longest, receives)


def job_ends_at(message: Message, facts: QueueFacts) -> float:
    """Return when the job of *message* must have ended, by the clock of `received_at`; as its lease reckons."""
    return message.received_at + facts.longest - min(2 * facts.visibility, facts.longest / 4)


def to_message(event: EventMessage, received_at: float) -> Message:
    return Message(
        id=event.id,
        body=event.body,
        receipt=event.receipt,
        received_at=received_at,
        receive_count=event.receive_count,
        sent_at=event.sent_at,
        first_received=event.first_received,
        group=event.group,
        attributes=_attributes(event.attributes),
        trace_header=event.trace_header,
    )


def _attributes(told: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the attributes as an event has them, without those that have no text and no bytes."""
    found: dict[str, dict[str, Any]] = {}
    for name, one in told.items():
        kind, text, data = (_text(one, key) for key in ("dataType", "stringValue", "binaryValue"))
        if kind and data is not None:
            try:
                found[name] = {"DataType": kind, "BinaryValue": b64decode(data, validate=True)}
            except NotBase64Error:
                continue
        elif kind and text is not None:
            found[name] = {"DataType": kind, "StringValue": text}
    return from_sqs(found)


def _text(one: object, key: str) -> str | None:
    value = one.get(key) if isinstance(one, dict) else None
    return value if isinstance(value, str) else None


class EventSource:
    """A MessageSource of one message of an event, received by Lambda. *is_settled*: it is not to come again."""

    def __init__(
        self, message: Message, facts: QueueFacts, queue: "EventQueue | None", clock: Callable[[], float] = monotonic
    ) -> None:
        self.is_settled = False
        self._message: Message | None = message
        self._facts = facts
        self._queue = queue
        self._ends_at = message.received_at + facts.longest
        self._clock = clock

    @property
    def facts(self) -> QueueFacts:
        return self._facts

    async def receive(self, limit: int) -> list[Message]:  # noqa: ARG002 - it has one
        message, self._message = self._message, None
        return [] if message is None else [message]

    async def extend(self, message: Message, seconds: int) -> None:  # noqa: ARG002 - until the end, at most
        self._check()

    async def release(self, message: Message, delay: int) -> None:
        self._check()
        if self._queue is not None:
            await self._queue.delay(message, delay)

    async def delete(self, message: Message) -> None:  # noqa: ARG002 - it has one
        self._check()
        self.is_settled = True

    def _check(self) -> None:
        if self._clock() >= self._ends_at:
            raise LeaseLost("the invocation is over")


class OriginalBodies:
    """A DeadLetters that keeps *body* of a message, whatever its request was read from."""

    def __init__(self, inner: DeadLetters, body: str) -> None:
        self._inner = inner
        self._body = body

    async def put(self, message: Message, rejection: Rejection) -> None:
        await self._inner.put(replace(message, body=self._body), rejection)


class LastDeadLetters:
    """
    A DeadLetters of a message that nobody else has. Where there is no place for the record, the failure answer is it:
    `put` never raises Undeliverable, so that the answer is sent.
    """

    def __init__(self, inner: DeadLetters) -> None:
        self._inner = inner

    async def put(self, message: Message, rejection: Rejection) -> None:
        try:
            await self._inner.put(message, rejection)
        except Undeliverable as error:
            log.error("event.not_dead_lettered", code=rejection.code, reason=str(error))


class ReturnedAnswer:
    """A Notifier that keeps the answer for who invoked the function. *limit* in bytes."""

    def __init__(self, limit: int = MAX_ANSWER_BYTES) -> None:
        self.body: str | None = None
        self._limit = limit

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:  # noqa: ARG002 - there are none beside it
        return self._limit

    async def send(self, note: OutgoingMessage) -> None:
        self.body = note.body
