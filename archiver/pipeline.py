"""
One message becomes one archive and one answer.

    message ─▶ request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload ─▶ notify
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import structlog

from archiver.core.draft import Draft, Rules, draft_archive
from archiver.core.layout import Layout
from archiver.core.locations import Location, archive_link, content_disposition
from archiver.core.messages import (
    Archive,
    Request,
    Success,
    envelope,
    failure_answer,
    parse_request,
    success_answer,
)
from archiver.core.metadata import Beside, MissingSpan, decode_beside, encode_beside
from archiver.core.missing import parse_missing
from archiver.core.plan import ObjectInfo, Outcome, Pinned, Plan, outcome_of, plan_archive
from archiver.core.zipend import TAIL, read_end
from archiver.errors import (
    ArchiveExists,
    ConfigurationFault,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
    Temporary,
)
from archiver.identity import Identity
from archiver.ports import Done, Message, MessageSource, Note, Notifier, ObjectStore, StoredArchive, Target
from archiver.stages.assemble import assemble
from archiver.stages.budget import Budget
from archiver.stages.deflate import deflate
from archiver.stages.fetch import Fetcher
from archiver.stages.resolve import resolve
from archiver.stages.upload import patiently, uploading

log = structlog.get_logger(__name__)

PLANS = 4  # times that objects which keep changing are planned anew, the first one included
DENIED_REST = 60.0  # seconds
MANY_FILES = 1000

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers go; None: nowhere."""

    success: Notifier | None = None
    failure: Notifier | None = None


class Pipeline:
    """
    The job that the worker does for each message. One for the process; it keeps nothing of a job but what it read
    last.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        queue_arn: str,
        fetcher: Fetcher,
        store: ObjectStore,
        source: MessageSource,
        answers: Answers,
        budget: Budget,
    ) -> None:
        self._rules = rules
        self._queue_arn = queue_arn
        self._fetcher = fetcher
        self._store = store
        self._source = source
        self._answers = answers
        self._budget = budget
        self._has_read_source_bucket = False

    async def run(self, message: Message, confirm: Callable[[], None]) -> Done:
        """
        From the message to its answer. *confirm* raises LeaseLost once the message may be someone else's.

        Raises any ArchiverError.
        """
        job = self._identity(message)
        request, draft = await _decide(len(message.body) // 100, self._read, message.body)
        disposition = content_disposition(request.archive_name, self._rules.file_prefix, message.sent_at)
        target = Target(job.key, disposition, {})

        stored, outcome, reused = await self._archive(draft, target, confirm)

        await self._announce(job, stored, outcome, confirm)
        await self._tidy(job.key)
        return Done(outcome.status, outcome.files, stored.size, job.key, reused)

    def _read(self, body: str) -> tuple[Request, Draft]:
        request = parse_request(body)
        return request, draft_archive(request, self._rules)

    async def reject(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        rejected = self._identity(message).rejection(rejection)

        async def send() -> None:
            confirm()
            await self._source.reject(message, rejected)

        await patiently(send)

    async def answer_rejection(self, message: Message, rejection: Rejected, confirm: Callable[[], None]) -> None:
        job, notifier = self._identity(message), self._answers.failure
        if notifier is not None:
            note = job.note("failed", notifier, lambda room: failure_answer(job.envelope, rejection, room))
            await self._send(notifier, note, confirm)
        await self._tidy(job.key)

    def identify(self, message: Message) -> str | None:
        return envelope(message.body).job_id

    def _identity(self, message: Message) -> Identity:
        return Identity.of(message, self._rules, self._queue_arn)

    # The archive: the one that is there, or a new one

    async def _archive(
        self, draft: Draft, target: Target, confirm: Callable[[], None]
    ) -> tuple[StoredArchive, Outcome, bool]:
        changed = None
        for _ in range(PLANS):
            existing = await patiently(lambda: self._store.find(target.key))
            if existing is not None:
                return existing, await self._outcome_of_existing(draft, target.key, existing), True
            plan = await _decide(len(draft.files), plan_archive, draft, await self._resolve(draft))
            try:
                return await self._build(plan, target, confirm), plan.outcome, False
            except SourceChanged as error:
                changed = str(error)
                log.info("job.planned_again", reason=changed)
            except ArchiveExists:
                changed = None
                log.info("job.overtaken", key=target.key)
        if changed is not None:
            raise Rejected("source_changed", changed)
        raise Temporary("the archive's key was taken each time, and nothing stands there")

    async def _resolve(self, draft: Draft) -> list[ObjectInfo | SourceProblem]:
        found = await resolve([file.location for file in draft.files], self._fetcher)
        answers: list[ObjectInfo | SourceProblem] = [
            SourceProblem(file.source, one.code, one.detail) if isinstance(one, SourceUnavailable) else one
            for file, one in zip(draft.files, found, strict=True)
        ]
        self._check_our_own_rights(draft, answers)
        return answers

    def _check_our_own_rights(self, draft: Draft, answers: Sequence[ObjectInfo | SourceProblem]) -> None:
        """
        Everything in S3_SOURCE_BUCKET denied, from the start: more likely a role without its policy than bad
        requests.
        """
        ours = [
            answer
            for file, answer in zip(draft.files, answers, strict=True)
            if file.location.bucket == self._rules.source_bucket
        ]
        denied = [one for one in ours if isinstance(one, SourceProblem) and one.code == "source_denied"]
        self._has_read_source_bucket |= any(isinstance(one, ObjectInfo) for one in ours)
        if ours and len(denied) == len(ours) and not self._has_read_source_bucket:
            reason = f"nothing in the bucket {self._rules.source_bucket} may be read: {denied[0].detail}"
            raise Temporary(reason, rejection=Rejected("source_denied", reason, denied), rest=DENIED_REST)

    async def _build(self, plan: Plan, target: Target, confirm: Callable[[], None]) -> StoredArchive:
        """
        Stored archives have an address for every byte and are assembled in any order; compressed ones flow in order.
        """
        largest = self._budget.total // 3
        layout = None if plan.deflates else await _decide(len(plan.members), Layout.within, plan.members, largest)
        beside = Beside(
            request=plan.request_hash,
            token=secrets.token_hex(16),
            files=plan.outcome.files,
            outcome=plan.outcome.status,
            missing=_missing_span(plan, layout),
        )
        async with uploading(self._store, replace(target, metadata=encode_beside(beside)), confirm) as upload:
            if layout is None:
                return await deflate(plan.members, self._budget, self._fetcher, upload)
            return await assemble(layout, self._budget, self._fetcher, upload)

    async def _outcome_of_existing(self, draft: Draft, key: str, existing: StoredArchive) -> Outcome:
        """
        What to answer for an archive that is there already: from the request, its metadata, and its `_MISSING.txt`.
        """
        beside = decode_beside(existing.metadata)
        if beside is None or beside.request != draft.request_hash:
            raise Rejected("job_conflict", "another request under this job_id has its archive already")
        if beside.missing is None:
            return outcome_of(draft, ())
        pinned = Pinned(Location(self._rules.destination_bucket, key), existing.etag)
        start = beside.missing.offset
        if start is None:  # behind compressed members: the last body ends where the directory begins
            end = read_end(await self._bytes(pinned, max(0, existing.size - TAIL), min(TAIL, existing.size)))
            if end is None:
                raise Rejected("internal", "the finished archive does not end as a zip does")
            start = end.directory_offset - beside.missing.length
        return outcome_of(draft, parse_missing(await self._bytes(pinned, start, beside.missing.length)))

    async def _bytes(self, pinned: Pinned, start: int, length: int) -> bytes:
        data = bytearray(length)
        try:
            await self._fetcher.read(pinned, start, [memoryview(data)])
        except SourceChanged as error:
            raise Temporary(f"the finished archive can't be read: {error}") from error
        return bytes(data)

    # Afterwards

    async def _announce(
        self, job: Identity, stored: StoredArchive, outcome: Outcome, confirm: Callable[[], None]
    ) -> None:
        notifier = self._answers.success
        if notifier is None:
            log.info("answer.skipped", reason="SQS_DESTINATION_QUEUE is not set")
            return
        success = Success(
            envelope=job.envelope,
            url=archive_link(self._rules.base_url, self._rules.destination_bucket, job.key),
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
        note = job.note(outcome.status, notifier, lambda room: success_answer(success, room))
        await self._send(notifier, note, confirm)

    async def _send(self, notifier: Notifier, note: Note, confirm: Callable[[], None]) -> None:
        async def send() -> None:
            confirm()
            await notifier.send(note)

        await patiently(send)

    async def _tidy(self, key: str) -> None:
        """The job is settled: no upload of its key has any business left. A failure here is no failure of the job."""
        try:
            await self._store.sweep(key)
        except (Temporary, ConfigurationFault) as error:
            log.warning("upload.unswept", key=key, reason=str(error))


async def _decide(files: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call *function*; for many *files* in a thread: 20,000 take half a second, and other jobs have heartbeats to send.
    """
    if files < MANY_FILES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def _missing_span(plan: Plan, layout: Layout | None) -> MissingSpan | None:
    if plan.missing_text_length is None:
        return None
    offset = None if layout is None else layout.body_offset(len(plan.members) - 1)
    return MissingSpan(offset, plan.missing_text_length)
