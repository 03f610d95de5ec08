"""The job of one message in an event: its order is read, it ends before the invocation does, or it is handed on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from archiver.core.event_rules import OrderFile
from archiver.core.events import EventMessage
from archiver.core.locations import Location
from archiver.core.orders import MAX_ORDER_BYTES, decode_order
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ConfigurationError,
    Rejected,
    SourceChanged,
    SourceUnavailable,
    TransientError,
)
from archiver.ports import Hold, JobSuccess, Message
from archiver.stages.fetch import Fetcher

if TYPE_CHECKING:
    from archiver.core.tasks import StartedTask
    from archiver.jobs.pipeline import Pipeline

OUT_OF_TIME = "the job did not end within the time that the invocation has"

_READS = 3  # of an order file that is replaced while it is read


class OutlastsInvocation(Exception):
    """The job would not end in time: it is handed on instead."""


@dataclass(slots=True)
class Entry:
    """
    One item of an event. *is_done*: it need not come again; *answer*: what is returned for it; *reason*: why it is not
    done; *misconfigured*: the operator must act.
    """

    event: EventMessage
    order: OrderFile | None = None
    is_done: bool = False
    answer: object = None
    reason: str = "the invocation was stopped"
    misconfigured: bool = False


async def read_order(order: OrderFile, fetcher: Fetcher) -> str:
    """Return the request in the file. Raises Rejected, TransientError, CredentialsRefused."""
    content = await read_object(order.location, fetcher, MAX_ORDER_BYTES, "order file")
    try:
        return decode_order(content)
    except ValueError as error:
        raise Rejected("invalid_json", f"the order file {order.location} {error}") from None


async def read_object(location: Location, fetcher: Fetcher, limit: int, what: str) -> bytes:
    """Return the content of one version of the object, which is called *what*. Raises as `read_order` does."""
    reason = ""
    for _ in range(_READS):
        try:
            info = await fetcher.head(location)
            if info.size > limit:
                sizes = f"has {info.size:,} bytes; at most {limit:,} are read: list its files in a manifest"
                raise Rejected("too_large", f"the {what} {location} {sizes}")
            content = bytearray(info.size)
            if content:
                await fetcher.read(ObjectVersion(location, info.etag), 0, [memoryview(content)])
            return bytes(content)
        except SourceUnavailable as error:
            raise Rejected(error.code, f"the {what} {location}: {error.detail}") from None
        except SourceChanged as error:
            reason = error.detail
    raise TransientError(f"the {what} {location} changed each time that it was read: {reason}")


@dataclass(frozen=True, slots=True)
class JobLimits:
    """
    *ends_at*: when the job must have ended, by the clock of `monotonic`. *is_held*: whether a store or queue is down,
    so that the job's end says nothing about it. *waits*: a configuration error is waited out in the invocation.
    """

    ends_at: float
    is_held: Callable[[], bool]
    waits: bool
    clock: Callable[[], float] = monotonic


HandingOn = Callable[[EventMessage, Hold], Awaitable["StartedTask"]]


class EventJob:
    """
    A Job: the *pipeline*, for the message of *entry*. *hand_on* starts a task with its message; None: all jobs run
    here.
    """

    def __init__(
        self, pipeline: "Pipeline", entry: Entry, fetcher: Fetcher, limits: JobLimits, hand_on: HandingOn | None = None
    ) -> None:
        self._pipeline = pipeline
        self._entry = entry
        self._fetcher = fetcher
        self._limits = limits
        self._hand_on = hand_on
        self._body: str | None = None  # of the order, once it was read

    def read_job_id(self, message: Message) -> str | None:
        return self._pipeline.read_job_id(message)

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        try:
            return await self._run_or_hand_on(message, hold)
        except ConfigurationError as error:
            self._entry.misconfigured, self._entry.reason = True, str(error)
            if self._limits.waits:
                raise
            raise TransientError(str(error)) from error
        except Exception as error:
            self._entry.reason = str(error) or type(error).__name__
            raise

    async def _run_or_hand_on(self, message: Message, hold: Hold) -> JobSuccess:
        try:
            if self._entry.order is not None and self._body is None:
                self._body = await read_order(self._entry.order, self._fetcher)
            return await self._pipeline.run(self._ordered(message), hold)
        except OutlastsInvocation:
            return await self._hand(message, hold)
        except asyncio.CancelledError:
            if self._limits.clock() < self._limits.ends_at or self._limits.is_held():
                raise
            # The time is over; the upload was aborted. Another invocation may have more of it, a task has.
            if self._hand_on is not None:
                return await self._hand(message, hold)
            raise TransientError(OUT_OF_TIME, rejection=Rejected("time_limit", OUT_OF_TIME)) from None

    async def _hand(self, message: Message, hold: Hold) -> JobSuccess:
        message = self._ordered(message)
        if self._hand_on is None:
            raise AssertionError
        started = await self._hand_on(replace(self._entry.event, body=message.body), hold)
        self._entry.answer = {
            "status": "handed_on",
            "job_id": self.read_job_id(message),
            "message_id": message.id,
            "task": started.arn,
        }
        return JobSuccess("handed_on", 0, 0, "", reused=False)

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        await self._pipeline.reject(self._ordered(message), rejection, hold)

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        await self._pipeline.send_failure(self._ordered(message), rejection, hold)

    def _ordered(self, message: Message) -> Message:
        """Return *message* with the request of its order file, if it has one that was read."""
        return message if self._body is None else replace(message, body=self._body)
