"""
The trace of the current job. Stages name their spans here; without a trace nothing happens, at the cost of one look.

Tasks that a job starts belong to its trace, as they inherit its context.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from archiver.ports.jobs import JobResult
from archiver.ports.messages import Attribute, Message
from archiver.ports.tracing import Trace, Tracer

_NOTHING = nullcontext()


class NoTrace:
    """The Trace of a job that is not traced."""

    def span(self, name: str, seconds_ago: float = 0.0) -> AbstractContextManager[None]:  # noqa: ARG002
        return _NOTHING

    def event(self, name: str, **facts: str | float) -> None:
        """Nothing is recorded."""

    def propagate(self, attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
        return attributes

    def end(self, result: JobResult | None) -> None:
        """Nothing was begun."""


NO_TRACE = NoTrace()
_current: ContextVar[Trace] = ContextVar("trace", default=NO_TRACE)


def current_trace() -> Trace:
    """Return the trace of the current job."""
    return _current.get()


def span(name: str) -> AbstractContextManager[None]:
    """The block as a span of the current job."""
    return _current.get().span(name)


@contextmanager
def traced(tracer: Tracer | None, message: Message) -> Iterator[list[JobResult]]:
    """Trace the block as the job of *message*. Its result is put into the list."""
    if tracer is None:
        yield []
        return
    results: list[JobResult] = []
    trace = tracer.begin(message)
    token = _current.set(trace)
    try:
        yield results
    finally:
        _current.reset(token)
        trace.end(results[0] if results else None)
