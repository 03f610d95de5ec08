"""What a request asks for, once S3 was asked: the entries of its manifest, and the objects of its prefixes."""

import asyncio
from dataclasses import replace

from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import Draft, DraftFile, Manifest, Pending, complete_draft
from archiver.core.locations import Location
from archiver.core.outline import Outline
from archiver.core.plan import ObjectVersion
from archiver.errors import (
    ArchiverError,
    ConfigurationError,
    Rejected,
    SourceProblem,
    SourceUnavailable,
    TransientError,
)
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.read_access import ReadAccess
from archiver.stages.resolve import head_objects, run_distinct
from archiver.stages.select import MAX_CONCURRENT_LISTINGS, select_objects


class Selections:
    """Completes drafts: `with_outline`, then `complete`. One for the process."""

    def __init__(
        self, rules: ArchiveRules, fetcher: Fetcher, credential_check: CredentialCheck, read_access: ReadAccess
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._credential_check = credential_check
        self._read_access = read_access

    async def with_outline(self, draft: Draft) -> Draft:
        """
        Return *draft* with the entries of its manifest, if it has one that was not read before.

        Raises Rejected, TransientError, ConfigurationError.
        """
        pending = draft.pending
        if pending is None or pending.outline is not None:
            return draft
        return replace(draft, pending=replace(pending, outline=await self._read_manifest(draft, pending)))

    async def complete(self, draft: Draft, listings: int = MAX_CONCURRENT_LISTINGS) -> Draft:
        """
        Return *draft*, which has an outline, with its files, if it is pending: its prefixes are listed, so many at
        once, also if that was done before.

        Raises Rejected, TransientError, ConfigurationError.
        """
        pending = draft.pending
        if pending is None or pending.outline is None:
            return draft
        outline = pending.outline
        selectors = list(outline.selectors)
        limit = self._rules.max_files
        selected = await select_objects(selectors, self._fetcher, self._credential_check, limit, listings)
        if any(selector.rename is not None for selector in selectors):
            complete = await asyncio.to_thread(complete_draft, draft, outline, selected.objects)
        else:
            count = selected.count + len(outline.entries)
            complete = await run_offloaded_if_large(count, complete_draft, draft, outline, selected.objects)
        return replace(complete, listings=selected.pages)

    async def _read_manifest(self, draft: Draft, pending: Pending) -> Outline:
        from archiver.core.manifest import ManifestRules  # noqa: PLC0415 - late: few requests have a manifest
        from archiver.stages.manifest import read_manifest  # noqa: PLC0415

        manifest = pending.manifest
        assert manifest is not None  # noqa: S101 - a draft without outline has one
        location, rules = manifest.location, self._rules
        manifest_rules = ManifestRules(
            rules.sources,
            pending.sent_at,
            draft.on_missing == "fail",
            rules.max_files,
        )
        info = (await head_objects([location], self._fetcher, self._credential_check))[location]
        if isinstance(info, SourceUnavailable):
            raise await self._unreadable(draft, manifest, info)

        async def read(at: Location) -> Outline:
            return await read_manifest(at, info, self._fetcher, manifest_rules)

        found = (await run_distinct([location], read, 1, self._credential_check))[location]
        if isinstance(found, SourceUnavailable):
            raise await self._unreadable(draft, manifest, found, ObjectVersion(location, info.etag))
        return found

    async def _unreadable(
        self, draft: Draft, manifest: Manifest, reason: SourceUnavailable, read: ObjectVersion | None = None
    ) -> ArchiverError:
        """
        Return the error that ends the job for *reason*: that of HEAD, or of a read of the version *read*. Raises
        TransientError, ConfigurationError if a denial is the operator's.
        """
        problem = SourceProblem(manifest.source, reason.code, reason.detail)
        files = (DraftFile(manifest.source, manifest.location, ""),)
        pins: dict[object, ObjectVersion] = {read.location: read} if read else {}
        message = f"the manifest {manifest.source[:200]} can't be read: {problem.reason}"
        rejected = Rejected(reason.code, message, [problem])
        if not await self._read_access.check(replace(draft, files=files), [problem], pins):
            return rejected
        # A byte can be read now. If the whole can't, for whatever reason, that must not hold up the worker for ever.
        now = f"{message}; it is not denied any more"
        return TransientError(now, rejection=rejected) if read else ConfigurationError(now)
