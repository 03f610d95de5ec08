"""
One message becomes one archive and one answer.

    message ─▶ request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload ─▶ notify
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from archiver.core.draft import ArchiveRules, Draft, draft_archive
from archiver.core.locations import content_disposition
from archiver.core.messages import (
    Archive,
    Request,
    Status,
    Success,
    failure_answer,
    job_id_of,
    parse_request,
    success_answer,
)
from archiver.errors import ArchiverError, ConfigurationError, LeaseLost, Rejected, TransientError
from archiver.jobs.archive import Builder, BuildResult, run_offloaded_if_large
from archiver.jobs.identity import JobIdentity
from archiver.jobs.progress import reporting_progress
from archiver.ports import JobSuccess, Links, Message, MessageSource, Notifier, ObjectStore, OutgoingMessage, Target
from archiver.stages.progress import Progress
from archiver.stages.retry import retry_transient

log = structlog.get_logger(__name__)

MIN_ABANDONED_AGE = timedelta(hours=13)  # SQS keeps a message in flight for twelve


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers go; None: nowhere. *progress* is told how each job goes, and its answer too."""

    success: Notifier | None = None
    failure: Notifier | None = None
    progress: Notifier | None = None


class Pipeline:
    """The job that the worker does for each message. One for the process; it keeps nothing of a job."""

    def __init__(
        self,
        rules: ArchiveRules,
        builder: Builder,
        *,
        queue_arn: str,
        store: ObjectStore,
        source: MessageSource,
        answers: Answers,
        links: Links,
    ) -> None:
        self._rules = rules
        self._builder = builder
        self._queue_arn = queue_arn
        self._store = store
        self._source = source
        self._answers = answers
        self._links = links

    async def run(self, message: Message, confirm: Callable[[], None]) -> JobSuccess:
        """
        From the message to its answer. *confirm* raises LeaseLost once the message may be someone else's.

        Raises any ArchiverError.
        """
        job = self._identity(message)
        request, draft = await run_offloaded_if_large(len(message.body) // 100, self._read, message.body)
        disposition = content_disposition(request.archive_name, self._rules.file_prefix, message.sent_at)
        target, progress = Target(job.key, disposition, message_id=message.id), Progress()

        async with reporting_progress(self._progress_notifier(request), job, progress, confirm):
            built = await self._builder.build(draft, target, confirm, progress)

        await self._send_success(job, built, confirm)
        await self._abort_leftover_uploads(job.key)  # the archive is there: no upload of its key has any business left
        return JobSuccess(built.outcome.status, built.outcome.files, built.stored.size, job.key, built.reused)

    def _read(self, body: str) -> tuple[Request, Draft]:
        request = parse_request(body)
        # The draft has all that is needed of the files: 70,000 of them, held twice for the whole job, take 30 MiB.
        return request.model_copy(update={"files": ()}), draft_archive(request, self._rules)

    def _progress_notifier(self, request: Request) -> Notifier | None:
        """Who is told how the job goes: nobody, unless the settings or the request want it."""
        return self._answers.progress or (self._answers.success if request.progress else None)

    async def reject(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        rejected = self._identity(message).rejection(rejection)

        async def send() -> None:
            confirm()
            await self._source.reject(message, rejected)

        await retry_transient(send)

    async def send_failure(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        job = self._identity(message)
        await self._answer(
            job,
            "failed",
            self._answers.failure,
            lambda room: failure_answer(job.envelope, rejection, room),
            confirm,
        )
        # Another message of the same job may be building right now: only what is older than any lease is nobody's.
        await self._abort_leftover_uploads(job.key, datetime.now(UTC) - MIN_ABANDONED_AGE)

    def read_job_id(self, message: Message) -> str | None:
        return job_id_of(message.body)

    def _identity(self, message: Message) -> JobIdentity:
        return JobIdentity.of(message, self._rules, self._queue_arn)

    # Afterwards

    async def _send_success(self, job: JobIdentity, built: BuildResult, confirm: Callable[[], None]) -> None:
        if self._answers.success is None:
            log.info("answer.skipped", reason="SQS_DESTINATION_QUEUE is not set")
        stored, outcome = built.stored, built.outcome
        success = Success(
            envelope=job.envelope,
            link=await self._links.link(job.key),
            archive=Archive(
                bucket=self._rules.destination_bucket,
                key=job.key,
                size=stored.size,
                files=outcome.files,
                etag=stored.etag,
                crc32=None if stored.crc32 is None else f"{stored.crc32:08x}",
            ),
            status=outcome.status,
            missing=outcome.missing,
            renamed=outcome.renamed,
            notification_id=job.answer_id(outcome.status),
        )
        await self._answer(
            job, outcome.status, self._answers.success, lambda room: success_answer(success, room), confirm
        )

    async def _answer(
        self,
        job: JobIdentity,
        status: Status,
        notifier: Notifier | None,
        write: Callable[[int], str],
        confirm: Callable[[], None],
    ) -> None:
        """Send the answer to *notifier*, whatever it takes; and to whom progress is told, if that goes well."""
        if notifier is not None:
            await self._send(notifier, job.answer(status, notifier, write), confirm)
        progress_notifier = self._answers.progress
        if progress_notifier is None or progress_notifier is notifier:
            return
        try:
            await self._send(progress_notifier, job.answer(status, progress_notifier, write), confirm)
        except LeaseLost:
            raise
        except ArchiverError as error:  # who watches is told as far as can be; the job does not depend on it
            log.warning("progress.unsent", reason=str(error), status=status)

    async def _send(self, notifier: Notifier, note: OutgoingMessage, confirm: Callable[[], None]) -> None:
        async def send() -> None:
            confirm()
            await notifier.send(note)

        await retry_transient(send)

    async def _abort_leftover_uploads(self, key: str, before: datetime | None = None) -> None:
        """Abort uploads of *key* that were left behind. A failure here is no failure of the job."""
        try:
            await self._store.abort_uploads(key, before)
        except (TransientError, ConfigurationError) as error:
            log.warning("upload.unswept", key=key, reason=str(error))
