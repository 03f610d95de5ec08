"""
Startup checks: the queues and buckets of the settings exist, and do not conflict.

A queue or bucket that definitely does not exist stops the worker; all of them are reported at once. A check that can't
be answered now is a warning. The source queue's attributes are required: without them nothing can be received. The
checks run concurrently and end after `CHECKS_TIMEOUT` seconds, or when the worker is stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from archiver.aws.clients import Clients
from archiver.aws.endpoint import UnusableNameError
from archiver.aws.error_mapping import CredentialsError, ResourceNotFound
from archiver.aws.queues import SqsNotifier
from archiver.aws.s3_store import check_bucket
from archiver.aws.session import Network
from archiver.aws.sqs import SqsSource
from archiver.core.backoff import configuration_retry_delay
from archiver.core.locations import PROBE_KEY, AllowList, Location
from archiver.core.preflight import find_queue_conflict
from archiver.errors import ConfigurationError, SourceUnavailable, TransientError
from archiver.ports import ObjectReader
from archiver.settings import Environment, Settings, SettingsError
from archiver.stages.retry import retry_transient
from archiver.worker.heartbeat import Heartbeat

log = structlog.get_logger(__name__)
T = TypeVar("T")

MIN_VISIBILITY = 2  # seconds
CHECKS_TIMEOUT = 20.0  # seconds for all checks together

ResourceCheck = tuple[str, str, Callable[[], Awaitable[None]]]
"""The setting that names a resource, the kind of resource, and the check that it exists."""


@dataclass(frozen=True, slots=True)
class StartupResources:
    """
    What the checks use. *queues*: the queues for answers, by the setting that names them; *others*: further checks;
    *timeout*: seconds for all checks together.
    """

    clients: Clients
    queues: dict[str, SqsNotifier | None]
    reader: ObjectReader
    others: tuple[ResourceCheck, ...] = ()
    timeout: float = CHECKS_TIMEOUT


async def open_with_credentials(
    connect: Callable[[], Coroutine[Any, Any, T]],
    heartbeat: Heartbeat,
    stop: asyncio.Event,
    pauses: Callable[[int], float] = configuration_retry_delay,
) -> T | None:
    """
    Return what *connect* returns, retried until there are credentials; None: stopped meanwhile. *pauses* returns the
    seconds to wait after an attempt.

    Raises SettingsError.
    """
    attempt = 0
    while not stop.is_set():
        try:
            with as_settings_errors():
                return await run_until_stopped(connect(), stop)
        except CredentialsError as error:
            attempt += 1
            heartbeat.failed()
            await log_and_pause(str(error), pauses(attempt), stop)
    return None


@contextmanager
def as_settings_errors() -> Iterator[None]:
    """Turn errors about `AWS_*` variables into SettingsError. CredentialsError passes through."""
    try:
        yield
    except CredentialsError:
        raise
    except ConfigurationError as fault:
        raise SettingsError([str(fault)]) from None


async def check_and_open_source(
    settings: Settings, resources: StartupResources, heartbeat: Heartbeat, stop: asyncio.Event
) -> SqsSource | None:
    """
    Run all checks and open the source queue; None: stopped meanwhile.

    Raises SettingsError.
    """
    problems = await check_resources(settings, resources, stop)
    if problems is None:
        return None
    source = None
    try:
        source = await _open_source(settings, resources.clients, heartbeat, stop, keep_trying=not problems)
    except ResourceNotFound as error:
        problems.insert(0, f"SQS_SOURCE_QUEUE: this queue does not exist: {error}")
    if source is not None:
        problems += queue_conflicts(source, resources.queues)
    if problems:
        raise SettingsError(problems)
    return source


async def check_resources(settings: Settings, resources: StartupResources, stop: asyncio.Event) -> list[str] | None:
    """Run all checks. Return a sentence for each resource that does not exist; None: stopped meanwhile."""
    return await run_until_stopped(_run_checks(_resource_checks(settings, resources), resources.timeout), stop)


async def run_until_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T | None:
    """Return what *work* returns. If *stop* is set first, cancel it, wait for its end, and return None."""
    task = asyncio.create_task(work, name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.wait((task, stopping))
    return None if task.cancelled() else task.result()


async def _run_checks(checks: list[ResourceCheck], seconds: float) -> list[str]:
    """Run *checks* concurrently. Return a sentence for each resource that does not exist; log other failures."""
    tasks = [asyncio.create_task(_run_check(check), name=f"check-{check[0]}") for check in checks]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
    finally:
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for (name, *_), task in zip(checks, tasks, strict=True):
        if task in late:
            log.warning("start.unchecked", setting=name, reason=f"no answer within {seconds:g} s")
    return [found for task in tasks if task not in late and (found := task.result())]


async def _run_check(check: ResourceCheck) -> str | None:
    name, kind, run = check
    try:
        await retry_transient(run, tries=3, seconds=0)
    except ResourceNotFound as error:
        return f"{name}: this {kind} does not exist: {error}"
    except (ConfigurationError, TransientError) as error:
        log.warning("start.unchecked", setting=name, reason=str(error))
    return None


def _resource_checks(settings: Settings, resources: StartupResources) -> list[ResourceCheck]:
    checks: list[ResourceCheck] = []
    for name, bucket in (
        ("S3_DESTINATION_BUCKET", settings.destination_bucket),
        ("S3_SOURCE_BUCKET", settings.source_bucket),
    ):
        if bucket:
            checks.append((name, "bucket", lambda bucket=bucket: check_bucket(resources.clients.s3, bucket)))  # type: ignore[misc]
    for name, place in probe_locations(settings):
        checks.append((name, "object", lambda place=place: check_reachable(resources.reader, place)))  # type: ignore[misc]
    checks += [(name, "queue", queue.check) for name, queue in resources.queues.items() if queue is not None]
    return [*checks, *resources.others]


def probe_locations(settings: Settings) -> list[tuple[str, Location]]:
    """Return the keys that test whether S3 can be reached, with the setting that names the bucket."""
    destination = settings.destination_bucket
    locations = [("S3_DESTINATION_BUCKET", Location(destination, PROBE_KEY))]
    source = settings.source_bucket
    place = AllowList.parse(settings.allowed_sources, destination).probe(source) if source else None
    return locations if place is None else [*locations, ("S3_SOURCE_BUCKET", place)]


async def check_reachable(reader: ObjectReader, place: Location) -> None:
    """
    Return once S3 has responded to a HEAD of *place*, with whatever status. Raises TransientError (proxy, DNS,
    connection or certificate), ConfigurationError.
    """
    try:
        await reader.head(place)
    except SourceUnavailable:
        return
    except TransientError as error:
        raise TransientError(f"objects can't be requested: {error}") from error


def queue_conflicts(source: SqsSource, queues: dict[str, SqsNotifier | None]) -> list[str]:
    """Return a sentence for each queue that can't have the role that the settings give it."""
    source_arn, dead_letter_arn, problems = source.facts.id, source.dead_letters.arn, []
    if dead_letter_arn == source_arn:
        problems.append("SQS_SOURCE_QUEUE: its RedrivePolicy names the queue itself: name a dead-letter queue there")
    for name, queue in queues.items():
        if queue is None:
            continue
        # Without permission to read the ARN, the URL may be known.
        arn = source_arn if queue.url == source.url else queue.arn
        conflict = find_queue_conflict(arn, source_arn, dead_letter_arn)
        if conflict is not None:
            problems.append(f"{name}: {conflict}: answers sent there are no requests: name another queue, or unset it")
    return problems


async def _open_source(
    settings: Settings, clients: Clients, heartbeat: Heartbeat, stop: asyncio.Event, *, keep_trying: bool
) -> SqsSource | None:
    attempt = 0
    while not stop.is_set():
        try:
            opening = SqsSource.open(clients, str(settings.source_queue), settings.wait_seconds)
            source = await run_until_stopped(opening, stop)
        except ResourceNotFound:
            raise
        except (ConfigurationError, TransientError) as error:
            if not keep_trying:
                return None
            attempt += 1
            heartbeat.failed()
            await log_and_pause(
                f"the source queue's attributes can't be read: {error}", configuration_retry_delay(attempt), stop
            )
        else:
            if source is not None:
                check_visibility(source.facts.visibility)
                heartbeat.received()
            return source
    return None


async def log_and_pause(reason: str, seconds: float, stop: asyncio.Event) -> None:
    """Log why nothing is received, and wait for *seconds*, or until *stop*."""
    log.error("worker.paused", reason=reason, retry_in=seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def check_visibility(seconds: int) -> None:
    """Raise SettingsError if a visibility timeout of *seconds* is too short for a lease."""
    if seconds < MIN_VISIBILITY:
        problem = (
            f"SQS_SOURCE_QUEUE: the queue's VisibilityTimeout is {seconds} s; "
            f"the minimum is {MIN_VISIBILITY}, and 30 or more is recommended"
        )
        raise SettingsError([problem])


def log_settings(settings: Settings) -> None:
    """Log what the worker works on, and warn of settings that are insecure."""
    log.info("worker.starting", source=settings.source_name, destination=settings.destination_bucket)
    if settings.key_secret is None:
        log.warning(
            "settings.no_key_secret", effect="who knows a job_id can compute its archive's key; set ARCHIVE_KEY_SECRET"
        )
    if settings.allowed_sources is None:
        log.warning(
            "settings.no_allowed_sources",
            effect="requests may name every bucket that the role can read but the destination; set S3_ALLOWED_SOURCES",
        )
    if settings.base_url is None and settings.links is None:
        log.warning("settings.no_base_url", effect="links are s3:// URIs; set ARCHIVE_BASE_URL")


def check_bucket_names(settings: Environment, network: Network) -> None:
    """Raises SettingsError where a bucket of the settings can't be had at this endpoint."""
    problems = []
    for name, bucket in (
        ("S3_SOURCE_BUCKET", settings.source_bucket),
        ("S3_DESTINATION_BUCKET", settings.destination_bucket),
    ):
        try:
            network.endpoint.resolve(bucket or "unset")
        except UnusableNameError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError(problems)
