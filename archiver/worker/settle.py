"""
Runs one job and settles its message.

    the job ends with            the message                                                         log event
    success                      deleted, after the answer was accepted                              job.done
    Rejected                     dead-lettered with the reason; failure answer; deleted              job.rejected
    TransientError               released, with a delay that grows with its receives (max. 900 s)    job.retried
    ConfigurationError           held: lease renewed, job retried in place, nothing else received    worker.paused
    (a store or queue is down    held: calls wait in `archiver.worker.breaker`                       worker.paused)
    shutdown                     released with a short delay                                         job.returned
    LeaseLost                    untouched: another consumer has it, or will                         job.lease_lost
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

from archiver.core.backoff import MAX_REDELIVERY_DELAY, configuration_retry_delay, redelivery_delay
from archiver.core.traffic import Traffic, traffic_fields
from archiver.errors import ArchiverError, ConfigurationError, LeaseLost, Rejected, TransientError
from archiver.ports import Job, JobOutcome, JobResult, JobSuccess, Message, MessageSource, Observer
from archiver.ports.tracing import Tracer
from archiver.stages.retry import retry_transient
from archiver.stages.tracing import current_trace, traced
from archiver.worker.classify import check_receives, classify_error, retry_code
from archiver.worker.gate import ReceiveGate
from archiver.worker.hold import JobHold
from archiver.worker.lease import Lease
from archiver.worker.slots import Claim

log = structlog.get_logger(__name__)
T = TypeVar("T")

REFUSED_PAUSE_SECONDS = 60.0  # without a receive, after the source refused to extend a message
SHUTDOWN_REDELIVERY_DELAY = 2  # seconds; not 0, or a worker that is stopping too might receive it
PARKED_REDELIVERY_DELAY = 21  # seconds, more than a long poll: a wait must not use up receives of stopping workers


@dataclass(frozen=True, slots=True)
class _JobEnd:
    """
    How a job ended. *release_delay*: seconds until its message is redelivered; None: it is deleted, or not held any
    more.
    """

    outcome: JobOutcome
    code: str = ""
    files: int = 0
    bytes: int = 0
    traffic: Traffic | None = None
    release_delay: int | None = None


class Settler:
    """Runs one job under its lease, and settles its message as the table above says. *clock*: that of receives."""

    def __init__(
        self,
        source: MessageSource,
        job: Job,
        gate: ReceiveGate,
        observer: Observer,
        *,
        clock: Callable[[], float] = monotonic,
        tracer: Tracer | None = None,
    ) -> None:
        self._source = source
        self._observer = observer
        self._facts = source.facts
        self._job = job
        self._gate = gate
        self._clock = clock
        self._tracer = tracer

    async def handle(self, message: Message, claim: Claim) -> None:
        """
        Run the job of *message* in the current task, once *claim* has a slot, and settle the message.

        Never raises `Exception`: a failed job does not stop the worker.
        """
        named = bound_contextvars(message_id=message.id, job_id=self._job.read_job_id(message))
        with named, traced(self._tracer, message) as results:
            log.info("job.received", receive_count=message.receive_count)
            lease = Lease(message, self._facts, self._source.extend, clock=self._clock)
            hold = JobHold(lease, claim)
            queued = max(0.0, (datetime.now(UTC) - message.sent_at).total_seconds())
            try:
                async with lease:
                    with current_trace().span("receive", monotonic() - message.received_at):
                        await claim.granted
                    job_end = await self._run_job(message, lease, hold)
                await self._settle(message, job_end, lease)
            except LeaseLost as lost:
                log.warning("job.lease_lost", reason=str(lost))
                job_end = _JobEnd("lease_lost")
                if lease.renewal_refused:
                    self._gate.pause_for(REFUSED_PAUSE_SECONDS)
            except asyncio.CancelledError:
                # Shutdown: the grace period is over, or the job was parked. Its upload was aborted.
                delay = PARKED_REDELIVERY_DELAY if hold.drained else SHUTDOWN_REDELIVERY_DELAY
                if await self._release(message, delay, lease):
                    log.info("job.returned", delay=delay, reason="shutdown")
                job_end = _JobEnd("returned")
            seconds = monotonic() - message.received_at
            made = (job_end.code, job_end.files, job_end.bytes, job_end.traffic)
            results.append(JobResult(job_end.outcome, seconds, queued, lease.margin, *made))
            self._observer.ended(results[-1])

    async def release_unstarted(self, message: Message) -> None:
        """Release a message that was received while the worker was stopping."""
        with bound_contextvars(message_id=message.id, job_id=self._job.read_job_id(message)):
            if await self._release(message, 0):
                log.info("job.returned", delay=0, reason="shutdown before it started")

    async def _run_job(self, message: Message, lease: Lease, hold: JobHold) -> _JobEnd:
        begun = monotonic()
        try:
            check_receives(message, self._facts)
            done = await self._run_with_time_limit(message, lease, hold)
        except Rejected as rejection:
            return await self._reject(message, rejection, lease, hold)
        except _PauseLimitReached as error:
            log.warning(
                "job.retried", reason=str(error), delay=MAX_REDELIVERY_DELAY, receive_count=message.receive_count
            )
            return _JobEnd("retried", "configuration", release_delay=MAX_REDELIVERY_DELAY)
        except TransientError as error:
            self._gate.pause_for(error.receive_pause)
            if self._facts.max_receives is not None and message.receive_count >= self._facts.max_receives:
                last = error.rejection or Rejected(
                    "retries_exhausted", f"failed {message.receive_count} times, at last with: {error}"
                )
                return await self._reject(message, last, lease, hold)
            return self._retry(message, error)
        log.info(
            "job.done",
            status=done.status,
            files=done.files,
            bytes=done.size,
            reused=done.reused,
            seconds=round(monotonic() - begun, 3),
            **({"key": done.key} if done.key else {}),
            **traffic_fields(done.traffic),
        )
        return _JobEnd("done", files=done.files, bytes=done.size, traffic=done.traffic)

    def _retry(self, message: Message, error: TransientError) -> _JobEnd:
        delay = redelivery_delay(message.receive_count, random.uniform)
        log.warning("job.retried", reason=str(error), delay=delay, receive_count=message.receive_count)
        return _JobEnd("retried", retry_code(error), release_delay=delay)

    async def _run_with_time_limit(self, message: Message, lease: Lease, hold: JobHold) -> JobSuccess:
        """
        Run the job, and again while a configuration error lasts. Any other exception becomes an ArchiverError.
        """

        async def run() -> JobSuccess:
            try:
                async with asyncio.timeout(lease.job_time_left) as limit:
                    return await self._job.run(message, hold)
            except Exception as error:
                if self._gate.grace_expired or hold.drained:
                    # A task group that was failing already swallows the cancellation: ignore its error.
                    raise asyncio.CancelledError from error
                if isinstance(error, TimeoutError) and limit.expired() and self._gate.pause_count:
                    raise _PauseLimitReached("a store or queue was down when the job's time was over") from error
                classified = classify_error(
                    error,
                    expired=limit.expired(),
                    longest=self._facts.longest,
                    first_delivery=message.receive_count <= 1,
                )
                if classified is error:
                    raise
                raise classified from error

        return await self._retry_while_misconfigured(run, lease)

    async def _reject(self, message: Message, rejection: Rejected, lease: Lease, hold: JobHold) -> _JobEnd:
        fields = {"code": rejection.code, "reason": rejection.message, "sources": len(rejection.sources)}

        try:
            # Two steps, each retried by itself: a retry of the second must not send a second dead letter.
            await self._retry_while_misconfigured(lambda: self._job.reject(message, rejection, hold), lease)
            await self._retry_while_misconfigured(lambda: self._job.send_failure(message, rejection, hold), lease)
        except _PauseLimitReached as error:
            log.error("job.rejection_failed", **fields, failure=str(error), delay=MAX_REDELIVERY_DELAY)
            return _JobEnd("retried", "dead_letter_queue", release_delay=MAX_REDELIVERY_DELAY)
        except TransientError as error:
            # The message is released; after its last receive, the queue's redrive policy dead-letters it.
            delay = redelivery_delay(message.receive_count, random.uniform)
            log.error("job.rejection_failed", **fields, failure=str(error), delay=delay)
            return _JobEnd("retried", "dead_letter_queue", release_delay=delay)
        log.warning("job.rejected", **fields)
        return _JobEnd("rejected", rejection.code)

    async def _retry_while_misconfigured(self, step: Callable[[], Awaitable[T]], lease: Lease) -> T:
        """Run *step*, and again while it raises ConfigurationError. Receiving is paused meanwhile."""
        attempt = 0
        try:
            while True:
                try:
                    return await step()
                except ConfigurationError as fault:
                    if not attempt:
                        self._gate.pause_receiving()
                    attempt += 1
                    seconds = configuration_retry_delay(attempt)
                    if lease.job_time_left < seconds:
                        raise _PauseLimitReached(str(fault)) from fault
                    log.error("worker.paused", reason=str(fault), attempt=attempt, retry_in=seconds)
                    await asyncio.sleep(seconds)
        finally:
            if attempt:
                self._gate.resume_receiving()
                log.info("worker.resumed", after=attempt)

    async def _settle(self, message: Message, job_end: _JobEnd, lease: Lease) -> None:
        """
        Release or delete *message*. If the source refuses the delete (permissions), retry as in
        `_retry_while_misconfigured`; the lease is renewed between two attempts.
        """
        refusals = 0
        try:
            while True:
                try:
                    return await self._settle_once(message, job_end, lease)
                except ConfigurationError as fault:
                    if not refusals:
                        self._gate.pause_receiving()
                    refusals += 1
                    if lease.job_time_left < (seconds := configuration_retry_delay(refusals)):
                        log.warning("job.delete_failed", reason=str(fault))
                        return None
                    log.error("worker.paused", reason=str(fault), attempt=refusals, retry_in=seconds)
                    async with lease:
                        await asyncio.sleep(seconds)
        finally:
            if refusals:
                self._gate.resume_receiving()
                log.info("worker.resumed", after=refusals)

    async def _settle_once(self, message: Message, job_end: _JobEnd, lease: Lease) -> None:
        """
        Release or delete *message* in the time that is left of the lease, which is no longer renewed. Raises
        ConfigurationError if the source refuses the delete.
        """
        lease.confirm()
        if job_end.release_delay is not None:
            await self._release(message, job_end.release_delay, lease)
            return

        async def delete() -> None:
            lease.confirm()
            await self._source.delete(message)

        try:
            async with asyncio.timeout(lease.expires_in):
                await retry_transient(delete, tries=3, seconds=0)
        except ConfigurationError:
            raise
        except (ArchiverError, TimeoutError) as error:
            # The job is done: when the message is redelivered, its archive is found.
            log.warning("job.delete_failed", reason=str(error) or "no answer in time")

    async def _release(self, message: Message, delay: int, lease: Lease | None = None) -> bool:
        """
        Release *message*, and return whether that worked. With a *lease*, only while it lasts: later, the call could
        shorten the visibility timeout of another consumer.
        """

        async def release() -> None:
            if lease is not None:
                lease.confirm()
            await self._source.release(message, delay)

        try:
            async with asyncio.timeout(None if lease is None else lease.expires_in):
                await retry_transient(release, tries=3, seconds=0)
        except (ArchiverError, TimeoutError) as error:
            # It is redelivered when its visibility timeout ends.
            log.warning("job.return_failed", reason=str(error) or "no answer in time")
            return False
        return True


class _PauseLimitReached(ArchiverError):
    """A configuration error lasted longer than the message can be held."""
