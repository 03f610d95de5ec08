"""What an archive contains: selections, the facts of all objects, and verdicts on those that can't be read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import time
from typing import Any

from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import Draft
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion, Plan, check_count, check_size, plan_archive
from archiver.core.replan import ReplanState, version_at, versions_read
from archiver.core.waiting import seconds_since
from archiver.errors import CredentialsRefused, Rejected, SourceProblem, SourceUnavailable
from archiver.jobs.selection import Selections
from archiver.ports import ObjectStore, Roles
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.read_access import ReadAccess, assume_roles
from archiver.stages.resolve import head_objects, probe_objects
from archiver.stages.select import MAX_CONCURRENT_LISTINGS


class Planner:
    """
    Plans archives. One for the process; it keeps the names of some objects that could be read. *store* is the
    destination, whose credentials are those that sources are read with; None if they are not. *roles*: None if requests
    may name none.
    """

    def __init__(
        self, rules: ArchiveRules, fetcher: Fetcher, store: ObjectStore | None, roles: Roles | None = None
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._roles = roles
        self.credential_check = CredentialCheck(store)
        self._read_access = ReadAccess(rules.source_bucket, fetcher, self.credential_check)
        self._selections = Selections(rules, fetcher, self.credential_check, self._read_access)
        self.record_readable = self._read_access.record_readable

    async def select(self, draft: Draft, listings: int = MAX_CONCURRENT_LISTINGS) -> Draft:
        """
        Return *draft* with all its files: its manifest is read, its prefixes are listed, so many at once.

        Raises Rejected, TransientError, ConfigurationError.
        """
        draft = await self._selections.with_outline(draft)
        if self._roles is not None:
            check_count(draft, self._rules.max_files)
            await assume_roles(draft, self._roles, self.credential_check)
        return await self._selections.complete(draft, listings)

    async def look(self, draft: Draft, listings: int) -> Draft:
        """Return *draft* as `select` does, unless it has too many files: then raises Rejected, too."""
        draft = await self.select(draft, listings)
        check_count(draft, self._rules.max_files)
        return draft

    async def find(self, draft: Draft) -> tuple[int, Rejected | None]:
        """
        Return how many of the objects of *draft* are there, archived ones too, and why the request would be rejected.
        Raises as `select` does.
        """
        draft = await self.select(draft)
        check_count(draft, self._rules.max_files)
        answers = await self._find_answers(draft, ReplanState(draft))
        found = {file.location for file, one in zip(draft.files, answers, strict=True) if _is_there(one)}
        try:
            await self._plan(draft, answers)
        except Rejected as problem:
            return len(found), problem
        return len(found), None

    async def plan(self, draft: Draft, history: ReplanState | None = None) -> Plan:
        """
        HEAD every object of *draft*, but those that listings told of, and decide what its archive contains. Raises as
        `select` does.
        """
        check_count(draft, self._rules.max_files)
        return await self._plan(draft, await self._find_answers(draft, history or ReplanState(draft)))

    async def _plan(self, draft: Draft, answers: Sequence[ObjectInfo | SourceProblem]) -> Plan:
        plan = await run_offloaded_if_large(len(draft.files), plan_archive, draft, answers)
        check_size(plan, self._rules.max_bytes)
        return plan

    async def _find_answers(self, draft: Draft, history: ReplanState) -> list[ObjectInfo | SourceProblem]:
        """Return what is known of each file of *draft*."""
        known, verdicts = draft.known, history.verdicts
        unknown = (at for file in draft.files if (at := file.location) not in known and at not in verdicts)
        found = await head_objects(unknown, self._fetcher, self.credential_check)
        answers = _answers(draft, verdicts, known, found)
        if ended := await self._read_access.check(draft, answers, history.pins):
            for at in ended:
                verdicts.pop(at, None)
            found |= await head_objects(ended, self._fetcher, self.credential_check)
            answers = _answers(draft, verdicts, found, known)
        return answers

    async def verdicts(
        self, plan: Plan, error: SourceUnavailable | CredentialsRefused
    ) -> dict[ObjectVersion, SourceUnavailable]:
        """
        Return the verdicts on *error* of one read, and on all other objects of *plan*, which are probed. Raises *error*
        if it is the destination's; else as `select` does.
        """
        refused = version_at(plan, error.location)
        if refused is None:  # not a source: the destination
            raise error
        verdict = await self.credential_check.as_denial(error) if isinstance(error, CredentialsRefused) else error
        others = [version for version in versions_read(plan.members) if version.location != error.location]
        answers = await probe_objects(others, self._fetcher, self.credential_check)
        self.record_readable([version for version, answer in answers.items() if answer is True])
        verdicts = {refused: verdict}
        verdicts |= {version: one for version, one in answers.items() if isinstance(one, SourceUnavailable)}
        return verdicts


def _is_there(answer: ObjectInfo | SourceProblem) -> bool:
    """Whether an object exists, which inline text is not."""
    return answer.code == "source_archived" if isinstance(answer, SourceProblem) else answer.content is None


def with_time_spent(draft: Draft, first_received: str) -> Draft:
    """
    Return *draft* with the time since *first_received*, that of its message as SQS tells it: it was spent waiting.
    """
    if draft.wait is None:
        return draft
    return replace(draft, wait=replace(draft.wait, spent=seconds_since(first_received, time())))


def _answers(
    draft: Draft, *facts: Mapping[Any, ObjectInfo | SourceUnavailable] | Mapping[Any, SourceUnavailable]
) -> list[ObjectInfo | SourceProblem]:
    """Return what is known of each file of *draft*: by the first of *facts* that knows its object."""
    return [
        SourceProblem(file.source, one.code, one.detail) if isinstance(one, SourceUnavailable) else one
        for file in draft.files
        for one in (next(known[file.location] for known in facts if file.location in known),)
    ]
