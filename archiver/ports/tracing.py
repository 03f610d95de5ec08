"""Traces: what a job did, and for how long, as a tree of spans."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from archiver.ports.jobs import JobResult
from archiver.ports.messages import Attribute, Message


class Trace(Protocol):
    """The trace of one job. No verb waits or raises."""

    def span(self, name: str, seconds_ago: float = 0.0) -> AbstractContextManager[None]:
        """The block, which began *seconds_ago*, as a part of the job. An exception that leaves it is recorded."""

    def event(self, name: str, **facts: str | float) -> None:
        """Something that happened at this moment."""

    def propagate(self, attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
        """Return *attributes* of an answer, so that its receiver continues this trace."""

    def end(self, result: JobResult | None) -> None:
        """The job has ended; None: by a defect. Called once."""


class Tracer(Protocol):
    """Makes traces. It neither waits nor raises."""

    def begin(self, message: Message) -> Trace:
        """Begin the trace of the job of *message*."""
