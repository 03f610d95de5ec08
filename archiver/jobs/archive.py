"""
Archives: the work that turns a request's files into one zip, or finds the zip of an earlier delivery.

    request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from archiver.core.archive_metadata import from_s3_metadata
from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import Draft, draft_archive
from archiver.core.ledger import OutgrownError
from archiver.core.locations import Location, content_disposition
from archiver.core.messages import Archive, Request
from archiver.core.plan import Plan
from archiver.core.replan import ReplanState, versions_read
from archiver.core.traffic import CopiesPayError
from archiver.errors import (
    ArchiveExists,
    CredentialsRefused,
    JobCancelled,
    Rejected,
    SourceChanged,
    SourceUnavailable,
    TransientError,
)
from archiver.jobs.building import Builder, BuildResult, Destination
from archiver.jobs.identity import JobIdentity
from archiver.jobs.planning import Planner, with_time_spent
from archiver.jobs.receipt import describe_finished
from archiver.jobs.work import Result
from archiver.ports import Hold, ObjectRestorer, ObjectStore, Roles, StoredArchive, Target
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.receipt import Receipts
from archiver.stages.tracing import span
from archiver.stages.upload import find
from archiver.stages.wait import Waiter

if TYPE_CHECKING:
    from archiver.core.after import AfterOrder, AfterResult
    from archiver.jobs.after import AfterJob
    from archiver.jobs.cancellation import Cancellation
    from archiver.jobs.copies import Copies
    from archiver.jobs.resuming import Resumes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ArchiveOrder:
    """One archive to make, and where; *after*: what is done then, None: nothing."""

    draft: Draft
    target: Target
    after: "AfterOrder | None" = None


class ArchiveWork:
    """
    Makes archives. One for the process; of finished jobs it keeps only the names of some objects that could be read.
    *receipts*: None if archives get none, as their store is a file. *shares_credentials*: *store* uses the credentials
    that sources are read with. *roles*: None if requests may name none. *restorer*: None if no object may be restored.
    *after*: None if archives are all that requests may ask for. *cancellation*: None if jobs can't be cancelled.
    *copies*: what the store may copy by itself; None if nothing.
    *resumes*: None if every build begins anew.
    """

    def __init__(
        self,
        rules: ArchiveRules,
        *,
        fetcher: Fetcher,
        store: ObjectStore,
        receipts: Receipts | None,
        budget: BufferPool,
        shares_credentials: bool = True,
        roles: Roles | None = None,
        restorer: ObjectRestorer | None = None,
        after: "AfterJob | None" = None,
        cancellation: "Cancellation | None" = None,
        copies: "Callable[[], Copies] | None" = None,
        resumes: "Resumes | None" = None,
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._store = store
        self._after = after
        self._cancellation = cancellation
        self._resumes = resumes
        self.planner = Planner(rules, fetcher, store if shares_credentials else None, roles)
        self._builder = Builder(rules, fetcher, Destination(store, receipts, copies), budget)
        self.waiter = Waiter(fetcher, self.planner.credential_check, self.planner.look, restorer)
        self.select, self.plan = self.planner.select, self.planner.plan

    def prepare(self, request: Request, job: JobIdentity) -> ArchiveOrder:
        """Raises Rejected."""
        disposition = content_disposition(request.archive_name, self._rules.file_prefix, job.message.sent_at)
        attributes = self._rules.attributes_of(request)
        target = Target(job.key, disposition, message_id=job.message.id, attributes=attributes)
        draft = draft_archive(request, self._rules, job.message.sent_at)
        draft = with_time_spent(draft, job.message.first_received)
        if self._resumes is not None and job.message.receive_count > 1:  # only what is planned can go on
            draft = replace(draft, plan_first=True)
        return ArchiveOrder(draft, target, after_order(request, draft, self._rules))

    async def do(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> Result:
        """Raises as `build` does."""
        built = await self._build_unless_cancelled(order, hold, progress)
        if built is None:
            return Result("skipped", files=0, size=0)
        stored, outcome = built.stored, built.outcome
        archive = Archive(
            bucket=self._rules.destination_bucket,
            key=order.target.key,
            size=stored.size,
            files=outcome.files,
            etag=stored.etag,
            crc32=None if stored.crc32 is None else f"{stored.crc32:08x}",
            receipt=built.receipt,
            traffic=built.traffic,
        )
        return Result(
            outcome.status,
            files=outcome.files,
            size=stored.size,
            archive=archive,
            missing=outcome.missing,
            renamed=outcome.renamed,
            unlisted=outcome.unlisted,
            reused=built.reused,
            after=await self._do_after(order, hold),
        )

    async def _build_unless_cancelled(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> BuildResult | None:
        """Raises JobCancelled, and as `build` does. A finished archive can't be cancelled."""
        draft, target = order.draft, order.target
        if self._cancellation is None:
            return await self.build(draft, target, hold, progress)
        try:
            async with self._cancellation.watch(target.key, hold) as publishing:
                return await self.build(draft, target, hold, progress, publishing)
        except JobCancelled:
            if await find(self._store, target.key) is None:
                raise
        return await self.build(draft, target, hold, progress)

    async def _do_after(self, order: ArchiveOrder, hold: Hold) -> "AfterResult | None":
        """Do what the request asks for once its archive is there. Raises as `AfterJob.run` does."""
        if order.after is None or self._after is None:
            return None
        archive = Location(self._rules.destination_bucket, order.target.key)
        return await self._after.run(order.after, archive, hold)

    async def build(
        self, draft: Draft, target: Target, hold: Hold, progress: Progress, publishing: Hold | None = None
    ) -> BuildResult | None:
        """
        Make the archive of *draft* at *target*, whose `metadata` and `part_size` are decided here, once all is there
        that the request waits for. *publishing* (default: *hold*) is confirmed right before the archive is published.
        None: there is nothing to archive, and `on_empty: skip`.

        Raises Rejected, TransientError, ConfigurationError, LeaseLost.
        """
        if draft.wait is not None and await find(self._store, target.key) is None:
            await self.waiter.wait(draft, draft.wait, hold, progress)
        publish = publishing or hold
        history, tried_one_pass = ReplanState(draft), False
        while not history.over:
            existing = await find(self._store, target.key)
            if existing is not None:
                return await self._describe_existing(draft, target, existing)
            with span("plan"):
                history.draft = await self.select(history.draft)
                if history.draft.is_blank:
                    return None
                one_pass = history.draft.needs_no_plan and not tried_one_pass
                in_one_pass = one_pass and not await self._builder.prefers_plan(history.draft)
                plan = None if in_one_pass else await self.plan(history.draft, history)
            if plan is None:
                tried_one_pass = True
                built = await self._try_one_pass(history.draft, target, publish, progress)
            else:
                resume = partial(self._resumes.open, target=target, hold=hold) if self._resumes else None
                build = partial(self._builder.build, plan, target, publish, progress, resume)
                built = await self._try_plan(plan, history, build)
            if built is not None:
                return built
        raise TransientError("the archive's key already existed on every attempt, but HEAD does not find the object")

    async def _try_one_pass(self, draft: Draft, target: Target, hold: Hold, progress: Progress) -> BuildResult | None:
        """
        Build a stored archive without a plan. None if that is not possible: some object can't be read or changed, or
        the archive is too large, or copies pay. Then a plan shows all problems. Nothing could be seen of the archive.
        """
        try:
            limit = self._resumes.threshold if self._resumes else None
            built, members = await self._builder.build_in_one_pass(draft, target, hold, progress, limit)
        except (SourceUnavailable, SourceChanged, CredentialsRefused, OutgrownError, CopiesPayError) as error:
            if isinstance(error, SourceUnavailable | CredentialsRefused) and error.location is None:
                raise  # not a source: the destination
            log.info("job.planned", reason=str(error))
            return None
        except ArchiveExists:
            log.info("job.overtaken", key=target.key)
            return None
        self.planner.record_readable(versions_read(members))
        return built

    async def _try_plan(
        self, plan: Plan, history: ReplanState, build: Callable[[], Awaitable[BuildResult]]
    ) -> BuildResult | None:
        """*build* the archive of *plan*. None if another plan is needed: *history* knows why. Raises as `build`."""
        try:
            built = await build()
        except (SourceUnavailable, CredentialsRefused) as error:
            verdicts = await self.planner.verdicts(plan, error)
            log.info("job.planned_again", reason=str(error), source=str(error.location), refused=len(verdicts))
            history.refused(verdicts)
        except SourceChanged as error:
            log.info("job.planned_again", reason=error.detail, source=str(error.location))
            history.changed(error, plan)
        except ArchiveExists:
            log.info("job.overtaken")
            history.record_superseded()
        else:
            self.planner.record_readable(versions_read(plan.members))
            return built
        return None

    async def _describe_existing(self, draft: Draft, target: Target, existing: StoredArchive) -> BuildResult:
        """Return the archive that is there already. Raises Rejected if another request made it."""
        archive_metadata = from_s3_metadata(existing.metadata)
        if archive_metadata is None or not archive_metadata.matches_request(draft.request_hash, target.message_id):
            raise Rejected("job_conflict", "another request under this job_id has its archive already")
        location = Location(self._rules.destination_bucket, target.key)
        outcome, receipt = await describe_finished(self._fetcher, draft, location, archive_metadata)
        return BuildResult(existing, outcome, receipt, reused=True)


def after_order(request: Request, draft: Draft, rules: ArchiveRules) -> "AfterOrder | None":
    """Return what *request* asks for once its archive is there; None: nothing. Raises Rejected."""
    if request.after is None and request.flag is None:
        return None
    from archiver.core.after import order_after  # noqa: PLC0415 - nothing of it where it is not asked for

    return order_after(request, draft, rules.after)
