"""
One message becomes one result and its answers.

    message ─▶ request ─▶ work (plan ─▶ fetch ─▶ zip ─▶ upload) ─▶ answer
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from archiver.core.archive_rules import NO_COMMANDS, ArchiveRules
from archiver.core.dialects import dialect_of
from archiver.core.messages import INVALID_PING, Kind, Request, Status, Success
from archiver.core.unwrap import unwrap
from archiver.core.webhooks import NO_CALLBACKS
from archiver.errors import (
    ArchiverError,
    ConfigurationError,
    JobCancelled,
    LeaseLost,
    Rejected,
    TransientError,
    Undeliverable,
)
from archiver.jobs.answers import Answers, Fanout
from archiver.jobs.identity import JobIdentity
from archiver.jobs.progress import reporting_progress
from archiver.jobs.receipt import sweep_abandoned, sweep_others
from archiver.jobs.work import Result, Work
from archiver.ports import DeadLetters, Hold, JobSuccess, Links, Message, Notifier, ObjectStore, QueueFacts
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.progress import Progress
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient
from archiver.stages.tracing import span

if TYPE_CHECKING:
    from archiver.jobs.janitor import Janitor

log = structlog.get_logger(__name__)

ABANDONED_MARGIN = timedelta(hours=1)  # longer than the longest lease, for clocks that differ


class Pipeline:
    """
    The job that the worker runs for each message. One for the process; it keeps no state of a job. *works*: one for
    each kind of request; *facts* are those of the source; *dead_letters*: None if the source has none. *janitor*: None
    if no build resumes.
    """

    def __init__(
        self,
        rules: ArchiveRules,
        works: Mapping[Kind, Work[Any]],
        *,
        facts: QueueFacts,
        store: ObjectStore,
        receipts: Receipts,
        dead_letters: DeadLetters | None,
        answers: Answers,
        links: Links,
        janitor: "Janitor | None" = None,
    ) -> None:
        self._rules = rules
        self._works = works
        self._facts = facts
        self._store = store
        self._receipts = receipts
        self._dead_letters = dead_letters
        self._answers = answers
        self._links = links
        self._janitor = janitor

    async def run(self, message: Message, hold: Hold) -> JobSuccess:
        """Do what *message* asks for, and send the answer. Raises any ArchiverError."""
        job = self._identity(message)
        request, order = await run_offloaded_if_large(len(message.body) // 100, self._read, job)
        progress = Progress()

        try:
            async with reporting_progress(self._progress_notifier(request), job, progress, hold):
                result = await self._works[request.kind].do(order, hold, progress)
        except JobCancelled:
            return await self._end_cancelled(job, hold)

        await self._send_success(job, result, hold)
        if result.archive is not None:
            await self._abort_leftover_uploads(job.key)  # the archive exists: no other upload of its key is needed
            await sweep_others(self._receipts, job.key, result.archive.receipt, hold)
        traffic = result.archive.traffic if result.archive is not None else None
        key = job.key if result.archive is not None else ""
        return JobSuccess(result.status, result.files, result.size, key, result.reused, traffic)

    async def _end_cancelled(self, job: JobIdentity, hold: Hold) -> JobSuccess:
        """Answer that the job was cancelled, where failures go: no archive was made. Nothing of it is left behind."""
        unique = job.answer_id("cancelled")

        def write(limit: int, url: str | None) -> str:
            return job.dialect.cancelled_answer(job.echoed, unique, limit, url)

        await self._answer(job, "cancelled", self._answers.failure, write, hold)
        await self._abort_leftover_uploads(job.key)
        if self._janitor is not None:
            await self._janitor.after_cancellation(job.key, hold)
        return JobSuccess("cancelled", 0, 0, "", reused=False)

    def _read(self, job: JobIdentity) -> tuple[Request, Any]:
        if job.message.problem:
            raise Rejected("invalid_request", job.message.problem)
        try:
            request = job.dialect.parse_request(job.body)
            self._callbacks(request.callback_url)
        except Rejected as problem:
            if INVALID_PING.kind not in self._works or not job.dialect.is_ping(job.body):
                raise
            return INVALID_PING, problem
        if request.kind == "command" and "command" not in self._works:
            raise Rejected("command_not_allowed", NO_COMMANDS)
        if request.kind not in self._works:
            raise Rejected("invalid_request", "this worker cancels no jobs: CANCELLATION is not set")
        order = self._works[request.kind].prepare(request, job)
        return request.model_copy(update={"files": ()}), order

    def _callbacks(self, url: str | None) -> list[Notifier]:
        """Return the notifier of the `callback_url` of a request, if it has one. Raises Rejected: not allowed."""
        if url is None:
            return []
        if self._answers.callbacks is None:
            NO_CALLBACKS.check(url)
        return [self._answers.callbacks(url)] if self._answers.callbacks else []

    def _allowed_callbacks(self, job: JobIdentity) -> list[Notifier]:
        """Return the same, for a request that may be invalid: none if it is not allowed."""
        try:
            return self._callbacks(job.echoed.callback_url)
        except Rejected:
            return []

    def _progress_notifier(self, request: Request) -> Notifier | None:
        """Return who gets this job's progress events: none, unless the settings or the request ask for them."""
        if self._answers.progress is None and request.progress:
            return self._answers.requested
        return self._answers.progress

    async def reject(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        """
        Dead-letter *message*. If its source has no dead letters, the failure answer is the record.

        Raises TransientError (Undeliverable: there is no place for the record), LeaseLost.
        """
        dead_letters = self._dead_letters
        if dead_letters is None:
            if not self._answers.failure:
                raise Undeliverable("the source has no dead letters, and no failure queue is set")
            return
        reason = self._identity(message).rejection(rejection)

        async def put() -> None:
            hold.confirm()
            await dead_letters.put(message, reason)

        await retry_transient(put)

    async def send_failure(self, message: Message, rejection: Rejected, hold: Hold) -> None:
        job = self._identity(message)
        await self._answer(
            job,
            "failed",
            self._answers.failure,
            lambda limit, url: job.dialect.failure_answer(job.echoed, rejection, limit, url),
            hold,
        )
        if self._janitor is not None and await self._janitor.after_rejection(job.key, message.id, hold):
            return  # another message of the job goes on with a build that may be older than any lease
        # Another message of the same job may be running now: only what is older than any lease is abandoned.
        if math.isfinite(self._facts.longest):
            abandoned = datetime.now(UTC) - timedelta(seconds=self._facts.longest) - ABANDONED_MARGIN
            await self._abort_leftover_uploads(job.key, abandoned)
            await sweep_abandoned(self._receipts, self._store, job.key, abandoned, hold)

    def read_job_id(self, message: Message) -> str | None:
        body = unwrap(message.body)
        return dialect_of(body).read_job_id(body)

    def _identity(self, message: Message) -> JobIdentity:
        return JobIdentity.of(message, self._rules, self._facts.id)

    async def _send_success(self, job: JobIdentity, result: Result, hold: Hold) -> None:
        if not self._answers.success:
            log.info("answer.skipped", reason="SQS_DESTINATION_QUEUE is not set")
        success = Success(
            echoed=job.echoed,
            link=await self._links.link(job.key) if result.archive else None,
            archive=result.archive,
            status=result.status,
            missing=result.missing,
            renamed=result.renamed,
            notification_id=job.answer_id(result.status),
            unlisted=result.unlisted,
            problem=result.problem,
            found=result.found,
            after=result.after,
            cancelled=result.cancelled,
            command=result.command,
        )
        await self._answer(
            replace(job, makes_archive=result.archive is not None),
            result.status,
            self._answers.success,
            lambda limit, url: job.dialect.success_answer(success, limit, url),
            hold,
        )

    async def _answer(
        self, job: JobIdentity, status: Status, fanout: Fanout, write: Callable[[int, str | None], str], hold: Hold
    ) -> None:
        """Send the answer to *fanout* and the request's callback, and to the progress notifier as far as possible."""
        also = self._allowed_callbacks(job)
        fitted: Callable[[int], str] = lambda limit: write(limit, None)  # noqa: E731
        if self._answers.by_reference:
            from archiver.jobs.long_answers import LongAnswers  # noqa: PLC0415 - nothing of it where it is off

            long_answers = LongAnswers(
                self._receipts, self._links, self._rules.attributes_of_answer(job.echoed.expires_in)
            )
            fitted = await long_answers.fit(job, job.answer_id(status), [*fanout.notifiers, *also], write, hold)
        with span("notify"):
            await fanout.send(lambda notifier: job.answer(status, notifier, fitted), hold, also)
        progress = self._answers.progress
        if progress is None or progress in fanout.notifiers:
            return
        try:
            await Fanout(progress).send(lambda notifier: job.answer(status, notifier, fitted), hold)
        except LeaseLost:
            raise
        except ArchiverError as error:  # best effort: the job does not depend on it
            log.warning("progress.unsent", reason=str(error), status=status)

    async def _abort_leftover_uploads(self, key: str, before: datetime | None = None) -> None:
        """Abort uploads of *key* that were left behind. A failure here does not fail the job."""
        try:
            await self._store.abort_uploads(key, before)
        except (TransientError, ConfigurationError) as error:
            log.warning("upload.unswept", key=key, reason=str(error))
