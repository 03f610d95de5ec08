"""The composition root: builds a running worker from the settings. The doors build what their source needs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from archiver.aws.clients import ClientLimits, Clients, open_clients
from archiver.aws.s3_headers import request_headers
from archiver.aws.s3_read import S3Reader
from archiver.aws.session import Network, open_network, require_credentials
from archiver.core.archive_rules import ArchiveRules
from archiver.core.attributes import NO_ATTRIBUTE_RULES
from archiver.core.locations import PROBE_KEY, AllowList, Location
from archiver.core.messages import Kind
from archiver.core.waiting import WaitRules, parse_tiers
from archiver.doors import open_door
from archiver.doors.destination import Destination, open_destination, with_resuming
from archiver.doors.door import Door, Surroundings
from archiver.doors.links import open_links
from archiver.doors.sources import with_restores, with_roles
from archiver.doors.start import (
    as_settings_errors,
    check_bucket_names,
    check_reachable,
    log_settings,
    open_with_credentials,
)
from archiver.doors.works import CommandParts, add_commands, open_command_space
from archiver.jobs.archive import ArchiveWork
from archiver.jobs.ping import PingWork
from archiver.jobs.pipeline import Pipeline
from archiver.jobs.work import Work
from archiver.ports import Links, ObjectRestorer, QueueFacts, Roles
from archiver.settings import Environment, Settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.telemetry.observers import Monitor, MonitoredParts, monitoring
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.collector import collect_rarely
from archiver.worker.gate import ReceiveGate
from archiver.worker.guarded import GuardedReader, GuardedRoles, SourceProbes
from archiver.worker.heartbeat import Heartbeat
from archiver.worker.loop import Worker, WorkerLimits
from archiver.worker.protection import Protector
from archiver.worker.settle import Settler

if TYPE_CHECKING:
    from archiver.jobs.after import AfterJob
    from archiver.jobs.copies import Copies

log = structlog.get_logger(__name__)

Works = dict[Kind, Work[Any]]

MAX_CONCURRENT_READS = 128  # of the whole worker


async def serve(settings: Settings, stop: asyncio.Event, write: Callable[[str], object] | None = None) -> int:
    """
    Work until *stop* is set; return the exit code. Metric lines go to *write* (standard output unless given).

    Raises SettingsError if a queue or bucket does not exist, or the `AWS_*` variables are unusable.
    """
    log_settings(settings)
    rules = archive_rules(settings)
    heartbeat, gate, budget = Heartbeat(), ReceiveGate(), BufferPool(settings.memory_budget)
    breakers = CircuitBreakers(gate)
    async with (
        open_reader(settings) as (network, reader),
        open_links(settings, network.session) as links,
        open_command_space(settings, rules) as space,
    ):
        roles = with_roles(reader, network.session, rules)
        guarded_reader = GuardedReader(roles or reader, source_probes(settings, reader), breakers)
        fetcher = Fetcher(guarded_reader, AdaptiveLimiter(MAX_CONCURRENT_READS))
        parts = MonitoredParts(heartbeat, gate, budget, fetcher, stop)
        async with (
            monitoring(settings, parts, write or sys.stdout.write, _ecs_agent) as monitor,
            _open_clients(settings, network, heartbeat, stop) as clients,
            open_door(settings, Surroundings(clients, reader, breakers, heartbeat) if clients else None, stop) as door,
        ):
            if clients is None or door is None:
                log.info("worker.stopped")
                return settings.exit_code_unstarted
            facts = door.source.facts
            bucket = open_destination(clients, settings.destination_bucket, breakers)
            bucket = with_resuming(settings, bucket, fetcher, facts)
            after = open_after_job(rules, clients, bucket, fetcher, breakers)
            restorer, copies = with_restores(settings, reader, roles), _copies_opener(clients, reader, rules, budget)
            sources = Sources(fetcher, roles, restorer, after, copies)
            works = open_works(rules, facts, bucket, archive_work(rules, sources, bucket, budget, facts))
            commands = CommandParts(rules, facts, clients, network.session, breakers, fetcher, budget, *bucket[:2])
            add_commands(works, settings, space, commands)
            pipeline = open_pipeline(rules, door, bucket, works=works, links=links)
            worker = _worker(settings, door, pipeline, parts, monitor)
            collect_rarely()
            monitor.mark_started(lambda: worker.parked)
            log.info("worker.ready", visibility=facts.visibility, max_receives=facts.max_receives)
            async with bucket.resuming.janitor.sweeping() if bucket.resuming else nullcontext():
                await worker.run(stop)
            code = door.exit_code()
    return code


@asynccontextmanager
async def _open_clients(
    settings: Settings, network: Network, heartbeat: Heartbeat, stop: asyncio.Event
) -> AsyncIterator[Clients | None]:
    """The AWS clients, once there are credentials; None: *stop* was set meanwhile. Raises SettingsError."""
    limits = ClientLimits(wait_seconds=settings.wait_seconds, jobs=settings.max_concurrent_jobs)
    async with AsyncExitStack() as stack:

        async def connect() -> Clients:
            await require_credentials(network.session)
            return await stack.enter_async_context(open_clients(limits, network))

        yield await open_with_credentials(connect, heartbeat, stop)


class Sources(NamedTuple):
    """The objects of requests: what reads them, with which roles; what restores, deletes or moves, copies; or None."""

    fetcher: Fetcher
    roles: Roles | None
    restorer: ObjectRestorer | None
    after: "AfterJob | None"
    copies: "Callable[[], Copies] | None" = None


def archive_work(
    rules: ArchiveRules, sources: Sources, bucket: Destination, budget: BufferPool, facts: QueueFacts
) -> ArchiveWork:
    cancellation = None
    if rules.cancellation:
        from archiver.doors.cancellation import open_cancellation  # noqa: PLC0415 - nothing of it where it is off

        cancellation = open_cancellation(bucket.store, facts)
    return ArchiveWork(
        rules,
        fetcher=sources.fetcher,
        store=bucket.store,
        receipts=bucket.receipts,
        budget=budget,
        roles=sources.roles and GuardedRoles(sources.roles, CircuitBreakers(ReceiveGate())),
        restorer=sources.restorer,
        after=sources.after,
        cancellation=cancellation,
        copies=sources.copies,
        resumes=bucket.resuming.resumes if bucket.resuming else None,
    )


def _copies_opener(
    clients: Clients, reader: S3Reader, rules: ArchiveRules, budget: BufferPool
) -> "Callable[[], Copies]":
    def open_() -> "Copies":
        from archiver.doors.copies import open_copies  # noqa: PLC0415 - nothing of it where nobody asks for it

        return open_copies(clients, reader, rules.destination_bucket, budget.total)

    return open_


def open_after_job(
    rules: ArchiveRules, clients: Clients, bucket: Destination, fetcher: Fetcher, breakers: CircuitBreakers
) -> "AfterJob | None":
    if rules.after is None:
        return None
    from archiver.doors.after import open_after  # noqa: PLC0415 - nothing of it where it is off

    return open_after(clients, rules.destination_bucket, bucket.store, fetcher, breakers)


def open_works(rules: ArchiveRules, facts: QueueFacts, bucket: Destination, archive: ArchiveWork) -> Works:
    """What is done for each kind of request."""
    works: Works = {"archive": archive, "ping": PingWork(rules, archive.planner, archive.waiter)}
    if rules.cancellation:
        from archiver.doors.cancellation import open_cancel_work  # noqa: PLC0415 - nothing of it where it is off

        works["cancel"] = open_cancel_work(rules, facts, bucket.store, bucket.receipts)
    return works


def open_pipeline(rules: ArchiveRules, door: Door, bucket: Destination, *, works: Works, links: Links) -> Pipeline:
    return Pipeline(
        rules,
        works,
        facts=door.source.facts,
        store=bucket.store,
        receipts=bucket.receipts,
        dead_letters=door.dead_letters,
        answers=door.answers,
        links=links,
        janitor=bucket.resuming.janitor if bucket.resuming else None,
    )


def _worker(settings: Settings, door: Door, pipeline: Pipeline, parts: MonitoredParts, monitor: Monitor) -> Worker:
    limits = WorkerLimits(
        settings.max_concurrent_jobs, settings.wait_seconds, settings.grace_seconds, settings.max_parked_jobs
    )
    return Worker(
        door.source,
        Settler(door.source, pipeline, parts.gate, monitor, tracer=monitor.tracer),
        parts.gate,
        limits,
        heartbeat=parts.heartbeat,
        on_running_changed=monitor.on_running_changed,
    )


def _ecs_agent(uri: str) -> AbstractAsyncContextManager[Protector]:
    from archiver.aws.ecs import open_agent  # noqa: PLC0415 - late: only in ECS

    return open_agent(uri)


def source_probes(settings: Settings, reader: S3Reader) -> SourceProbes:
    bucket = settings.source_bucket
    allowed = AllowList.parse(settings.allowed_sources, settings.destination_bucket)
    at_large = Location(settings.destination_bucket, PROBE_KEY)
    return SourceProbes(bucket, allowed.probe(bucket) if bucket else None, lambda: check_reachable(reader, at_large))


@asynccontextmanager
async def open_aws(
    limits: ClientLimits, settings: Environment | None = None
) -> AsyncIterator[tuple[Clients, S3Reader]]:
    """
    Every client that a worker needs. Raises SettingsError where the `AWS_*` variables are of no use, CredentialsError
    where a provider of credentials gives none.
    """
    async with open_reader(settings) as (network, reader), AsyncExitStack() as stack:
        with as_settings_errors():
            clients = await stack.enter_async_context(open_clients(limits, network))
        yield clients, reader


@asynccontextmanager
async def open_reader(settings: Environment | None = None) -> AsyncIterator[tuple[Network, S3Reader]]:
    """The way to AWS, and the reader of objects on it. Raises SettingsError as `open_aws` does."""
    with as_settings_errors():
        network = await open_network(request_headers(settings) if settings else None)
    if settings is not None:
        check_bucket_names(settings, network)
    reader = S3Reader(network.session, network.endpoint, network.transport_config)
    try:
        yield network, reader
    finally:
        await reader.close()


def archive_rules(settings: Environment) -> ArchiveRules:
    """What of the settings bears on what goes into an archive and where it goes. Raises SettingsError."""
    destination = settings.destination_bucket or ""
    policy = None
    if settings.policy_file is not None:
        from archiver.doors.policy import load_policy  # noqa: PLC0415 - nothing of it where it is off

        policy = load_policy(settings)
    return ArchiveRules(
        source_bucket=settings.source_bucket,
        destination_bucket=destination,
        allowed=AllowList.parse(settings.allowed_sources, destination),
        compression=settings.compression,
        strategy=settings.strategy,
        file_prefix=settings.file_prefix,
        key_secret=settings.key_secret.get_secret_value() if settings.key_secret else None,
        max_files=settings.max_files,
        max_bytes=settings.max_archive_bytes,
        roles=policy.roles if policy else {},
        attributes=settings.archive_attributes,
        attribute_rules=policy.archives if policy else NO_ATTRIBUTE_RULES,
        waiting=WaitRules(
            limit=settings.wait_limit,
            tiers=parse_tiers(settings.restore_tiers),
            max_days=settings.restore_max_days,
            restore_limit=settings.restore_wait_limit,
        ),
        cancellation=settings.cancellation,
        after=policy.after if policy and policy.after.allows_any else None,
        commands=policy.commands if policy else {},
    )
