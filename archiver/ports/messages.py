"""Messages: where jobs come from, and where answers go."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from archiver.core.messages import Link


@dataclass(frozen=True, slots=True)
class Attribute:
    """A message attribute as SQS has it: *type* is String, Number or Binary, with an optional `.label`."""

    type: str
    value: str | bytes


@dataclass(frozen=True, slots=True)
class Message:
    """
    One received message. *received_at* is the monotonic clock, in seconds, before the call that returned the message:
    its visibility timeout can't have started earlier. *receive_count* includes this receive. *gone* is set by sources
    that learn at once that a message belongs to another consumer (a closed connection); None if a source can't.
    *problem*: why what the source has is no text of a request (too long, not UTF-8); *body* is empty then.
    *trace_header*: the AWSTraceHeader of SQS.
    """

    id: str
    body: str
    receipt: str = field(repr=False)
    received_at: float
    receive_count: int
    sent_at: datetime
    first_received: str = ""
    group: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    gone: asyncio.Event | None = field(default=None, repr=False, compare=False)
    problem: str = ""
    trace_header: str = ""


LONGEST_RETENTION = 14 * 24 * 3600
"""Seconds that SQS keeps a message at the most."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """
    Properties of a source. *id* is stable text that becomes part of archive keys (for SQS, the queue's ARN).
    *visibility*: seconds that one receive or extension holds a message. *longest*: seconds that a message can be held
    in total, `math.inf` if there is no limit. *max_receives*: None if the source does not limit them. *redrives*: the
    source itself removes what was received more often; otherwise the worker rejects it. *retention*: seconds after
    which a message is gone, however often it was received.
    """

    id: str
    visibility: int
    longest: float
    max_receives: int | None = None
    redrives: bool = True
    retention: int = LONGEST_RETENTION


class MessageSource(Protocol):
    """
    Where jobs come from.

    A message that was neither extended for `facts.visibility` seconds nor deleted is redelivered. A source without such
    a timer keeps one itself: the worker forgets messages that it could not release.
    """

    @property
    def facts(self) -> QueueFacts:
        """Properties of the source, read when it was opened."""

    async def receive(self, limit: int) -> list[Message]:
        """
        Wait for up to *limit* (1 to 10) messages; an empty list after the wait. Raises TransientError,
        ConfigurationError.
        """

    async def extend(self, message: Message, seconds: int) -> None:
        """
        Hold *message* for *seconds* from now. Raises TransientError; ConfigurationError if the source refuses the call;
        LeaseLost on a stale receipt.
        """

    async def release(self, message: Message, delay: int) -> None:
        """
        Return *message* to the source, for redelivery after *delay* seconds or as near to that as the source can.
        Raises as `extend` does.
        """

    async def delete(self, message: Message) -> None:
        """Remove *message* for good. Raises as `extend` does."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message is dead-lettered, and the ids that a FIFO queue requires."""

    code: str
    message: str
    group: str
    deduplication_id: str


class DeadLetters(Protocol):
    """Where rejected messages are kept, with the reason."""

    async def put(self, message: Message, rejection: Rejection) -> None:
        """
        Store the unchanged body of *message* and the reason. Raises TransientError; Undeliverable if no dead-letter
        queue accepts it.
        """


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """
    One answer or event to send. *group* and *id* are the group id and deduplication id of FIFO queues. *status* is that
    of the job, in our own words. *key*: of the archive that it is about, "" if there is none. *is_command*: it is about
    a command.
    """

    body: str
    id: str
    group: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    status: str = ""
    key: str = ""
    is_command: bool = False


class Links(Protocol):
    """Makes download links."""

    async def link(self, key: str) -> Link:
        """Return the link to the archive at *key*. Raises TransientError, ConfigurationError."""


class Notifier(Protocol):
    """One receiver of answers."""

    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int:
        """Return the maximum size of a body, in bytes of UTF-8, if *attributes* are sent with it."""

    async def send(self, note: OutgoingMessage) -> None:
        """Send *note*; return once it was accepted. Raises TransientError, ConfigurationError."""
