"""
One message, from its receipt to its end, told truthfully.

    the job ends with            the message                                                        log event
    done                         deleted, after the answer was accepted                             job.done
    Rejected                     to the dead-letter queue with the reason; failure answer; deleted  job.rejected
    Temporary                    back, after a delay that grows with its receives, at most 900 s    job.retried
    ConfigurationFault           kept: lease renewed, tried again in place, nothing else received   worker.paused
    (a store or queue is down    the same: its calls wait, in `archiver.worker.breaker`              worker.paused)
    shutdown                     back with a short delay                                            job.returned
    LeaseLost                    untouched: it is someone else's by now                             job.lease_lost
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from archiver.core.backoff import LONGEST_REDELIVERY, pause, redelivery_delay
from archiver.errors import ArchiverError, ConfigurationFault, LeaseLost, Rejected, Temporary
from archiver.ports import Done, Ended, Job, Message, MessageSource, Observer, Outcome, QueueFacts
from archiver.stages.retry import patiently
from archiver.worker.classify import kind_of, meaning_of
from archiver.worker.gate import Gate
from archiver.worker.lease import LONGEST, Lease

log = structlog.get_logger(__name__)
T = TypeVar("T")

REFUSED_REST = 60.0  # seconds without a receive, where SQS does not let us keep what we received
SHORT_DELAY = 2  # seconds; a message that a shutdown returned: soon, but not into the hands of the next worker to stop


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a job ended. *back*: seconds for which its message goes back; None: it is deleted, or not ours any more."""

    outcome: Outcome
    code: str = ""
    files: int = 0
    bytes: int = 0
    back: int | None = None


class Settler:
    """Runs one job under its lease, and settles its message by the table above."""

    def __init__(
        self,
        source: MessageSource,
        facts: QueueFacts,
        job: Job,
        gate: Gate,
        observer: Observer,
        *,
        longest: float = LONGEST,
    ) -> None:
        self._source = source
        self._observer = observer
        self._facts = facts
        self._job = job
        self._gate = gate
        self._longest = longest

    async def handle(self, message: Message) -> None:
        """Raises nothing but CancelledError's kin: whatever happens to one message, the worker goes on."""
        with bound_contextvars(message_id=message.id, job_id=self._job.identify(message)):
            log.info("job.received", receive_count=message.receive_count)
            lease = Lease(message, self._facts.visibility, self._source.hide, longest=self._longest)
            queued = max(0.0, (datetime.now(UTC) - message.sent_at).total_seconds())
            try:
                async with lease:
                    ending = await self._work(message, lease)
                await self._settle(message, ending, lease)
            except LeaseLost as lost:
                log.warning("job.lease_lost", reason=str(lost))
                ending = _Ending("lease_lost")
                if lease.refused:
                    self._gate.rest(REFUSED_REST)
            except asyncio.CancelledError:
                # At shutdown, when the grace period is over. What was begun is undone by now.
                if await self._give_back(message, SHORT_DELAY, lease):
                    log.info("job.returned", delay=SHORT_DELAY, reason="shutdown")
                ending = _Ending("returned")
            self._observer.ended(
                Ended(
                    outcome=ending.outcome,
                    code=ending.code,
                    seconds=monotonic() - message.received_at,
                    queued=queued,
                    margin=lease.margin,
                    files=ending.files,
                    bytes=ending.bytes,
                )
            )

    async def give_back_unstarted(self, message: Message) -> None:
        """For a message that came when the worker was already stopping."""
        with bound_contextvars(message_id=message.id, job_id=self._job.identify(message)):
            if await self._give_back(message, 0):
                log.info("job.returned", delay=0, reason="shutdown before it started")

    async def _work(self, message: Message, lease: Lease) -> _Ending:
        begun = monotonic()
        try:
            done = await self._attempt(message, lease)
        except Rejected as rejection:
            return await self._reject(message, rejection, lease)
        except _Held as held:
            log.warning("job.retried", reason=str(held), delay=LONGEST_REDELIVERY, receive_count=message.receive_count)
            return _Ending("retried", "configuration", back=LONGEST_REDELIVERY)
        except Temporary as error:
            self._gate.rest(error.rest)
            if self._facts.max_receives is not None and message.receive_count >= self._facts.max_receives:
                last = error.rejection or Rejected(
                    "retries_exhausted", f"failed {message.receive_count} times, at last with: {error}"
                )
                return await self._reject(message, last, lease)
            return self._retry(message, error)
        log.info(
            "job.done",
            status=done.status,
            files=done.files,
            bytes=done.size,
            key=done.key,
            reused=done.reused,
            seconds=round(monotonic() - begun, 3),
        )
        return _Ending("done", files=done.files, bytes=done.size)

    def _retry(self, message: Message, error: Temporary) -> _Ending:
        delay = redelivery_delay(message.receive_count, random.uniform)
        log.warning("job.retried", reason=str(error), delay=delay, receive_count=message.receive_count)
        return _Ending("retried", kind_of(error), back=delay)

    async def _attempt(self, message: Message, lease: Lease) -> Done:
        """
        The job itself, held in place through configuration faults; a defect of ours is a rejection, not the worker's
        end.
        """

        async def run() -> Done:
            try:
                async with asyncio.timeout(lease.time_left) as limit:
                    return await self._job.run(message, lease.confirm)
            except Exception as error:
                if self._gate.over:
                    # A group of tasks that was failing already swallows the cancellation: what it raises is no verdict.
                    raise asyncio.CancelledError from error
                if isinstance(error, TimeoutError) and limit.expired() and self._gate.held:
                    raise _Held("a store or queue was down when the job's time was over") from error
                meaning = meaning_of(error, expired=limit.expired(), first=message.receive_count <= 1)
                if meaning is error:
                    raise
                raise meaning from error

        return await self._hold(run, lease)

    async def _reject(self, message: Message, rejection: Rejected, lease: Lease) -> _Ending:
        fields = {"code": rejection.code, "reason": rejection.message, "sources": len(rejection.sources)}

        try:
            # Two steps, each held by itself: trying the second one again must not send a second dead letter.
            await self._hold(lambda: self._job.reject(message, rejection, lease.confirm), lease)
            await self._hold(lambda: self._job.answer_rejection(message, rejection, lease.confirm), lease)
        except _Held as held:
            log.error("job.rejection_failed", **fields, failure=str(held), delay=LONGEST_REDELIVERY)
            return _Ending("retried", "dead_letter_queue", back=LONGEST_REDELIVERY)
        except Temporary as error:
            # The message stays, and the queue's own redrive policy takes it in the end.
            delay = redelivery_delay(message.receive_count, random.uniform)
            log.error("job.rejection_failed", **fields, failure=str(error), delay=delay)
            return _Ending("retried", "dead_letter_queue", back=delay)
        log.warning("job.rejected", **fields)
        return _Ending("rejected", rejection.code)

    async def _hold(self, step: Callable[[], Awaitable[T]], lease: Lease) -> T:
        """Do *step*, again and again while it is our configuration that is at fault, and receive nothing meanwhile."""
        attempt = 0
        try:
            while True:
                try:
                    return await step()
                except ConfigurationFault as fault:
                    if not attempt:
                        self._gate.hold()
                    attempt += 1
                    seconds = pause(attempt)
                    if lease.time_left < seconds:
                        raise _Held(str(fault)) from fault
                    log.error("worker.paused", reason=str(fault), attempt=attempt, retry_in=seconds)
                    await asyncio.sleep(seconds)
        finally:
            if attempt:
                self._gate.release()
                log.info("worker.resumed", after=attempt)

    async def _settle(self, message: Message, ending: _Ending, lease: Lease) -> None:
        """
        Give back or delete *message*. Where SQS refuses the delete, that is ours to mend: the lease goes on between two
        tries, as in `_hold`.
        """
        refusals = 0
        try:
            while True:
                try:
                    return await self._end(message, ending, lease)
                except ConfigurationFault as fault:
                    if not refusals:
                        self._gate.hold()
                    refusals += 1
                    if lease.time_left < (seconds := pause(refusals)):
                        log.warning("job.delete_failed", reason=str(fault))
                        return None
                    log.error("worker.paused", reason=str(fault), attempt=refusals, retry_in=seconds)
                    async with lease:
                        await asyncio.sleep(seconds)
        finally:
            if refusals:
                self._gate.release()
                log.info("worker.resumed", after=refusals)

    async def _end(self, message: Message, ending: _Ending, lease: Lease) -> None:
        """
        The heartbeat is over: what is still to be done has the time that is left of the lease, and no more. Raises
        ConfigurationFault where SQS refuses to delete.
        """
        lease.confirm()
        if ending.back is not None:
            await self._give_back(message, ending.back, lease)
            return

        async def delete() -> None:
            lease.confirm()
            await self._source.delete(message)

        try:
            async with asyncio.timeout(lease.lost_in):
                await patiently(delete, tries=3, seconds=0)
        except ConfigurationFault:
            raise
        except (ArchiverError, TimeoutError) as error:
            # The job is done all the same: the message comes again, and the archive is found there.
            log.warning("job.delete_failed", reason=str(error) or "no answer in time")

    async def _give_back(self, message: Message, seconds: int, lease: Lease | None = None) -> bool:
        """Whether it worked. With a *lease*, only in its time: later, it would cut short what is someone else's."""

        async def hide() -> None:
            if lease is not None:
                lease.confirm()
            await self._source.hide(message, seconds)

        try:
            async with asyncio.timeout(None if lease is None else lease.lost_in):
                await patiently(hide, tries=3, seconds=0)
        except (ArchiverError, TimeoutError) as error:
            # It comes back when its visibility ends.
            log.warning("job.return_failed", reason=str(error) or "no answer in time")
            return False
        return True


class _Held(ArchiverError):
    """A configuration fault outlasted the time for which a message can be held."""
