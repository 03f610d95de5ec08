"""Builds archives, sealed by their receipts: in one pass, or as a plan says."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from archiver.core.archive_metadata import ArchiveMetadata, to_s3_metadata
from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import Draft
from archiver.core.messages import Strategy
from archiver.core.plan import ArchiveSummary, Member, Plan, check_count, files_or_members, summarize
from archiver.core.receipt import Receipt
from archiver.core.traffic import Traffic
from archiver.errors import CopyRefused
from archiver.jobs.receipt import ReceiptWriter
from archiver.ports import Hold, ObjectStore, StoredArchive, Target
from archiver.stages.budget import BufferPool
from archiver.stages.deflate import compressed_part_size, deflate
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.receipt import Receipts
from archiver.stages.stored import StoredBuild
from archiver.stages.tracing import span
from archiver.stages.upload import ArchiveUpload, open_upload

if TYPE_CHECKING:
    from archiver.core.copies import CopyPlan
    from archiver.jobs.copies import Copies
    from archiver.jobs.resuming import Session

    class OpenSession(Protocol):
        """See `Resumes.open`."""

        async def __call__(self, plan: Plan, *, copied: CopyPlan | None, may_copy: bool) -> Session | None: ...


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished archive, and the key of its *receipt*. *reused*: it existed before."""

    stored: StoredArchive
    outcome: ArchiveSummary
    receipt: str | None
    reused: bool
    traffic: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """The bucket of the archives. *receipts*: None if it is a file. *copies*: None if nothing can be copied into it."""

    store: ObjectStore
    receipts: Receipts | None
    copies: "Callable[[], Copies] | None" = None


class Builder:
    """
    Builds archives. All methods raise SourceUnavailable, SourceChanged, CredentialsRefused, TransientError,
    ArchiveExists, ConfigurationError, LeaseLost.
    """

    def __init__(self, rules: ArchiveRules, fetcher: Fetcher, destination: Destination, budget: BufferPool) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._destination = destination
        self._budget = budget
        self._opened_copies: Copies | None = None

    async def prefers_plan(self, draft: Draft) -> bool:
        """
        Whether the archive of *draft* is planned, although one pass would do: whatever the store copies is to be
        copied. With `auto`, one pass is given up where copies pay.
        """
        copies = self._copies(draft.strategy) if draft.strategy == "copy" else None
        return copies is not None and await copies.proved()

    def _copies(self, strategy: Strategy | None) -> "Copies | None":
        if self._destination.copies is None or strategy not in ("auto", "copy"):
            return None
        return self._open_copies()

    def _open_copies(self) -> "Copies":
        if self._destination.copies is None:
            raise TypeError("nothing can be copied into this destination")
        if self._opened_copies is None:
            self._opened_copies = self._destination.copies()
        return self._opened_copies

    async def build(
        self, plan: Plan, target: Target, hold: Hold, progress: Progress, resume: "OpenSession | None" = None
    ) -> BuildResult:
        """
        Build the archive of *plan*. Stored members get addresses in order; compressed ones flow in order. What the
        store copies by itself is not read; if it refuses a copy, all is read. *resume* opens a build that can be left,
        or that goes on, with the copies of its own plan; None: all begin anew.
        """
        copies = self._copies(plan.strategy)
        copied, may_copy = await copies.plan(plan) if copies is not None else None, True
        while True:
            session = await resume(plan, copied=copied, may_copy=may_copy) if resume is not None else None
            if session is not None:
                copied = session.copied
            progress.begin(plan.members)
            try:
                async with self._open(plan.request_hash, plan.outcome, target, hold, session) as (upload, receipt):
                    stored = await self._assemble(plan, copied, session, upload, progress)
            except CopyRefused as refused:
                self._open_copies().refused(refused)
                copied, may_copy = None, False
            else:
                traffic = self._traffic(plan, stored, copied)
                return BuildResult(stored, plan.outcome, receipt, reused=False, traffic=traffic)

    async def _assemble(
        self,
        plan: Plan,
        copied: "CopyPlan | None",
        session: "Session | None",
        upload: ArchiveUpload,
        progress: Progress,
    ) -> StoredArchive:
        if plan.deflates:
            upload.set_part_size(compressed_part_size(plan.members, self._budget.total // 3))
            with span("assemble"):
                return await deflate(plan.members, self._budget, self._fetcher, upload, progress)
        copying = self._open_copies().begin(copied, plan.members, upload) if copied is not None else None
        part_size = session.part_size if session is not None and copied is None else None
        build = StoredBuild(plan.members, self._budget, self._fetcher, upload, part_size=part_size, copying=copying)
        stored, _ = await build.run(progress)
        return stored

    def _traffic(
        self, plan: Plan, stored: StoredArchive, copied: "CopyPlan | None", *, one_pass: bool = False
    ) -> Traffic | None:
        """Return how the bytes got into the archive, if anybody asked for a strategy."""
        if plan.strategy is None:
            return None
        from archiver.core.estimate import count_requests  # noqa: PLC0415 - nothing of it where it is off

        requests = count_requests(plan, self._budget.total, copied, one_pass=one_pass)
        by_store = copied.copied if copied is not None else 0
        return Traffic(by_store, stored.size - by_store, requests)

    async def build_in_one_pass(
        self, draft: Draft, target: Target, hold: Hold, progress: Progress, resume_from: int | None = None
    ) -> tuple[BuildResult, Sequence[Member]]:
        """
        Build the archive of *draft*, which needs no plan; return its members, too. Raises OutgrownError if it would be
        too large, or has *resume_from* bytes or more: only what is planned can be resumed. Raises CopiesPayError where
        a plan with copies is better.
        """
        check_count(draft, self._rules.max_files)
        progress.begin_unknown(len(draft.files))
        copies = self._copies(draft.strategy)
        gain = copies.gain(draft) if copies is not None else None
        outcome, limit = summarize(draft, ()), self._rules.max_bytes
        if resume_from is not None:
            limit = min(limit or resume_from, resume_from - 1)
        async with self._open(draft.request_hash, outcome, target, hold) as (upload, receipt):
            files = files_or_members(draft)
            build = StoredBuild(files, self._budget, self._fetcher, upload, max_bodies=limit, gain=gain)
            stored, members = await build.run(progress)
        plan = Plan(tuple(members), outcome, draft.request_hash, draft.strategy, len(draft.files))
        traffic = self._traffic(plan, stored, None, one_pass=True)
        return BuildResult(stored, outcome, receipt, reused=False, traffic=traffic), members

    @asynccontextmanager
    async def _open(
        self,
        request: str,
        outcome: ArchiveSummary,
        target: Target,
        hold: Hold,
        session: "Session | None" = None,
    ) -> AsyncIterator[tuple[ArchiveUpload, str | None]]:
        """The upload of an archive, and the key of its receipt."""
        token = session.token if session else secrets.token_hex(16)
        metadata = ArchiveMetadata(request, token, outcome.files, outcome.status, target.message_id)
        seal = None
        if self._destination.receipts is not None:
            receipt = Receipt(self._rules.destination_bucket, target.key, token, request, outcome)
            seal = ReceiptWriter(self._destination.receipts, receipt, hold, target.attributes.of_receipt)
        target = replace(target, metadata=to_s3_metadata(metadata))
        resumable = session.resumable if session else None
        async with open_upload(self._destination.store, target, hold, seal, resumable) as upload:
            yield upload, seal.key if seal else None
