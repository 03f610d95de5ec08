"""The SQS door: a source queue with its dead-letter queue, and queues for answers."""

import asyncio

from archiver.aws.clients import Clients
from archiver.aws.queues import SqsNotifier
from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.doors.start import StartupResources, check_and_open_source
from archiver.jobs.answers import Answers, Fanout
from archiver.ports import Notifier
from archiver.settings import Settings
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.guarded import GuardedDeadLetters, GuardedNotifier


async def open_sqs_door(
    settings: Settings, surroundings: Surroundings, ways_out: WaysOut, stop: asyncio.Event
) -> Door | None:
    """
    Check the queues and buckets of *settings*, and the *ways_out*, and open the queues. None: stopped. Raises
    SettingsError.
    """
    queues = answer_queues(settings, surroundings.clients)
    resources = StartupResources(surroundings.clients, queues, surroundings.reader, ways_out.checks)
    source = await check_and_open_source(settings, resources, surroundings.heartbeat, stop)
    if source is None:
        return None
    dead_letters = GuardedDeadLetters(source.dead_letters, surroundings.breakers)
    return Door(source, dead_letters, answers_of(queues, ways_out, surroundings.breakers))


def answer_queues(settings: Settings, clients: Clients) -> dict[str, SqsNotifier | None]:
    """The queues that are sent to, by the setting that names them."""
    named = {
        "SQS_DESTINATION_QUEUE": settings.destination_queue,
        "SQS_FAILURE_QUEUE": settings.failure_queue,
        "PROGRESS_QUEUE": settings.progress_queue,
    }
    return {name: SqsNotifier(clients.sqs_control, queue) if queue else None for name, queue in named.items()}


def answers_of(
    queues: dict[str, SqsNotifier | None], ways_out: WaysOut, breakers: CircuitBreakers, *returned: Notifier
) -> Answers:
    """Answers wait while their queue is down; progress events do not. *returned* get all answers, too."""
    success, failure = (
        [] if (queue := queues[name]) is None else [GuardedNotifier(queue, name, breakers)]
        for name in ("SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE")
    )
    return Answers(
        Fanout(*success, *ways_out.notifiers, *returned),
        Fanout(*failure, *ways_out.notifiers, *returned),
        progress=queues["PROGRESS_QUEUE"],
        requested=success[0] if success else None,
        callbacks=ways_out.callbacks,
        by_reference=bool(ways_out.notifiers or ways_out.callbacks),
    )
