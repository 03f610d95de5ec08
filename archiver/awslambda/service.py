"""What one execution environment of the function has: opened once, kept between invocations."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archiver.app import (
    MAX_CONCURRENT_READS,
    Sources,
    Works,
    archive_rules,
    archive_work,
    open_after_job,
    open_pipeline,
    open_reader,
    open_works,
    source_probes,
)
from archiver.aws.clients import ClientLimits, open_clients
from archiver.aws.event_queues import EventQueues
from archiver.aws.queues import SqsNotifier
from archiver.core.archive_rules import ArchiveRules
from archiver.core.event_rules import EventRules, parse_orders_prefix
from archiver.doors import open_ways_out_of
from archiver.doors.destination import Destination, open_destination
from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.doors.links import open_links
from archiver.doors.sources import with_restores, with_roles
from archiver.doors.sqs import answer_queues, answers_of
from archiver.doors.start import as_settings_errors
from archiver.jobs.answers import Answers
from archiver.jobs.pipeline import Pipeline
from archiver.ports import Links, Notifier, QueueFacts
from archiver.settings import Settings
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.limiter import AdaptiveLimiter
from archiver.telemetry.emf import Emf
from archiver.telemetry.observers import Monitor, MonitoredParts
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.gate import ReceiveGate
from archiver.worker.guarded import GuardedReader
from archiver.worker.heartbeat import Heartbeat

if TYPE_CHECKING:
    from archiver.awslambda.hand_on import HandOn
    from archiver.telemetry.traces import JobTracer

_MAX_SOURCES = 64  # whose works are kept: an event that somebody makes up can name any


@dataclass(frozen=True, slots=True)
class Service:
    """
    *events*: what new objects stand for. *hand_on*: None if all jobs run here. *metrics*: None if none are written.
    *tracer*: None if jobs are not traced.
    """

    settings: Settings
    rules: ArchiveRules
    events: EventRules
    fetcher: Fetcher
    budget: BufferPool
    gate: ReceiveGate
    breakers: CircuitBreakers
    monitor: Monitor
    metrics: Emf | None
    bucket: Destination
    sources: Sources
    links: Links
    queues: EventQueues
    answer_queues: dict[str, SqsNotifier | None]
    ways_out: WaysOut
    hand_on: "HandOn | None" = None
    tracer: "JobTracer | None" = None
    _works: dict[str, Works] = field(default_factory=dict)

    def works(self, facts: QueueFacts) -> Works:
        """What is done for each kind of request; the same for all messages of a source."""
        if facts.id not in self._works:
            if len(self._works) >= _MAX_SOURCES:
                self._works.clear()
            archive = archive_work(self.rules, self.sources, self.bucket, self.budget, facts)
            self._works[facts.id] = open_works(self.rules, facts, self.bucket, archive)
        return self._works[facts.id]

    def pipeline(self, door: Door, works: Works) -> Pipeline:
        return open_pipeline(self.rules, door, self.bucket, works=works, links=self.links)

    def answers(self, *returned: Notifier) -> Answers:
        return answers_of(self.answer_queues, self.ways_out, self.breakers, *returned)

    async def flush(self, seconds: float) -> None:
        """Wait for what is sent in the background, at most *seconds*, and write the metrics of the process."""
        flushing = self.tracer.flush(seconds) if self.tracer is not None else asyncio.sleep(0)
        await asyncio.gather(self.ways_out.drain(seconds), flushing)
        if self.metrics is not None:
            self.metrics.write_process_lines()


def event_rules(settings: Settings) -> EventRules:
    """What new objects stand for, as *settings* say."""
    orders = parse_orders_prefix(settings.orders_prefix) if settings.orders_prefix else None
    return EventRules(settings.destination_bucket, orders, settings.event_request)


@asynccontextmanager
async def _open_hand_on(settings: Settings) -> AsyncIterator["HandOn | None"]:
    if settings.lambda_runs == "here":
        yield None
        return
    from archiver.awslambda.hand_on import open_hand_on  # noqa: PLC0415 - nothing of it where it is off

    async with open_hand_on(settings) as hand_on:
        yield hand_on


@asynccontextmanager
async def _open_tracer(settings: Settings) -> AsyncIterator["JobTracer | None"]:
    if settings.traces_endpoint is None:
        yield None
        return
    from archiver.telemetry.traces import open_tracer  # noqa: PLC0415 - nothing of it where it is off

    async with open_tracer(settings) as tracer:
        yield tracer


@asynccontextmanager
async def open_service(settings: Settings, write: Callable[[str], object]) -> AsyncIterator[Service]:
    """
    Open what *settings* name, without checking that it exists: an invocation tells. *write* gets lines of metrics.
    Raises SettingsError; CredentialsError if there are no credentials.
    """
    gate, budget = ReceiveGate(), BufferPool(settings.memory_budget)
    breakers, heartbeat, rules = CircuitBreakers(gate), Heartbeat(), archive_rules(settings)
    async with open_reader(settings) as (network, reader), open_links(settings, network.session) as links:
        roles = with_roles(reader, network.session, rules)
        guarded = GuardedReader(roles or reader, source_probes(settings, reader), breakers)
        fetcher = Fetcher(guarded, AdaptiveLimiter(MAX_CONCURRENT_READS))
        monitor = Monitor(MonitoredParts(heartbeat, gate, budget, fetcher, asyncio.Event()))
        metrics = Emf(settings.service_name, write, monitor.gauges.read) if settings.metrics == "emf" else None
        monitor.observers += [metrics] if metrics else []
        with as_settings_errors():
            opening = open_clients(ClientLimits(jobs=settings.max_concurrent_jobs), network)
        async with (
            opening as clients,
            open_ways_out_of(settings, Surroundings(clients, reader, breakers, heartbeat)) as ways_out,
            _open_hand_on(settings) as hand_on,
            _open_tracer(settings) as tracer,
        ):
            bucket = open_destination(clients, settings.destination_bucket, breakers)
            after = open_after_job(rules, clients, bucket, fetcher, breakers)
            yield Service(
                settings=settings,
                rules=rules,
                events=event_rules(settings),
                fetcher=fetcher,
                budget=budget,
                gate=gate,
                breakers=breakers,
                monitor=monitor,
                metrics=metrics,
                bucket=bucket,
                sources=Sources(fetcher, roles, with_restores(settings, reader, roles), after),
                links=links,
                queues=EventQueues(clients),
                answer_queues=answer_queues(settings, clients),
                ways_out=ways_out,
                hand_on=hand_on,
                tracer=tracer,
            )
