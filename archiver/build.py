"""
One draft becomes one archive: the one that is there already, or a new one.

    request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import structlog

from archiver.core.draft import Draft, Rules
from archiver.core.layout import Layout
from archiver.core.locations import Location
from archiver.core.metadata import Beside, MissingSpan, decode_beside, encode_beside
from archiver.core.missing import parse_missing
from archiver.core.plan import ObjectInfo, Outcome, Pinned, Plan, outcome_of, plan_archive
from archiver.core.zipend import TAIL, read_end
from archiver.errors import ArchiveExists, Rejected, SourceChanged, SourceProblem, SourceUnavailable, Temporary
from archiver.ports import ObjectStore, StoredArchive, Target
from archiver.stages.assemble import assemble
from archiver.stages.budget import Budget
from archiver.stages.deflate import compressed_part_size, deflate
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.resolve import resolve
from archiver.stages.upload import patiently, uploading

log = structlog.get_logger(__name__)

PLANS = 4  # times that objects which keep changing are planned anew, the first one included
DENIED_REST = 60.0  # seconds
MANY_FILES = 1000

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Built:
    """An archive that is there. *reused*: it was there before."""

    stored: StoredArchive
    outcome: Outcome
    reused: bool


class Builder:
    """
    Makes archives out of drafts. One for the process; it keeps nothing of a job but whether S3_SOURCE_BUCKET was
    readable.
    """

    def __init__(self, rules: Rules, *, fetcher: Fetcher, store: ObjectStore, budget: Budget) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._store = store
        self._budget = budget
        self._has_read_source_bucket = False

    async def build(self, draft: Draft, target: Target, confirm: Callable[[], None], progress: Progress) -> Built:
        """
        Make the archive of *draft* stand at *target*, whose `metadata` and `part_size` are decided here. *confirm* is
        called right before it appears, and raises LeaseLost where it must not.

        Raises Rejected, Temporary, ConfigurationFault, LeaseLost.
        """
        changed = None
        for _ in range(PLANS):
            existing = await patiently(lambda: self._store.find(target.key))
            if existing is not None:
                return Built(existing, await self._outcome_of_existing(draft, target.key, existing), reused=True)
            plan = await self.plan(draft)
            progress.begin(plan.members)
            try:
                return Built(await self._build(plan, target, confirm, progress), plan.outcome, reused=False)
            except SourceChanged as error:
                changed = str(error)
                log.info("job.planned_again", reason=changed)
            except ArchiveExists:
                changed = None
                log.info("job.overtaken", key=target.key)
        if changed is not None:
            raise Rejected("source_changed", changed)
        raise Temporary("the archive's key was taken each time, and nothing stands there")

    async def plan(self, draft: Draft) -> Plan:
        """Ask for every object of *draft*, and settle what goes into its archive. Raises as `build` does."""
        return await decided(len(draft.files), plan_archive, draft, await self._resolve(draft))

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

    async def _build(
        self, plan: Plan, target: Target, confirm: Callable[[], None], progress: Progress
    ) -> StoredArchive:
        """
        Stored archives have an address for every byte and are assembled in any order; compressed ones flow in order.
        """
        largest = self._budget.total // 3
        layout = None if plan.deflates else await decided(len(plan.members), Layout.within, plan.members, largest)
        beside = Beside(
            request=plan.request_hash,
            token=secrets.token_hex(16),
            files=plan.outcome.files,
            outcome=plan.outcome.status,
            missing=_missing_span(plan, layout),
        )
        part_size = compressed_part_size(plan.members, largest) if layout is None else layout.part_size
        target = replace(target, metadata=encode_beside(beside), part_size=part_size)
        async with uploading(self._store, target, confirm) as upload:
            if layout is None:
                return await deflate(plan.members, self._budget, self._fetcher, upload, progress)
            return await assemble(layout, self._budget, self._fetcher, upload, progress)

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


async def decided(files: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
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
