"""
One draft becomes one archive: the one that is there already, or a new one.

    request ─▶ plan ─▶ fetch ─▶ zip ─▶ upload
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import structlog

from archiver.core.archive_metadata import Beside, MissingSpan, decode_beside, encode_beside
from archiver.core.draft import Draft, Rules
from archiver.core.layout import Layout
from archiver.core.locations import Location
from archiver.core.missing_report import parse_missing
from archiver.core.plan import ObjectInfo, Outcome, Pinned, Plan, check_count, check_size, outcome_of, plan_archive
from archiver.core.replan import Replanning, read_by
from archiver.core.zip_end import TAIL, read_end
from archiver.errors import (
    ArchiveExists,
    ConfigurationFault,
    CredentialsRefused,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
    Temporary,
)
from archiver.ports import ObjectStore, StoredArchive, Target
from archiver.stages.assemble import assemble
from archiver.stages.budget import Budget
from archiver.stages.deflate import compressed_part_size, deflate
from archiver.stages.fetch import Fetcher
from archiver.stages.judge import Judge
from archiver.stages.progress import Progress
from archiver.stages.resolve import probe, resolve
from archiver.stages.rights import Rights
from archiver.stages.upload import find, uploading

log = structlog.get_logger(__name__)

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
    Makes archives out of drafts. One for the process; it keeps nothing of a job but the names of some objects that were
    read well. *proves*: *store* is asked with the credentials that the sources are read with.
    """

    def __init__(
        self, rules: Rules, *, fetcher: Fetcher, store: ObjectStore, budget: Budget, proves: bool = True
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._store = store
        self._budget = budget
        self._judge = Judge(store if proves else None)
        self._rights = Rights(rules.source_bucket, fetcher)

    async def build(self, draft: Draft, target: Target, confirm: Callable[[], None], progress: Progress) -> Built:
        """
        Make the archive of *draft* stand at *target*, whose `metadata` and `part_size` are decided here. *confirm* is
        called right before it appears, and raises LeaseLost where it must not.

        Raises Rejected, Temporary, ConfigurationFault, LeaseLost.
        """
        history = Replanning(draft)
        while not history.over:
            existing = await find(self._store, target.key)
            if existing is not None:
                return Built(existing, await self._outcome_of_existing(draft, target, existing), reused=True)
            plan = await self._plan(draft, history)
            progress.begin(plan.members)
            try:
                stored = await self._build(plan, target, confirm, progress)
            except (SourceUnavailable, CredentialsRefused) as error:
                verdicts = await self._verdicts(plan, error)
                log.info("job.planned_again", reason=str(error), source=str(error.location), refused=len(verdicts))
                history.refused(verdicts)
            except SourceChanged as error:
                log.info("job.planned_again", reason=error.detail, source=str(error.location))
                history.changed(error, plan)
            except ArchiveExists:
                log.info("job.overtaken", key=target.key)
                history.overtaken()
            else:
                self._rights.were_read(read_by(plan))
                return Built(stored, plan.outcome, reused=False)
        raise Temporary("the archive's key was taken each time, and nothing stands there")

    async def plan(self, draft: Draft) -> Plan:
        """Ask for every object of *draft*, and settle what goes into its archive. Raises as `build` does."""
        return await self._plan(draft, Replanning(draft))

    async def _plan(self, draft: Draft, history: Replanning) -> Plan:
        check_count(draft, self._rules.max_files)
        verdicts = history.verdicts
        asked = [file.location for file in draft.files if file.location not in verdicts]
        found = await resolve(asked, self._fetcher, self._judge)
        answers: list[ObjectInfo | SourceProblem] = [
            SourceProblem(file.source, one.code, one.detail) if isinstance(one, SourceUnavailable) else one
            for file in draft.files
            for one in (verdicts.get(file.location) or found[file.location],)
        ]
        await self._rights.check(draft, answers)
        plan = await decided(len(draft.files), plan_archive, draft, answers)
        check_size(plan, self._rules.max_bytes)
        return plan

    async def _verdicts(
        self, plan: Plan, error: SourceUnavailable | CredentialsRefused
    ) -> dict[object, SourceUnavailable]:
        """What *error*, of one read, and a look at all other objects of *plan* say: all are told together."""
        if error.location is None:  # of no source: the destination's own
            raise error
        verdict = await self._judge.verdict(error) if isinstance(error, CredentialsRefused) else error
        others = [pinned for pinned in read_by(plan) if pinned.location != error.location]
        answers = await probe(others, self._fetcher, self._judge)
        self._rights.were_read([pinned for pinned, answer in answers.items() if answer is True])
        verdicts: dict[object, SourceUnavailable] = {error.location: verdict}
        for pinned, answer in answers.items():
            if isinstance(answer, SourceUnavailable):
                verdicts[pinned.location] = answer
        return verdicts

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
            message=target.message_id,
        )
        part_size = compressed_part_size(plan.members, largest) if layout is None else layout.part_size
        target = replace(target, metadata=encode_beside(beside), part_size=part_size)
        async with uploading(self._store, target, confirm) as upload:
            if layout is None:
                return await deflate(plan.members, self._budget, self._fetcher, upload, progress)
            return await assemble(layout, self._budget, self._fetcher, upload, progress)

    async def _outcome_of_existing(self, draft: Draft, target: Target, existing: StoredArchive) -> Outcome:
        """
        What to answer for an archive that is there already: from the request, its metadata, and its `_MISSING.txt`.
        """
        beside = decode_beside(existing.metadata)
        if beside is None or not beside.answers(draft.request_hash, target.message_id):
            raise Rejected("job_conflict", "another request under this job_id has its archive already")
        if beside.missing is None:
            return outcome_of(draft, ())
        pinned = Pinned(Location(self._rules.destination_bucket, target.key), existing.etag)
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
        except SourceUnavailable as error:
            text = f"the finished archive can't be read: {error.detail}"
            raise ConfigurationFault(text) if error.code == "source_denied" else Temporary(text) from error
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
