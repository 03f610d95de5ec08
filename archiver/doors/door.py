"""A door: a source of messages, its dead letters, and the ways out for answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from archiver.aws.clients import Clients
from archiver.doors.start import ResourceCheck
from archiver.jobs.answers import Answers
from archiver.ports import DeadLetters, MessageSource, Notifier, ObjectReader
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class Door:
    """
    *dead_letters*: None if the source has no such thing; then the failure answer is the record of a rejection.
    *exit_code*: that of the worker, once it has stopped.
    """

    source: MessageSource
    dead_letters: DeadLetters | None
    answers: Answers
    exit_code: Callable[[], int] = lambda: 0


async def _nothing_to_drain(_: float) -> None:
    """Nothing is sent in the background."""


@dataclass(frozen=True, slots=True)
class WaysOut:
    """
    Where answers go beside the door's own ways: *notifiers* get successes and failures alike. *checks*: that what the
    settings name exists. *callbacks*: as in `Answers`. *drain* waits for answers that are sent in the background, at
    most so many seconds.
    """

    notifiers: tuple[Notifier, ...] = ()
    checks: tuple[ResourceCheck, ...] = ()
    callbacks: Callable[[str], Notifier] | None = None
    drain: Callable[[float], Awaitable[None]] = _nothing_to_drain


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a door is opened with: the AWS clients, the reader that objects are read with, and the worker's health."""

    clients: Clients
    reader: ObjectReader
    breakers: CircuitBreakers
    heartbeat: Heartbeat
