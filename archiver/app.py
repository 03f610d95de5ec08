"""The composition root: settings become a running worker. The only place that knows every concrete class."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from archiver.aws.clients import Clients, Limits, ca_bundle, open_clients
from archiver.aws.faults import NotThere
from archiver.aws.s3 import S3Store, check_bucket
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_wire import WireConfig
from archiver.aws.sqs import SqsNotifier, SqsSource
from archiver.core.backoff import pause
from archiver.core.draft import Rules
from archiver.core.locations import AllowList
from archiver.errors import ConfigurationFault, Temporary
from archiver.pipeline import Answers, Pipeline
from archiver.settings import Settings, SettingsError
from archiver.settle import Gate, Settler
from archiver.stages.budget import Budget
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import Limiter
from archiver.stages.upload import patiently
from archiver.worker import Worker

log = structlog.get_logger(__name__)

LEAST_VISIBILITY = 2  # seconds
READS_AT_ONCE = 128  # of the whole worker


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """
    Work until *stop* is set; the process's exit code, 0 after a clean stop.

    Raises SettingsError where a queue or bucket that the settings name definitely does not exist, and where the `AWS_*`
    variables are of no use.
    """
    log.info("worker.starting", source=settings.source_queue, destination=settings.destination_bucket)
    _warn(settings)
    limits = Limits(
        wait_seconds=settings.wait_seconds,
        jobs=settings.max_concurrent_jobs,
    )
    async with _connected(limits) as (clients, reader):
        answers = Answers(
            success=_notifier(clients, settings.destination_queue), failure=_notifier(clients, settings.failure_queue)
        )
        source = await _start(settings, clients, answers, stop)
        if source is None:
            log.info("worker.stopped")
            return 0
        gate = Gate()
        pipeline = Pipeline(
            rules_of(settings),
            queue_arn=source.facts.arn,
            fetcher=Fetcher(reader, Limiter(READS_AT_ONCE)),
            store=S3Store(clients, settings.destination_bucket),
            source=source,
            answers=answers,
            budget=Budget(settings.memory_budget),
        )
        worker = Worker(
            source,
            Settler(source, source.facts, pipeline, gate),
            gate,
            slots=settings.max_concurrent_jobs,
            wait=settings.wait_seconds,
            grace=settings.grace_seconds,
        )
        log.info("worker.ready", visibility=source.facts.visibility, max_receives=source.facts.max_receives)
        await worker.run(stop)
    return 0


@asynccontextmanager
async def _connected(limits: Limits) -> AsyncIterator[tuple[Clients, S3Reader]]:
    async with AsyncExitStack() as stack:
        try:
            clients = await stack.enter_async_context(open_clients(limits))
            reader = await stack.enter_async_context(reading(clients))
        except ConfigurationFault as fault:
            raise SettingsError([str(fault)]) from None
        except ValueError as error:  # a port, say, that no URL can have
            raise SettingsError([f"AWS_ENDPOINT_URL: {error}"]) from None
        yield clients, reader


@asynccontextmanager
async def reading(clients: Clients) -> AsyncIterator[S3Reader]:
    """The reader of objects, speaking to the endpoint that the SDK's own client was given."""
    reader = S3Reader(clients.session, clients.s3_endpoint, WireConfig(ca_bundle=ca_bundle()))
    try:
        yield reader
    finally:
        await reader.close()


def rules_of(settings: Settings) -> Rules:
    """What of the settings bears on what goes into an archive and where it goes."""
    return Rules(
        source_bucket=settings.source_bucket,
        destination_bucket=settings.destination_bucket,
        allowed=AllowList.parse(settings.allowed_sources, settings.destination_bucket),
        compression=settings.compression,
        file_prefix=settings.file_prefix,
        base_url=settings.base_url,
        key_secret=settings.key_secret.get_secret_value() if settings.key_secret else None,
    )


def _warn(settings: Settings) -> None:
    if settings.key_secret is None:
        log.warning(
            "settings.no_key_secret", effect="who knows a job_id can compute its archive's key; set ARCHIVE_KEY_SECRET"
        )
    if settings.allowed_sources is None:
        log.warning(
            "settings.no_allowed_sources",
            effect="requests may name every bucket that the role can read but the destination; set S3_ALLOWED_SOURCES",
        )
    if settings.base_url is None:
        log.warning("settings.no_base_url", effect="links are s3:// URIs; set ARCHIVE_BASE_URL")


def _notifier(clients: Clients, queue: str | None) -> SqsNotifier | None:
    return SqsNotifier(clients.sqs_control, queue) if queue else None


async def _start(settings: Settings, clients: Clients, answers: Answers, stop: asyncio.Event) -> SqsSource | None:
    """
    Check what the settings name. What definitely does not exist stops the start, all of it told at once; what can't
    be told now is a warning, but for the source queue's attributes: without them nothing can be received. None:
    stopped meanwhile.
    """
    checks: list[tuple[str, str, Callable[[], Awaitable[None]]]] = [
        ("S3_DESTINATION_BUCKET", "bucket", lambda: check_bucket(clients.s3_control, settings.destination_bucket))
    ]
    if settings.source_bucket:
        source_bucket = settings.source_bucket
        checks.append(("S3_SOURCE_BUCKET", "bucket", lambda: check_bucket(clients.s3_control, source_bucket)))
    for name, notifier in (("SQS_DESTINATION_QUEUE", answers.success), ("SQS_FAILURE_QUEUE", answers.failure)):
        if isinstance(notifier, SqsNotifier):
            checks.append((name, "queue", notifier.check))
    problems: list[str] = []
    for name, kind, check in checks:
        try:
            await patiently(check, tries=3)
        except NotThere as error:
            problems.append(f"{name}: this {kind} does not exist: {error}")
        except (ConfigurationFault, Temporary) as error:
            log.warning("start.unchecked", setting=name, reason=str(error))
    try:
        source = await _open_source(settings, clients, stop, patient=not problems)
    except NotThere as error:
        problems.insert(0, f"SQS_SOURCE_QUEUE: this queue does not exist: {error}")
    if problems:
        raise SettingsError(problems)
    return source


async def _open_source(settings: Settings, clients: Clients, stop: asyncio.Event, *, patient: bool) -> SqsSource | None:
    attempt = 0
    while not stop.is_set():
        try:
            source = await SqsSource.open(clients, settings.source_queue, settings.wait_seconds)
            if source.facts.visibility < LEAST_VISIBILITY:
                problem = (
                    f"SQS_SOURCE_QUEUE: the queue's VisibilityTimeout is {source.facts.visibility} s; "
                    f"it needs {LEAST_VISIBILITY} at least, and 30 or more is wise"
                )
                raise SettingsError([problem])
        except NotThere:
            raise
        except (ConfigurationFault, Temporary) as error:
            if not patient:
                return None
            attempt += 1
            seconds = pause(attempt)
            log.error("worker.paused", reason=f"the source queue's attributes can't be read: {error}", retry_in=seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stop.wait()
        else:
            return source
    return None
