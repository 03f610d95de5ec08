"""Plan an archive: its exact members, in order, from the request and the HEAD responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from archiver.core.compression import is_compressible
from archiver.core.draft import Draft, DraftFile
from archiver.core.locations import Location
from archiver.core.messages import Compression, Renamed
from archiver.core.missing_report import MISSING_NAME, missing_text
from archiver.core.problems import MAX_PROBLEMS_LISTED, join_problems
from archiver.core.unique_paths import UniquePaths
from archiver.errors import Rejected, SourceProblem

MIN_MODIFIED = datetime(1980, 1, 1, tzinfo=UTC)  # DOS time starts here
MAX_MODIFIED = datetime(2037, 12, 31, 23, 59, 58, tzinfo=UTC)  # the extra field's 32-bit UNIX time ends soon after


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """
    The HEAD response of an object. *size* in bytes; *etag* as the store returns it, with quotes; *modified* in UTC;
    *crc32* of the whole object, None if the store has none.
    """

    size: int
    etag: str
    modified: datetime
    content_type: str = ""
    crc32: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object at one ETag, to which reads are pinned. *crc32*: the store's, or None."""

    location: Location
    etag: str
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
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
    are in the archive.
    """

    status: Literal["succeeded", "partial"]
    files: int
    missing: tuple[SourceProblem, ...]
    renamed: tuple[Renamed, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The exact members, in order. *missing_text_length*: bytes of `_MISSING.txt`, the last member, or None."""

    members: tuple[Member, ...]
    outcome: ArchiveSummary
    request_hash: str
    missing_text_length: int | None

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
    problems = {answer.source: answer for answer in reversed(found) if isinstance(answer, SourceProblem)}
    # Files with equal sources share the first problem, even if the object changed between two HEADs: `_MISSING.txt`,
    # from which the answer is rebuilt, identifies files only by source.
    missing = (*draft.unusable, *(problems[file.source] for file in draft.files if file.source in problems))
    outcome = summarize(draft, missing)
    causes = tuple(each for each in missing if draft.rejects(each.code)) or (() if outcome.files else missing)
    if causes:
        lines = [
            f"{each.source[:200]}: {each.code} {each.detail[:300]}".rstrip() for each in causes[:MAX_PROBLEMS_LISTED]
        ]
        objects = len(draft.files) + len(draft.unusable)
        message = f"{len(causes)} of {objects} objects can't be read: {join_problems(lines, len(causes))}"
        raise Rejected(causes[0].code, message, causes)
    members = [
        _member(file, info, draft.compression)
        for file, info in zip(draft.files, found, strict=True)
        if isinstance(info, ObjectInfo) and file.source not in problems
    ]
    text = missing_text(missing) if missing else None
    if text is not None:
        # Always stored, never compressed: it is read back by its offset in the archive.
        path = UniquePaths(member.path for member in members).allocate(MISSING_NAME)
        members.append(Member(path, len(text), max(member.modified for member in members), text))
    return Plan(tuple(members), outcome, draft.request_hash, None if text is None else len(text))


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
    """
    Summarize the archive of *draft* without the objects in *missing*. Used for a new plan, and for an archive that was
    finished before: then *missing* comes from its `_MISSING.txt`.
    """
    missing_sources = {problem.source for problem in missing}
    return ArchiveSummary(
        status="partial" if missing or draft.skipped else "succeeded",
        files=sum(file.source not in missing_sources for file in draft.files),
        missing=(*missing, *draft.skipped),
        renamed=tuple(renamed for renamed in draft.renamed if renamed.source not in missing_sources),
    )


def _member(file: DraftFile, info: ObjectInfo, compression: Compression) -> Member:
    deflate = compression == "deflate" or (compression == "auto" and is_compressible(info.content_type, file.path))
    modified = min(max(info.modified, MIN_MODIFIED), MAX_MODIFIED)
    return Member(file.path, info.size, modified, ObjectVersion(file.location, info.etag, info.crc32), deflate)
