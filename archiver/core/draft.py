"""Determine an archive's objects and paths: from the request alone, or with what its prefixes list."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple, cast

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import Location
from archiver.core.messages import Compression, OnArchived, OnDuplicate, OnEmpty, OnMissing, Renamed, Request, Strategy
from archiver.core.objects import Listed, ObjectInfo
from archiver.core.outline import (
    FOLDER_MARKER_PROBLEM,
    Named,
    Outline,
    Place,
    check_one_role,
    locate_manifest,
    outline_entries,
    resolve_conflicts,
    without_equal_folders,
)
from archiver.core.paths import is_folder
from archiver.core.patterns import Effort
from archiver.core.request_hash import request_hash
from archiver.core.select import Selector, prospects
from archiver.core.waiting import Wait, plan_wait
from archiver.errors import Code, SourceArchived, SourceProblem, SourceUnavailable

ARCHIVED = SourceArchived("the object is archived; restore it first")
"""The verdict on each archived object of a listing: one for all, as there may be 100,000."""


class DraftFile(NamedTuple):
    """One file of a request: its *source* as written in the request, the object, and its final *path* in the zip."""

    source: str
    location: Location
    path: str


@dataclass(frozen=True, slots=True)
class Draft:
    """
    The part of a plan that is known before the objects are. *files* excludes *unusable* sources, which
    `on_missing: skip` omits before S3 is called, and *skipped* files, which `on_duplicate: skip` omits.
    *request_hash*: 64 hex digits that identify the request. *wait*: what to wait for before the archive is built.
    *strategy*: how its bytes get into the archive; None: nobody asked for one.

    *pending*: of a request with prefixes or a manifest, what `complete_draft` makes the files of.
    *known*: what listings, and inline text, tell of files. *refused*: the prefixes that can't be listed; *empty*: those
    that select nothing, although they must. *is_blank*: none of them selects anything, and nothing else is asked for.
    *listings*: number of calls that listed them. *lacking*: number of prefixes that select too few objects, if objects
    that come later may change that. *is_hopeless*: whatever comes later, the request is rejected. *plan_first*: an
    earlier worker may have left a build of it, which only a plan can go on with.
    """

    files: tuple[DraftFile, ...]
    unusable: tuple[SourceProblem, ...]
    skipped: tuple[SourceProblem, ...]
    renamed: tuple[Renamed, ...]
    on_missing: OnMissing
    compression: Compression
    request_hash: str
    pending: "Pending | None" = None
    known: Mapping[Location, ObjectInfo | SourceUnavailable] = field(default_factory=dict)
    refused: Mapping[Location, SourceProblem] = field(default_factory=dict)
    empty: tuple[SourceProblem, ...] = ()
    is_blank: bool = False
    listings: int = 0
    on_archived: OnArchived | None = None
    wait: Wait | None = None
    lacking: int = 0
    is_hopeless: bool = False
    strategy: Strategy | None = None
    plan_first: bool = False

    @property
    def roles(self) -> Iterator[tuple[str, str]]:
        """The source of each entry, and the role that it is read with ("": the worker's own)."""
        outline = self.pending.outline if self.pending else None
        if outline is None:
            return ((file.source, file.location.role) for file in self.files)
        return ((entry.source, entry.location.role) for entry in outline.entries)

    @property
    def unread_manifest(self) -> Location | None:
        """The manifest that lists the files, if it was not read."""
        pending = self.pending
        return pending.manifest.location if pending and pending.manifest and pending.outline is None else None

    @property
    def unlisted(self) -> tuple[SourceProblem, ...]:
        """The prefixes of which no object is in *files*, as far as that is a problem."""
        return (*self.refused.values(), *self.empty)

    def rejects(self, code: Code) -> bool:
        """Whether an object that can't be read, for the reason *code*, rejects the request."""
        if code == "source_archived" and self.on_archived in ("fail", "skip"):
            return self.on_archived == "fail"
        return self.on_missing == "fail"

    @property
    def needs_no_plan(self) -> bool:
        """
        Whether objects can be read before all are known: every file is in the archive or there is none, and a member's
        place depends on nothing but the sizes of those before it.
        """
        return (
            not self.plan_first
            and self.rejects("source_missing")
            and self.rejects("source_archived")
            and self.compression == "store"
            and not self.unlisted
            and not any(is_folder(file.path) and file.location not in self.known for file in self.files)
            and not all(file.location in self.known for file in self.files)
            and not any(isinstance(one, SourceUnavailable) for one in self.known.values())
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """
    A request whose files are known in part: *outline* has prefixes to be listed, or is None until the *manifest* is
    read. *sent_at*: the request's time.
    """

    outline: Outline | None
    on_duplicate: OnDuplicate
    on_empty: OnEmpty
    sent_at: datetime
    manifest: "Manifest | None" = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object that lists the files; *source*: as the request names it."""

    source: str
    location: Location


def draft_archive(request: Request, rules: ArchiveRules, sent_at: datetime) -> Draft:
    """
    Resolve the sources and paths of *request*, without calling S3. *sent_at*: its time.

    Raises Rejected: `invalid_request`, `role_not_allowed`, `source_not_allowed`, `name_unsafe` or `name_conflict`. It
    lists all such files.
    """
    wait = plan_wait(request, rules.waiting)
    sources = rules.sources
    manifest = (
        None if request.manifest is None else Manifest(request.manifest, locate_manifest(request.manifest, sources))
    )
    outline = (
        outline_entries(request.files, sources, sent_at, fails=request.on_missing == "fail") if not manifest else None
    )
    pending = Pending(outline, request.on_duplicate, request.on_empty, sent_at, manifest)
    draft = Draft(
        files=(),
        unusable=(),
        skipped=(),
        renamed=(),
        on_missing=request.on_missing,
        compression=request.compression or rules.compression,
        request_hash=request_hash(request),
        pending=pending,
        on_archived=request.on_archived,
        wait=wait,
        strategy=request.strategy or rules.strategy,
    )
    if outline is None or any(outline.selectors):
        return draft
    return replace(complete_draft(draft, outline, ()), pending=None)


def complete_draft(draft: Draft, outline: Outline, found: Sequence[Sequence[Listed] | SourceUnavailable]) -> Draft:
    """
    Return *draft*, which is pending, with the files of *outline*. *found*: for each of its prefixes, the objects that
    it selects, or why it can't be listed. Objects are in the order of their keys, where their entry stands.

    Raises Rejected: `name_unsafe`, `name_conflict`, `too_large` (patterns that take too many steps), or
    `invalid_request` (one source with two roles).
    """
    files, refused, empty = list[Named](), dict[Location, SourceProblem](), list[SourceProblem]()
    known: dict[Location, ObjectInfo | SourceUnavailable] = {}
    listings, effort = iter(found), Effort()
    pending = cast("Pending", draft.pending)
    for index, entry in enumerate(outline.entries):
        if isinstance(entry, Named):
            files.append(entry)
            continue
        listed = next(listings)
        if isinstance(listed, SourceUnavailable):
            refused[entry.prefix.location] = SourceProblem(entry.source, listed.code, listed.detail)
        elif (reason := entry.empty_reason(len(listed))) is None:
            files += _listed_files(index, entry, listed, known, effort, restores=draft.on_archived == "restore")
        elif pending.on_empty == "fail":
            empty.append(SourceProblem(entry.source, "source_missing", reason))
    check_one_role(outline, files)
    known |= {file.location: file.info for file in files if file.info is not None}
    lacking, is_hopeless = 0, False
    if draft.wait is not None:
        must = pending.on_empty == "fail"
        lacking, is_hopeless = prospects(outline.selectors, found, must=must, rejects=draft.rejects)
        is_hopeless |= any(isinstance(one, SourceUnavailable) and draft.rejects(one.code) for one in known.values())
    only_inline = all(file.info is not None and file.info.content is not None for file in files)
    return replace(
        _draft_files(draft, files, pending.on_duplicate, outline.place),
        known=known,
        refused=refused,
        empty=tuple(empty),
        is_blank=bool(found) and only_inline and not refused and not empty,
        lacking=lacking,
        is_hopeless=is_hopeless,
    )


def _listed_files(
    index: int,
    selector: Selector,
    objects: Sequence[Listed],
    known: dict[Location, ObjectInfo | SourceUnavailable],
    effort: Effort,
    *,
    restores: bool,
) -> list[Named]:
    """
    Return the files of the *objects* that *selector* selects. What is known of them is added to *known*: with
    *restores*, only HEAD tells how far the restore of an object is.
    """
    under, files = selector.prefix.location, list[Named]()
    for listed in sorted(objects):
        location = Location(under.bucket, listed.key, under.role)
        if not (restores and (listed.archived or listed.tiered)):
            known[location] = ARCHIVED if listed.archived else listed.info
        files.append(Named(index, selector.source_of(listed.key), location, selector.path_of(listed.key, effort)))
    return files


def _draft_files(draft: Draft, files: Sequence[Named], on_duplicate: OnDuplicate, place: Place) -> Draft:
    # Equal sources are the same object: if one is unusable for one file, it is for the others.
    files = without_equal_folders(files)
    unusable = {file.source for file in files if file.name is None}
    requested = [None if file.source in unusable else file.name for file in files]
    paths = resolve_conflicts(files, requested, on_duplicate, place)
    resolved = partial(zip, files, requested, paths, strict=True)
    return replace(
        draft,
        files=tuple(DraftFile(file.source, file.location, path) for file, _, path in resolved() if path is not None),
        unusable=tuple(
            SourceProblem(file.source, "invalid_request", FOLDER_MARKER_PROBLEM)
            for file in files
            if file.source in unusable
        ),
        skipped=tuple(
            SourceProblem(file.source, "name_conflict") for file, name, path in resolved() if name and not path
        ),
        renamed=tuple(
            Renamed(file.source, name.requested, path)
            for file, name, path in resolved()
            if name and path not in (None, name.requested)
        ),
    )
