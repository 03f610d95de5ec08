"""
Traces of jobs, by OpenTelemetry: one span for a job, and one below it for each stage. Only this module knows it.

Spans wait in a queue of limited length, and a thread sends them. If the collector is down or slow, spans are dropped;
no job waits for it.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from archiver import __version__
from archiver.core.trace_context import TRACEPARENT, TraceContext, find_context
from archiver.ports.jobs import JobResult
from archiver.ports.messages import Attribute, Message
from archiver.ports.tracing import Trace
from archiver.settings import Settings, SettingsError
from archiver.stages.tracing import NO_TRACE

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ImportError as missing:
    raise SettingsError(
        [f"OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra archiver[otel] ({missing.name} is not installed)"]
    ) from None

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.trace import Tracer as OtelTracer

log = structlog.get_logger(__name__)

MAX_ATTRIBUTES = 10  # of a message on SQS
MAX_EVENTS = 64  # of one job
MAX_REASON_CHARS = 256
EXPORT_SECONDS = 5.0  # for one batch, and for what is left at the end
_NANOSECONDS = 1_000_000_000


class JobTracer:
    """A Tracer of *provider*. A caller that leaves the sampling to others is linked to, not continued."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("archiver", __version__)

    async def flush(self, seconds: float) -> None:
        """Send what has ended, in at most *seconds*: the process may be frozen afterwards."""
        await _in_thread(lambda: self._provider.force_flush(int(seconds * 1000)), seconds)

    def begin(self, message: Message) -> Trace:
        try:
            return self._begin(message)
        except Exception as error:  # noqa: BLE001 - a trace is worth no job
            log.warning("traces.failed", reason=repr(error))
            return NO_TRACE

    def _begin(self, message: Message) -> Trace:
        attribute = message.attributes.get(TRACEPARENT)
        given = attribute.value if attribute is not None and isinstance(attribute.value, str) else ""
        parent = find_context(given, message.trace_header, message.body)
        decides = parent is not None and parent.sampled is not None
        job = self._tracer.start_span(
            "job",
            context=set_span_in_context(NonRecordingSpan(_remote(parent)), Context())
            if parent and decides
            else Context(),
            links=[Link(_remote(parent))] if parent and not decides else [],
            kind=SpanKind.CONSUMER,
            start_time=_nanoseconds(monotonic() - message.received_at),
            attributes={"messaging.message.id": message.id, "archiver.receive_count": message.receive_count},
        )
        return JobTrace(self._tracer, job) if job.is_recording() else NO_TRACE


class JobTrace:
    """A Trace whose spans are children of *job*."""

    def __init__(self, tracer: "OtelTracer", job: "Span") -> None:
        self._tracer = tracer
        self._job = job
        self._context = set_span_in_context(job, Context())
        self._events = 0

    @contextmanager
    def span(self, name: str, seconds_ago: float = 0.0) -> Iterator[None]:
        stage = self._tracer.start_span(name, context=self._context, start_time=_nanoseconds(seconds_ago))
        try:
            yield
        except BaseException as error:
            stage.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:MAX_REASON_CHARS])
            raise
        finally:
            stage.end()

    def event(self, name: str, **facts: str | float) -> None:
        self._events += 1
        if self._events <= MAX_EVENTS:
            self._job.add_event(name, facts)

    def propagate(self, attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
        if TRACEPARENT not in attributes and len(attributes) >= MAX_ATTRIBUTES:
            return attributes
        own = self._job.get_span_context()
        text = TraceContext(own.trace_id, own.span_id, sampled=True).traceparent
        return {**attributes, TRACEPARENT: Attribute("String", text)}

    def end(self, result: JobResult | None) -> None:
        if result is None:
            self._job.set_status(StatusCode.ERROR, "defect")
        else:
            self._job.set_attributes(
                {
                    "archiver.outcome": result.outcome,
                    "archiver.code": result.code,
                    "archiver.files": result.files,
                    "archiver.bytes": result.bytes,
                    "archiver.queued": result.queued,
                    "archiver.lease_margin": result.margin,
                }
            )
            if result.outcome != "done":
                self._job.set_status(StatusCode.ERROR, f"{result.outcome}: {result.code}"[:MAX_REASON_CHARS])
        self._job.end()


def _remote(parent: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)


def _nanoseconds(seconds_ago: float) -> int:
    """Return the time *seconds_ago*, in nanoseconds since the epoch."""
    return time.time_ns() - int(seconds_ago * _NANOSECONDS)


@asynccontextmanager
async def open_tracer(settings: Settings) -> AsyncIterator[JobTracer]:
    """
    The tracer of *settings*. At the end of the block, what is left is sent in `EXPORT_SECONDS`, or dropped. Other
    `OTEL_*` variables of exporters (headers, certificate, compression, resource attributes) apply as well.
    """
    endpoint = f"{(settings.traces_endpoint or '').rstrip('/')}/v1/traces"
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.traces_sampled)),
        resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
        shutdown_on_exit=False,  # it would wait for a collector that is down
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)))
    try:
        yield JobTracer(provider)
    finally:
        await _in_thread(provider.shutdown, EXPORT_SECONDS)


async def _in_thread(send: Callable[[], object], seconds: float) -> None:
    """Wait for *send*, at most *seconds*. In a thread that nothing else waits for: the collector may be down."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        with suppress(Exception):
            send()
        with suppress(RuntimeError):  # the loop is closed: it has not waited
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="traces.send", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        log.info("traces.unsent", seconds=seconds)
