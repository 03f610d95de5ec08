"""The composition root: settings become a running worker. The only place that knows every concrete class."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from archiver.aws.clients import Clients, Limits, ca_bundle, open_clients
from archiver.aws.s3 import S3Store
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_wire import WireConfig
from archiver.aws.sqs import SqsNotifier
from archiver.build import Builder
from archiver.core.draft import Rules
from archiver.core.locations import PROBE, AllowList, PlainLinks
from archiver.errors import ConfigurationFault
from archiver.gate import Gate
from archiver.guarded import GuardedNotifier, GuardedReader, GuardedSource, GuardedStore, Sources
from archiver.health import Health
from archiver.pipeline import Answers, Pipeline
from archiver.ports import Links
from archiver.pulse import Pulse
from archiver.settings import Environment, Settings, SettingsError
from archiver.settle import Settler
from archiver.stages.budget import Budget
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import Limiter
from archiver.start import open_source
from archiver.watch import Watched, watched
from archiver.worker import Pace, Worker

log = structlog.get_logger(__name__)

READS_AT_ONCE = 128  # of the whole worker


async def serve(settings: Settings, stop: asyncio.Event, write: Callable[[str], object] | None = None) -> int:
    """
    Work until *stop* is set; the process's exit code, 0 after a clean stop. Metrics that are lines go to *write*
    (standard output unless given).

    Raises SettingsError where a queue or bucket that the settings name definitely does not exist, and where the `AWS_*`
    variables are of no use.
    """
    log.info("worker.starting", source=settings.source_queue, destination=settings.destination_bucket)
    _warn(settings)
    limits = Limits(wait_seconds=settings.wait_seconds, jobs=settings.max_concurrent_jobs)
    links, pulse, gate, budget = links_of(settings), Pulse(), Gate(), Budget(settings.memory_budget)
    health = Health(gate)
    async with connected(limits) as (clients, reader):
        store = S3Store(clients, settings.destination_bucket)
        guarded = GuardedReader(reader, _sources(settings, store), health)
        fetcher = Fetcher(guarded, Limiter(READS_AT_ONCE))
        async with watched(settings, Watched(pulse, gate, budget, fetcher, stop), write or sys.stdout.write) as watch:
            queues = _queues(settings, clients)
            source = await open_source(settings, clients, queues, pulse, stop)
            if source is None:
                log.info("worker.stopped")
                return 0
            rules, kept = rules_of(settings), GuardedStore(store, health)
            pipeline = Pipeline(
                rules,
                Builder(rules, fetcher=fetcher, store=kept, budget=budget),
                queue_arn=source.facts.arn,
                store=kept,
                source=GuardedSource(source, health),
                answers=_answers(queues, health),
                links=links,
            )
            worker = Worker(
                source,
                Settler(source, source.facts, pipeline, gate, watch),
                gate,
                Pace(settings.max_concurrent_jobs, settings.wait_seconds, settings.grace_seconds),
                pulse=pulse,
                busy=watch.busy,
            )
            watch.started()
            log.info("worker.ready", visibility=source.facts.visibility, max_receives=source.facts.max_receives)
            await worker.run(stop)
    return 0


def _sources(settings: Settings, store: S3Store) -> Sources:
    bucket = settings.source_bucket
    allowed = AllowList.parse(settings.allowed_sources, settings.destination_bucket)
    return Sources(bucket, allowed.probe(bucket) if bucket else None, lambda: store.find(PROBE))


def _answers(queues: dict[str, SqsNotifier | None], health: Health) -> Answers:
    """Jobs wait for the queues of answers; nobody waits for the one that is told of progress."""
    success, failure = (
        queue and GuardedNotifier(queue, name, health)
        for name, queue in queues.items()
        if name in ("SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE")
    )
    return Answers(success, failure, queues["PROGRESS_QUEUE"])


def _queues(settings: Settings, clients: Clients) -> dict[str, SqsNotifier | None]:
    """The queues that are sent to, by the setting that names them."""
    named = {
        "SQS_DESTINATION_QUEUE": settings.destination_queue,
        "SQS_FAILURE_QUEUE": settings.failure_queue,
        "PROGRESS_QUEUE": settings.progress_queue,
    }
    return {name: SqsNotifier(clients.sqs_control, queue) if queue else None for name, queue in named.items()}


@asynccontextmanager
async def connected(limits: Limits) -> AsyncIterator[tuple[Clients, S3Reader]]:
    """Every client that a worker needs. Raises SettingsError where the `AWS_*` variables are of no use."""
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


def rules_of(settings: Environment) -> Rules:
    """What of the settings bears on what goes into an archive and where it goes."""
    destination = settings.destination_bucket or ""
    return Rules(
        source_bucket=settings.source_bucket,
        destination_bucket=destination,
        allowed=AllowList.parse(settings.allowed_sources, destination),
        compression=settings.compression,
        file_prefix=settings.file_prefix,
        key_secret=settings.key_secret.get_secret_value() if settings.key_secret else None,
        max_files=settings.max_files,
        max_bytes=settings.max_archive_bytes,
    )


def links_of(settings: Environment) -> Links:
    """How archives are linked to. Raises SettingsError where the key can't sign."""
    bucket = settings.destination_bucket or ""
    if settings.cloudfront_key_id is None or settings.cloudfront_private_key is None or settings.base_url is None:
        return PlainLinks(settings.base_url, bucket)
    from archiver.aws.links import Base, KeyProblemError, SignedLinks  # noqa: PLC0415 - late: cryptography

    key = settings.cloudfront_private_key.get_secret_value()
    try:
        return SignedLinks(Base(settings.base_url, bucket), settings.cloudfront_key_id, key, settings.link_expires_in)
    except KeyProblemError as problem:
        raise SettingsError([f"CLOUDFRONT_PRIVATE_KEY: {problem}"]) from None


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
