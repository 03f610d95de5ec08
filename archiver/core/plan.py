"""Plan an archive: its exact members, in order, from the request and the HEAD responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from archiver.core.compression import is_compressible
from archiver.core.draft import Draft, DraftFile
from archiver.core.locations import Location
from archiver.core.messages import Compression, Renamed, Strategy
from archiver.core.missing_report import MISSING_NAME, missing_text
from archiver.core.objects import ObjectInfo
from archiver.core.outline import NO_FOLDER_PROBLEM
from archiver.core.paths import is_folder
from archiver.core.problems import MAX_PROBLEMS_LISTED, join_problems
from archiver.core.unique_paths import UniquePaths
from archiver.errors import Rejected, SourceProblem

MIN_MODIFIED = datetime(1980, 1, 1, tzinfo=UTC)  # DOS time starts here
MAX_MODIFIED = datetime(2037, 12, 31, 23, 59, 58, tzinfo=UTC)  # the extra field's 32-bit UNIX time ends soon after


class ObjectVersion(NamedTuple):
    """An object at one ETag, to which reads are pinned. *crc32*: the store's, or None; so is its *version*'s id."""

    location: Location
    etag: str
    crc32: int | None = None
    version: str | None = None


class Member(NamedTuple):
    """
    One file of the archive. *path*: final. *size* in bytes. *modified*: UTC, within 1980..2037. *content*: an object to
    read, or the bytes themselves. *deflate*: compress it (else store it).
    """

    path: str
    size: int
    modified: datetime
    content: ObjectVersion | bytes
    deflate: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """
    The content of an archive, as the answer reports it. *files*: number of members without `_MISSING.txt`. *missing*:
    folder markers, then unreadable objects, then skipped duplicates, each in request order. *renamed*: only files that
    are in the archive. *unlisted*: missing objects that *missing* does not list, because the receipt is gone.
    """

    status: Literal["succeeded", "partial"]
    files: int
    missing: tuple[SourceProblem, ...]
    renamed: tuple[Renamed, ...]
    unlisted: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The exact members, in order; the last one is `_MISSING.txt` if objects are missing. *strategy*: as its draft's.
    *heads* of its objects that it took.
    """

    members: tuple[Member, ...]
    outcome: ArchiveSummary
    request_hash: str
    strategy: Strategy | None = None
    heads: int = 0

    @property
    def deflates(self) -> bool:
        """Whether any member is compressed, so that offsets are not known in advance."""
        return any(member.deflate for member in self.members)


def plan_archive(draft: Draft, found: Sequence[ObjectInfo | SourceProblem]) -> Plan:
    """
    Plan the archive of *draft*. *found*: the HEAD result of each of its files, in the same order.

    Raises Rejected with the first problem's code if an object can't be read for a reason that `Draft.rejects`, or if
    none can be read.
    """
    found = [
        SourceProblem(file.source, "invalid_request", NO_FOLDER_PROBLEM)
        if is_folder(file.path) and isinstance(info, ObjectInfo) and info.size
        else info
        for file, info in zip(draft.files, found, strict=True)
    ]
    problems = {answer.source: answer for answer in reversed(found) if isinstance(answer, SourceProblem)}
    # Files with equal sources share the first problem, even if the object changed between two HEADs: answers and
    # `_MISSING.txt` identify files only by source.
    gone = (*draft.unusable, *(problems[file.source] for file in draft.files if file.source in problems))
    missing = (*draft.unlisted, *gone)
    outcome = summarize(draft, missing)
    causes = missing if draft.empty else tuple(one for one in missing if draft.rejects(one.code))
    if not (causes or outcome.files):
        causes = missing
    if causes:
        lines = [f"{each.source[:200]}: {each.reason}" for each in causes[:MAX_PROBLEMS_LISTED]]
        objects = len(draft.files) + len(draft.unusable) + len(draft.unlisted)
        message = f"{len(causes)} of {objects} objects can't be read: {join_problems(lines, len(causes))}"
        raise Rejected(causes[0].code, message, causes)
    members = [
        member_for(file, info, draft.compression)
        for file, info in zip(draft.files, found, strict=True)
        if isinstance(info, ObjectInfo) and file.source not in problems
    ]
    if missing:
        text = missing_text(missing)
        path = UniquePaths(member.path for member in members).allocate(MISSING_NAME)
        members.append(Member(path, len(text), max(member.modified for member in members), text))
    heads = len({file.location for file in draft.files}.difference(draft.known))
    return Plan(tuple(members), outcome, draft.request_hash, draft.strategy, heads)


def files_or_members(draft: Draft) -> list[DraftFile | Member]:
    """Return a stored archive's members, as far as listings tell everything of them; of the others, the file."""
    files: list[DraftFile | Member] = []
    for file in draft.files:
        info = draft.known.get(file.location)
        files.append(member_for(file, info, "store") if isinstance(info, ObjectInfo) else file)
    return files


def check_count(draft: Draft, limit: int | None) -> None:
    """Raise Rejected (`too_large`) if *draft* has more than *limit* files (None: no limit)."""
    count = len(draft.files) + len(draft.unusable)
    if limit is not None and count > limit:
        raise Rejected("too_large", f"the request names {count:,} files; MAX_FILES is {limit:,}")


def check_size(plan: Plan, limit: int | None) -> None:
    """
    Raise Rejected (`too_large`) if the bodies of *plan* have more than *limit* bytes together (None: no limit).
    Uncompressed sizes count, because compressed sizes are not known in advance.
    """
    size = sum(member.size for member in plan.members)
    if limit is not None and size > limit:
        raise Rejected(
            "too_large",
            f"the {plan.outcome.files:,} files have {size:,} bytes together; MAX_ARCHIVE_BYTES is {limit:,}",
        )


def summarize(draft: Draft, missing: Sequence[SourceProblem]) -> ArchiveSummary:
    """Summarize the archive of *draft* without the objects in *missing*."""
    # A prefix may be spelled like the source of an object: it is told from that by its detail.
    missing_sources = {problem.source for problem in set(missing).difference(draft.unlisted)}
    return ArchiveSummary(
        status="partial" if missing or draft.skipped else "succeeded",
        files=sum(file.source not in missing_sources for file in draft.files),
        missing=(*missing, *draft.skipped),
        renamed=tuple(renamed for renamed in draft.renamed if renamed.source not in missing_sources),
    )


def summarize_without_receipt(draft: Draft, files: int, status: Literal["succeeded", "partial"]) -> ArchiveSummary:
    """
    Summarize a finished archive of *draft* whose receipt is gone. Its metadata has the number of *files* and the
    *status*: exact if no object was missing, else only the number of missing objects is known; not even that, if the
    request has prefixes or a manifest.
    """
    if draft.pending is not None:  # what its prefixes listed then is not known any more
        return ArchiveSummary(status, files, missing=(), renamed=())
    outcome = summarize(draft, draft.unusable)
    if outcome.files == files:
        return outcome
    unlisted = max(0, outcome.files + len(outcome.missing) - files)
    return ArchiveSummary(status, files, missing=(), renamed=(), unlisted=unlisted)


def member_for(file: DraftFile, info: ObjectInfo, compression: Compression) -> Member:
    """Return the member for *file*, whose object has the facts *info*."""
    deflate = (
        compression != "store"
        and not is_folder(file.path)
        and (compression == "deflate" or is_compressible(info.content_type, file.path))
    )
    modified = info.modified
    if not MIN_MODIFIED <= modified <= MAX_MODIFIED:
        modified = min(max(modified, MIN_MODIFIED), MAX_MODIFIED)
    version = ObjectVersion(file.location, info.etag, info.crc32, info.version)
    return Member(file.path, info.size, modified, version if info.content is None else info.content, deflate)
