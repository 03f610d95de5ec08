"""
What is looked at before the first message: that the queues and buckets of the settings are there.

What definitely does not exist stops the start, all of it told at once; what can't be told now is a warning, but for
the source queue's attributes: without them nothing can be received.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import structlog

from archiver.aws.clients import Clients
from archiver.aws.faults import NotThere
from archiver.aws.s3 import check_bucket
from archiver.aws.sqs import SqsNotifier, SqsSource
from archiver.core.backoff import pause
from archiver.errors import ConfigurationFault, Temporary
from archiver.pulse import Pulse
from archiver.settings import Settings, SettingsError
from archiver.stages.upload import patiently

log = structlog.get_logger(__name__)

LEAST_VISIBILITY = 2  # seconds

Check = tuple[str, str, Callable[[], Awaitable[None]]]
"""The setting that names a thing, what kind of thing it is, and how to look for it."""


async def open_source(
    settings: Settings, clients: Clients, queues: dict[str, SqsNotifier | None], pulse: Pulse, stop: asyncio.Event
) -> SqsSource | None:
    """
    The source queue, once all that the settings name was looked for; None: stopped meanwhile. *queues* are those that
    are sent to, by the setting that names them.

    Raises SettingsError.
    """
    problems = []
    for name, kind, check in _checks(settings, clients, queues):
        try:
            await patiently(check, tries=3, seconds=0)
        except NotThere as error:
            problems.append(f"{name}: this {kind} does not exist: {error}")
        except (ConfigurationFault, Temporary) as error:
            log.warning("start.unchecked", setting=name, reason=str(error))
    source = None
    try:
        source = await _open(settings, clients, pulse, stop, patient=not problems)
    except NotThere as error:
        problems.insert(0, f"SQS_SOURCE_QUEUE: this queue does not exist: {error}")
    if problems:
        raise SettingsError(problems)
    return source


def _checks(settings: Settings, clients: Clients, queues: dict[str, SqsNotifier | None]) -> Iterator[Check]:
    for name, bucket in (
        ("S3_DESTINATION_BUCKET", settings.destination_bucket),
        ("S3_SOURCE_BUCKET", settings.source_bucket),
    ):
        if bucket:
            yield name, "bucket", lambda bucket=bucket: check_bucket(clients.s3_control, bucket)  # type: ignore[misc]
    for name, queue in queues.items():
        if queue is not None:
            yield name, "queue", queue.check


async def _open(
    settings: Settings, clients: Clients, pulse: Pulse, stop: asyncio.Event, *, patient: bool
) -> SqsSource | None:
    attempt = 0
    while not stop.is_set():
        try:
            source = await SqsSource.open(clients, settings.source_queue, settings.wait_seconds)
        except NotThere:
            raise
        except (ConfigurationFault, Temporary) as error:
            if not patient:
                return None
            attempt += 1
            pulse.failed()
            seconds = pause(attempt)
            log.error("worker.paused", reason=f"the source queue's attributes can't be read: {error}", retry_in=seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stop.wait()
        else:
            check_visibility(source.facts.visibility)
            pulse.received()
            return source
    return None


def check_visibility(seconds: int) -> None:
    """Raises SettingsError where no lease can be kept in *seconds*."""
    if seconds < LEAST_VISIBILITY:
        problem = (
            f"SQS_SOURCE_QUEUE: the queue's VisibilityTimeout is {seconds} s; "
            f"it needs {LEAST_VISIBILITY} at least, and 30 or more is wise"
        )
        raise SettingsError([problem])
