"""One invocation: the jobs of an event, and what the function returns for it."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import structlog

from archiver.aws.event_queues import EventQueue, is_queue
from archiver.awslambda.job import Entry, EventJob, HandingOn, JobLimits
from archiver.awslambda.service import Service
from archiver.core.event_rules import OrderFile
from archiver.core.events import Event, EventMessage, Ignored, Item, NewObject, parse_event
from archiver.doors.door import Door
from archiver.doors.events import (
    MAX_ANSWER_BYTES,
    EventSource,
    LastDeadLetters,
    OriginalBodies,
    ReturnedAnswer,
    event_facts,
    job_ends_at,
    to_message,
)
from archiver.ports import DeadLetters, OutgoingMessage
from archiver.worker.guarded import GuardedDeadLetters
from archiver.worker.settle import Settler
from archiver.worker.slots import Slots

log = structlog.get_logger(__name__)

MIN_ANSWER_BYTES = 4096
MAX_ATTEMPTS = 5  # outside Lambda, which has its own


class NotDone(Exception):
    """The event is not done: invoked again, the function may do it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """
    *id*: the same when Lambda repeats an asynchronous one; *function*: its ARN. *seconds* left for it, counted from
    *begun_at*, by the monotonic clock. *is_task*: this is no function, but a process that has the event to itself, and
    gives up after `MAX_ATTEMPTS`; this is its *attempt*.
    """

    id: str
    function: str
    seconds: float
    begun_at: float
    memory_mib: int = 1769
    is_task: bool = False
    attempt: int = 0


class EventRun:
    """Does one event, once."""

    def __init__(self, service: Service, invocation: Invocation) -> None:
        self._service = service
        self._invocation = invocation
        self.entries: list[Entry] = []
        self._is_batch = False
        self._answer_bytes = MAX_ANSWER_BYTES
        self._stopping = False
        self._jobs: set[asyncio.Task[None]] = set()
        monitor, settings = service.monitor, service.settings
        self._slots = Slots(
            settings.max_concurrent_jobs, monitor.on_running_changed, max_parked=settings.max_parked_jobs
        )

    @property
    def misconfigured(self) -> bool:
        """Whether the operator must act, or other credentials are needed."""
        return any(entry.misconfigured for entry in self.entries)

    async def run(self, event: object) -> object:
        """Do *event*, and return what the function returns. Raises NotDone."""
        self._service.gate.grace_expired = False
        invocation = self._invocation
        parsed = parse_event(event, invocation.id, invocation.function, datetime.now(UTC))
        self._is_batch = parsed.is_batch
        self._answer_bytes = max(MIN_ANSWER_BYTES, MAX_ANSWER_BYTES // max(1, len(parsed.items)))
        self.entries = [self._entry(item) for item in parsed.items]
        await self._run_lanes()
        return _returned(parsed, self.entries, as_list=isinstance(event, list))

    def stop(self) -> None:
        """End all jobs: their uploads are aborted, and their messages come again."""
        self._stopping = self._service.gate.grace_expired = True
        for job in self._jobs:
            job.cancel()

    def _entry(self, item: Item) -> Entry:
        judged = self._service.events.judge(item) if isinstance(item, NewObject) else item
        if isinstance(judged, Ignored):
            log.info("event.ignored", reason=judged.reason)
            answer = {"status": "ignored", "reason": judged.reason}
            return Entry(judged.message, is_done=True, answer=answer)
        if isinstance(judged, OrderFile):
            return Entry(judged.message, order=judged)
        return Entry(judged)

    async def _run_lanes(self) -> None:
        """Run all jobs until they end, or the time is over."""
        facts = event_facts("", self._invocation.seconds, None)
        left = self._invocation.begun_at + facts.longest - monotonic()
        lanes = [asyncio.create_task(self._run_lane(lane), name="event.lane") for lane in _lanes(self.entries)]
        try:
            _, late = await asyncio.wait(lanes, timeout=left if math.isfinite(left) else None) if lanes else ((), ())
            if late:
                self.stop()
                await asyncio.wait(late, timeout=self._invocation.seconds - facts.longest)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _run_lane(self, lane: Sequence[Entry]) -> None:
        """Run the jobs of *lane* in their order, until one is not done: those behind it must not overtake it."""
        for entry in lane:
            if not entry.is_done:
                await self._run_job(entry)
            if not entry.is_done:
                return

    async def _run_job(self, entry: Entry) -> None:
        claim = self._slots.claim()
        try:
            await claim.granted
            if self._stopping:
                return
            source, settler = await self._settler(entry)
            (message,) = await source.receive(1)
            job = asyncio.create_task(settler.handle(message, claim), name=f"job.{message.id}")
            claim.task = job
            self._jobs.add(job)
            try:
                await asyncio.wait([job])
            finally:
                job.cancel()
                await asyncio.wait([job])
                self._jobs.discard(job)
            if not job.cancelled() and (error := job.exception()) is not None:
                log.error("worker.defect", reason=repr(error), exc_info=error)
            entry.is_done = source.is_settled
        finally:
            self._slots.give_back(claim)

    async def _settler(self, entry: Entry) -> tuple[EventSource, Settler]:
        service, invocation, event = self._service, self._invocation, entry.event
        queue = await self._queue(entry)
        source_id = event.source or invocation.function
        facts = event_facts(source_id, invocation.seconds, queue, MAX_ATTEMPTS if invocation.is_task else None)
        message = to_message(
            replace(event, receive_count=invocation.attempt or event.receive_count), invocation.begun_at
        )
        source = EventSource(message, facts, queue)
        returned = _Returned(entry, self._answer_bytes)
        answers = service.answers(*([] if self._is_batch and not invocation.is_task else [returned]))
        dead_letters = self._dead_letters(event, queue)
        door = Door(source, dead_letters, answers)
        limits = JobLimits(job_ends_at(message, facts), self._is_held, waits=self._is_batch or invocation.is_task)
        job = self._job(entry, door, limits)
        return source, Settler(source, job, service.gate, service.monitor, tracer=service.tracer)

    async def _queue(self, entry: Entry) -> EventQueue | None:
        """Return where the message comes from. A task is told the dead-letter queue; the function asks for it."""
        queues, told = self._service.queues, entry.event.dead_letters
        if self._invocation.is_task and is_queue(told):
            return queues.of_rejected(told)
        queue = await queues.find(entry.event.source)
        entry.event = replace(entry.event, dead_letters=(queue and queue.dead_letters.arn) or "")
        return queue

    def _dead_letters(self, event: EventMessage, queue: EventQueue | None) -> DeadLetters | None:
        if queue is None:
            return None
        kept = OriginalBodies(queue.dead_letters, event.body)
        return GuardedDeadLetters(LastDeadLetters(kept) if self._invocation.is_task else kept, self._service.breakers)

    def _job(self, entry: Entry, door: Door, limits: JobLimits) -> EventJob:
        service, works = self._service, self._service.works(door.source.facts)
        hand_on = service.hand_on
        if hand_on is None or self._invocation.is_task:
            return EventJob(service.pipeline(door, works), entry, service.fetcher, limits)
        ends_at, memory = limits.ends_at, self._invocation.memory_mib
        judged = hand_on.judged(works["archive"], service.bucket.store, service.budget.total, ends_at, memory)
        pipeline = service.pipeline(door, {**works, "archive": judged})
        starting: HandingOn = partial(hand_on.start, service.bucket.receipts)
        return EventJob(pipeline, entry, service.fetcher, limits, starting)

    def _is_held(self) -> bool:
        return self._stopping or bool(self._service.gate.pause_count)


class _Returned(ReturnedAnswer):
    """Keeps the answer in its *entry*."""

    def __init__(self, entry: Entry, limit: int) -> None:
        super().__init__(limit)
        self._entry = entry

    async def send(self, note: OutgoingMessage) -> None:
        await super().send(note)
        self._entry.answer = json.loads(note.body)


def _lanes(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries that must keep their order together: those of one group of a FIFO queue."""
    lanes: dict[object, list[Entry]] = {}
    for number, entry in enumerate(entries):
        event = entry.event
        is_ordered = event.group is not None and event.source.endswith(".fifo")
        lanes.setdefault((event.source, event.group) if is_ordered else number, []).append(entry)
    return list(lanes.values())


def _returned(event: Event, entries: Sequence[Entry], *, as_list: bool) -> object:
    """Return what the function returns. Raises NotDone."""
    undone = [entry for entry in entries if not entry.is_done]
    if event.is_batch:
        items = dict.fromkeys(entry.event.item for entry in undone)
        return {"batchItemFailures": [{"itemIdentifier": item} for item in items]}
    if undone:
        raise NotDone("; ".join(dict.fromkeys(entry.reason for entry in undone)))
    answers = [entry.answer for entry in entries]
    return answers if as_list or len(answers) != 1 else answers[0]
