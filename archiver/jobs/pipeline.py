"""
One message becomes one archive and one answer.

    message ─▶ request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload ─▶ notify
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from archiver.core.draft import Draft, Rules, draft_archive
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
from archiver.errors import ArchiverError, ConfigurationFault, LeaseLost, Rejected, Temporary
from archiver.jobs.archive import Builder, Built, decided
from archiver.jobs.identity import Identity
from archiver.jobs.progress import reported
from archiver.ports import Done, Links, Message, MessageSource, Note, Notifier, ObjectStore, Target
from archiver.stages.progress import Progress
from archiver.stages.retry import patiently

log = structlog.get_logger(__name__)

OLDER_THAN_ANY_LEASE = timedelta(hours=13)  # SQS keeps a message in flight for twelve


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
        rules: Rules,
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

    async def run(self, message: Message, confirm: Callable[[], None]) -> Done:
        """
        From the message to its answer. *confirm* raises LeaseLost once the message may be someone else's.

        Raises any ArchiverError.
        """
        job = self._identity(message)
        request, draft = await decided(len(message.body) // 100, self._read, message.body)
        disposition = content_disposition(request.archive_name, self._rules.file_prefix, message.sent_at)
        target, progress = Target(job.key, disposition, message_id=message.id), Progress()

        async with reported(self._told(request), job, progress, confirm):
            built = await self._builder.build(draft, target, confirm, progress)

        await self._announce(job, built, confirm)
        await self._tidy(job.key)  # the archive is there: no upload of its key has any business left
        return Done(built.outcome.status, built.outcome.files, built.stored.size, job.key, built.reused)

    def _read(self, body: str) -> tuple[Request, Draft]:
        request = parse_request(body)
        # The draft has all that is needed of the files: 70,000 of them, held twice for the whole job, take 30 MiB.
        return request.model_copy(update={"files": ()}), draft_archive(request, self._rules)

    def _told(self, request: Request) -> Notifier | None:
        """Who is told how the job goes: nobody, unless the settings or the request want it."""
        return self._answers.progress or (self._answers.success if request.progress else None)

    async def reject(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        rejected = self._identity(message).rejection(rejection)

        async def send() -> None:
            confirm()
            await self._source.reject(message, rejected)

        await patiently(send)

    async def answer_rejection(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        job = self._identity(message)
        await self._answer(
            job,
            "failed",
            self._answers.failure,
            lambda room: failure_answer(job.envelope, rejection, room),
            confirm,
        )
        # Another message of the same job may be building right now: only what is older than any lease is nobody's.
        await self._tidy(job.key, datetime.now(UTC) - OLDER_THAN_ANY_LEASE)

    def identify(self, message: Message) -> str | None:
        return job_id_of(message.body)

    def _identity(self, message: Message) -> Identity:
        return Identity.of(message, self._rules, self._queue_arn)

    # Afterwards

    async def _announce(self, job: Identity, built: Built, confirm: Callable[[], None]) -> None:
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
        job: Identity,
        status: Status,
        notifier: Notifier | None,
        write: Callable[[int], str],
        confirm: Callable[[], None],
    ) -> None:
        """Send the answer to *notifier*, whatever it takes; and to whom progress is told, if that goes well."""
        if notifier is not None:
            await self._send(notifier, job.note(status, notifier, write), confirm)
        watcher = self._answers.progress
        if watcher is None or watcher is notifier:
            return
        try:
            await self._send(watcher, job.note(status, watcher, write), confirm)
        except LeaseLost:
            raise
        except ArchiverError as error:  # who watches is told as far as can be; the job does not depend on it
            log.warning("progress.unsent", reason=str(error), status=status)

    async def _send(self, notifier: Notifier, note: Note, confirm: Callable[[], None]) -> None:
        async def send() -> None:
            confirm()
            await notifier.send(note)

        await patiently(send)

    async def _tidy(self, key: str, before: datetime | None = None) -> None:
        """Abort uploads of *key* that were left behind. A failure here is no failure of the job."""
        try:
            await self._store.sweep(key, before)
        except (Temporary, ConfigurationFault) as error:
            log.warning("upload.unswept", key=key, reason=str(error))
