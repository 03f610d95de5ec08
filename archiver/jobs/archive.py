"""
Archives: the work that turns a request's files into one zip, or finds the zip of an earlier delivery.

    request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload
"""

import secrets
from dataclasses import dataclass, replace
from time import time

import structlog

from archiver.core.archive_metadata import ArchiveMetadata, MissingFileRange, from_s3_metadata, to_s3_metadata
from archiver.core.draft import ArchiveRules, Draft, draft_archive
from archiver.core.layout import Layout
from archiver.core.locations import Location, content_disposition
from archiver.core.messages import Archive, Request
from archiver.core.missing_report import parse_missing
from archiver.core.plan import (
    ArchiveSummary,
    ObjectInfo,
    ObjectVersion,
    Plan,
    check_count,
    check_size,
    plan_archive,
    summarize,
)
from archiver.core.replan import ReplanState, versions_read
from archiver.core.waiting import seconds_since
from archiver.core.zip_end import TAIL_LENGTH, read_end_record
from archiver.errors import (
    ArchiveExists,
    ConfigurationError,
    CredentialsRefused,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
    TransientError,
)
from archiver.jobs.identity import JobIdentity
from archiver.jobs.offload import run_offloaded_if_large
from archiver.jobs.work import Result
from archiver.ports import Hold, ObjectRestorer, ObjectStore, StoredArchive, Target
from archiver.stages.assemble import assemble
from archiver.stages.budget import BufferPool
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.deflate import compressed_part_size, deflate
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.read_access import ReadAccess
from archiver.stages.resolve import head_objects, probe_objects
from archiver.stages.upload import find, open_upload
from archiver.stages.wait import Waiter

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished archive. *reused*: it existed before."""

    stored: StoredArchive
    outcome: ArchiveSummary
    reused: bool


@dataclass(frozen=True, slots=True)
class ArchiveOrder:
    """One archive to make, and where."""

    draft: Draft
    target: Target


class ArchiveWork:
    """
    Makes archives. One for the process; of finished jobs it keeps only the names of some objects that could be read.
    *restorer*: None if no object may be restored. *shares_credentials*: *store* uses the credentials that sources are
    read with.
    """

    def __init__(
        self,
        rules: ArchiveRules,
        *,
        fetcher: Fetcher,
        store: ObjectStore,
        budget: BufferPool,
        restorer: ObjectRestorer | None = None,
        shares_credentials: bool = True,
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._store = store
        self._budget = budget
        self._credential_check = CredentialCheck(store if shares_credentials else None)
        self._read_access = ReadAccess(rules.source_bucket, fetcher)
        self._waiter = Waiter(fetcher, self._credential_check, restorer)

    def prepare(self, request: Request, job: JobIdentity) -> ArchiveOrder:
        """Raises Rejected."""
        disposition = content_disposition(request.archive_name, self._rules.file_prefix, job.message.sent_at)
        target = Target(job.key, disposition, message_id=job.message.id)
        draft = draft_archive(request, self._rules)
        if draft.wait is not None:
            spent = seconds_since(job.message.first_received, time())
            draft = replace(draft, wait=replace(draft.wait, spent=spent))
        return ArchiveOrder(draft, target)

    async def do(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> Result:
        """Raises as `build` does."""
        built = await self.build(order.draft, order.target, hold, progress)
        stored, outcome = built.stored, built.outcome
        archive = Archive(
            bucket=self._rules.destination_bucket,
            key=order.target.key,
            size=stored.size,
            files=outcome.files,
            etag=stored.etag,
            crc32=None if stored.crc32 is None else f"{stored.crc32:08x}",
        )
        return Result(
            outcome.status,
            files=outcome.files,
            size=stored.size,
            archive=archive,
            missing=outcome.missing,
            renamed=outcome.renamed,
            reused=built.reused,
        )

    async def build(self, draft: Draft, target: Target, hold: Hold, progress: Progress) -> BuildResult:
        """
        Make the archive of *draft* at *target*, whose `metadata` and `part_size` are decided here, once the objects are
        there that the request waits for. *hold* is confirmed right before the archive is published.

        Raises Rejected, TransientError, ConfigurationError, LeaseLost.
        """
        if draft.wait is not None and await find(self._store, target.key) is None:
            await self._waiter.wait(draft, draft.wait, hold, progress)
        history = ReplanState(draft)
        while not history.over:
            existing = await find(self._store, target.key)
            if existing is not None:
                return BuildResult(existing, await self._summarize_existing(draft, target, existing), reused=True)
            plan = await self._plan(draft, history)
            progress.begin(plan.members)
            try:
                stored = await self._build(plan, target, hold, progress)
            except (SourceUnavailable, CredentialsRefused) as error:
                verdicts = await self._verdicts(plan, error)
                log.info("job.planned_again", reason=str(error), source=str(error.location), refused=len(verdicts))
                history.refused(verdicts)
            except SourceChanged as error:
                log.info("job.planned_again", reason=error.detail, source=str(error.location))
                history.changed(error, plan)
            except ArchiveExists:
                log.info("job.overtaken", key=target.key)
                history.record_superseded()
            else:
                self._read_access.record_readable(versions_read(plan))
                return BuildResult(stored, plan.outcome, reused=False)
        raise TransientError("the archive's key already existed on every attempt, but HEAD does not find the object")

    async def plan(self, draft: Draft) -> Plan:
        """HEAD every object of *draft*, and decide what its archive contains. Raises as `build` does."""
        return await self._plan(draft, ReplanState(draft))

    async def _plan(self, draft: Draft, history: ReplanState) -> Plan:
        check_count(draft, self._rules.max_files)
        verdicts = history.verdicts
        locations = [file.location for file in draft.files if file.location not in verdicts]
        found = await head_objects(locations, self._fetcher, self._credential_check)
        answers: list[ObjectInfo | SourceProblem] = [
            SourceProblem(file.source, one.code, one.detail) if isinstance(one, SourceUnavailable) else one
            for file in draft.files
            for one in (verdicts.get(file.location) or found[file.location],)
        ]
        await self._read_access.check(draft, answers)
        plan = await run_offloaded_if_large(len(draft.files), plan_archive, draft, answers)
        check_size(plan, self._rules.max_bytes)
        return plan

    async def _verdicts(
        self, plan: Plan, error: SourceUnavailable | CredentialsRefused
    ) -> dict[object, SourceUnavailable]:
        """Return the verdicts on *error* of one read, and on all other objects of *plan*, which are probed."""
        if error.location is None:  # not a source: the destination
            raise error
        verdict = await self._credential_check.as_denial(error) if isinstance(error, CredentialsRefused) else error
        others = [version for version in versions_read(plan) if version.location != error.location]
        answers = await probe_objects(others, self._fetcher, self._credential_check)
        self._read_access.record_readable([version for version, answer in answers.items() if answer is True])
        verdicts: dict[object, SourceUnavailable] = {error.location: verdict}
        for version, answer in answers.items():
            if isinstance(answer, SourceUnavailable):
                verdicts[version.location] = answer
        return verdicts

    async def _build(self, plan: Plan, target: Target, hold: Hold, progress: Progress) -> StoredArchive:
        """
        Stored archives have an address for every byte and are assembled in any order; compressed ones flow in order.
        """
        max_part_size = self._budget.total // 3
        layout = (
            None
            if plan.deflates
            else await run_offloaded_if_large(len(plan.members), Layout.for_max_part, plan.members, max_part_size)
        )
        archive_metadata = ArchiveMetadata(
            request=plan.request_hash,
            token=secrets.token_hex(16),
            files=plan.outcome.files,
            outcome=plan.outcome.status,
            missing=_missing_file_range(plan, layout),
            message=target.message_id,
        )
        part_size = compressed_part_size(plan.members, max_part_size) if layout is None else layout.part_size
        target = replace(target, metadata=to_s3_metadata(archive_metadata), part_size=part_size)
        async with open_upload(self._store, target, hold) as upload:
            if layout is None:
                return await deflate(plan.members, self._budget, self._fetcher, upload, progress)
            return await assemble(layout, self._budget, self._fetcher, upload, progress)

    async def _summarize_existing(self, draft: Draft, target: Target, existing: StoredArchive) -> ArchiveSummary:
        """
        What to answer for an archive that is there already: from the request, its metadata, and its `_MISSING.txt`.
        """
        archive_metadata = from_s3_metadata(existing.metadata)
        if archive_metadata is None or not archive_metadata.matches_request(draft.request_hash, target.message_id):
            raise Rejected("job_conflict", "another request under this job_id has its archive already")
        if archive_metadata.missing is None:
            return summarize(draft, ())
        version = ObjectVersion(Location(self._rules.destination_bucket, target.key), existing.etag)
        start = archive_metadata.missing.offset
        if start is None:  # behind compressed members: the last body ends where the directory begins
            end = read_end_record(
                await self._read_range(version, max(0, existing.size - TAIL_LENGTH), min(TAIL_LENGTH, existing.size))
            )
            if end is None:
                raise Rejected("internal", "the finished archive does not end as a zip does")
            start = end.directory_offset - archive_metadata.missing.length
        return summarize(draft, parse_missing(await self._read_range(version, start, archive_metadata.missing.length)))

    async def _read_range(self, version: ObjectVersion, start: int, length: int) -> bytes:
        data = bytearray(length)
        try:
            await self._fetcher.read(version, start, [memoryview(data)])
        except SourceUnavailable as error:
            text = f"the finished archive can't be read: {error.detail}"
            raise ConfigurationError(text) if error.code == "source_denied" else TransientError(text) from error
        except SourceChanged as error:
            raise TransientError(f"the finished archive can't be read: {error}") from error
        return bytes(data)


def _missing_file_range(plan: Plan, layout: Layout | None) -> MissingFileRange | None:
    if plan.missing_text_length is None:
        return None
    offset = None if layout is None else layout.body_offset(len(plan.members) - 1)
    return MissingFileRange(offset, plan.missing_text_length)
