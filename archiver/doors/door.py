"""A door: where messages come from, and where what becomes of them goes. The settings choose it."""

import asyncio
from dataclasses import dataclass

from archiver.aws.clients import Clients
from archiver.jobs.answers import Answers
from archiver.ports import DeadLetters, MessageSource, ObjectReader
from archiver.settings import Settings
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class Door:
    """*dead_letters*: None if the source has no such thing; then the failure answer is the record of a rejection."""

    source: MessageSource
    dead_letters: DeadLetters | None
    answers: Answers


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a door is opened with: the AWS clients, the reader that objects are read with, and the worker's health."""

    clients: Clients
    reader: ObjectReader
    breakers: CircuitBreakers
    heartbeat: Heartbeat


async def open_door(settings: Settings, surroundings: Surroundings, stop: asyncio.Event) -> Door | None:
    """
    Open the door that *settings* name, once everything that they name was checked. None: *stop* was set meanwhile.

    Raises SettingsError.
    """
    from archiver.doors.sqs import open_sqs_door  # noqa: PLC0415 - late: only the door that is used

    return await open_sqs_door(settings, surroundings, stop)
