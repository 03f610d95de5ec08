"""Check the entries of a request, each by itself: the objects and prefixes that they name, and their paths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, NoReturn, TypeVar

from archiver.core.entries import Entry, File, Inline, Selection, role_of
from archiver.core.locations import AllowList, Location, Role, parse_prefix, parse_source
from archiver.core.messages import OnDuplicate
from archiver.core.objects import ObjectInfo
from archiver.core.paths import ArchivePath, is_folder, resolve_path
from archiver.core.patterns import MAX_PATTERNS
from archiver.core.problems import MAX_PROBLEMS_LISTED, join_problems
from archiver.core.select import Selector, patterns_of
from archiver.core.unique_paths import UniquePaths, find_conflicts
from archiver.errors import Code, Rejected, SourceProblem

T = TypeVar("T")

FOLDER_MARKER_PROBLEM = (
    "names a folder: its key ends in /. For the objects under it, write `prefix` instead of `source`; "
    "for an empty folder, end `name` in /; or give the path of a file in `name`"
)
NO_FOLDER_PROBLEM = "has content, and its `name` ends in /: a folder has none"
NO_NAME_PROBLEM = "has no file name: inline text needs a `name`, or a `destination` with an extension"

Place = Callable[[int], str]
"""Where the entry with this index stands: a JSON path, or a line."""


def json_place(index: int) -> str:
    return f"$.files[{index}]"


class Named(NamedTuple):
    """
    One file. *entry*: the index of its entry; *source*: as the entry writes it; *name*: None for a folder marker.
    *info*: what is known of the file without asking S3.
    """

    entry: int
    source: str
    location: Location
    name: ArchivePath | None
    info: ObjectInfo | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """The checked entries of a request, in order. *place*: where each stands."""

    entries: tuple[Named | Selector, ...]
    place: Place = json_place

    @property
    def selectors(self) -> Iterator[Selector]:
        """The entries with a prefix."""
        return (entry for entry in self.entries if isinstance(entry, Selector))


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What sources may be: *bucket* is that of bare keys; *roles*: those that requests may name, by ARN."""

    bucket: str | None
    allowed: AllowList
    roles: Mapping[str, Role] = field(default_factory=dict)

    def allow(self, location: Location) -> bool:
        """Return whether a request may name *location*. A role that the operator lists has sources of its own."""
        return (self.roles[location.role].sources if location.role else self.allowed).allows(location)

    def refusal(self, location: Location) -> str:
        """Return why *location* is not allowed."""
        role = location.role[:200]
        outside = f"the sources of its role {role}" if role else "the allowed sources"
        return f"{str(location)[:200]} is outside {outside}"


def outline_entries(
    entries: Sequence[Entry],
    rules: SourceRules,
    sent_at: datetime,
    place: Place = json_place,
    *,
    fails: bool = True,
    first: int = 0,
) -> Outline:
    """
    Check *entries*. *sent_at*: the time of the request. With *fails*, a folder marker is refused. *first*: the index of
    the first one, if others were checked before.

    Raises Rejected: `invalid_request`, `role_not_allowed`, `source_not_allowed` or `name_unsafe`. It lists all such
    entries.
    """

    def place_of(index: int) -> str:
        return place(first + index)

    # Whether an entry is a File is asked first, here and below: most are, and pydantic's classes take long to say no.
    others = [entry for entry in entries if not isinstance(entry, File)]
    check_patterns({pattern for entry in others if isinstance(entry, Selection) for pattern in patterns_of(entry)})
    problems = EntryProblems(entries, place_of)
    locations = problems.map(lambda index, entry: _locate(first + index, entry, rules.bucket), "source")
    _check_roles(entries, rules.roles, place_of)
    _check_allowed(entries, locations, rules, place_of)

    def resolve(index: int, entry: Entry) -> Named | Selector:
        if not isinstance(entry, File) and isinstance(entry, Selection):
            return Selector.of(entry, locations[index], sent_at)
        name = resolve_path(locations[index].key, entry.destination, entry.name)
        if not isinstance(entry, File):
            return _inline(first + index, entry, name, sent_at)
        if name is None and fails:
            raise Rejected("invalid_request", FOLDER_MARKER_PROBLEM)
        return Named(first + index, entry.source, locations[index], name)

    return Outline(tuple(problems.map(resolve)), place)


def without_equal_folders(files: Sequence[Named]) -> list[Named]:
    """Return *files* with each folder once: a second one adds nothing to the archive."""
    first: dict[str, Named] = {}
    for file in files:
        if file.name is not None and is_folder(file.name.path):
            first.setdefault(file.name.path, file)
    if not first:
        return list(files)
    return [file for file in files if file.name is None or first.get(file.name.path, file) is file]


def locate_manifest(source: str, rules: SourceRules) -> Location:
    """Return the object that a request names as its manifest. Raises Rejected."""
    try:
        location = parse_source(source, rules.bucket)
    except Rejected as rejected:
        raise Rejected(rejected.code, f"$.manifest {rejected.message}") from None
    if not rules.allow(location):
        problem = SourceProblem(source, "source_not_allowed")
        raise Rejected("source_not_allowed", f"$.manifest {rules.refusal(location)}", [problem])
    return location


def check_patterns(patterns: AbstractSet[str]) -> None:
    """Raise Rejected `invalid_request` if a request has too many different *patterns*."""
    if len(patterns) > MAX_PATTERNS:
        raise Rejected(
            "invalid_request",
            f"the request has {len(patterns):,} different patterns; at most {MAX_PATTERNS} are allowed",
        )


def _locate(index: int, entry: Entry, bucket: str | None) -> Location:
    """Return the object that *entry* names, or the prefix; for inline text, a location that no object has."""
    if isinstance(entry, File):
        return parse_source(entry.source, bucket, role_of(entry))
    if isinstance(entry, Selection):
        return parse_prefix(entry.prefix, bucket, role_of(entry))
    return Location("", f"{index}/")


def _inline(index: int, entry: Inline, name: ArchivePath | None, sent_at: datetime) -> Named:
    if name is None:
        raise Rejected("invalid_request", NO_NAME_PROBLEM)
    if entry.inline and is_folder(name.path):
        raise Rejected("invalid_request", NO_FOLDER_PROBLEM)
    content = entry.inline.encode()
    info = ObjectInfo(len(content), "", sent_at, content=content)
    return Named(index, entry.source, Location("", f"{index}/"), name, info)


def _check_roles(entries: Sequence[Entry], roles: Mapping[str, Role], place: Place) -> None:
    """Refuse roles that the operator does not list."""
    unlisted = [index for index, entry in enumerate(entries) if (role := role_of(entry)) and role not in roles]
    if unlisted:
        listed = [
            f"{place(index)}.role_arn {role_of(entries[index])[:200]} is not a role of the operator's POLICY_FILE"
            for index in unlisted[:MAX_PROBLEMS_LISTED]
        ]
        reject("role_not_allowed", [entries[index].source for index in unlisted], listed)


def _check_allowed(entries: Sequence[Entry], locations: Sequence[Location], rules: SourceRules, place: Place) -> None:
    outside = [
        index
        for index, location in enumerate(locations)
        if not rules.allow(location) and not isinstance(entries[index], Inline)
    ]
    if outside:
        listed = [
            f"{place(index)}.{field_of(entries[index])} {rules.refusal(locations[index])}"
            for index in outside[:MAX_PROBLEMS_LISTED]
        ]
        reject("source_not_allowed", [entries[index].source for index in outside], listed)


def field_of(entry: Entry) -> str:
    """Return the name of the field that says what *entry* is."""
    return type(entry).kind


class EntryProblems:
    """Collects what is wrong with *entries*, each of which stands at a *place*."""

    def __init__(self, entries: Sequence[Entry], place: Place) -> None:
        self._entries = entries
        self._place = place

    def map(self, decide: Callable[[int, Entry], T], field: str = "") -> list[T]:
        """
        Call *decide* for each entry. If calls raise Rejected, raises one Rejected that lists all entries with the same
        code: `invalid_request` if it occurred, else the first code. *field*: "source" if the problems are with it.
        """
        results: list[T] = []
        refused: dict[Code, list[int]] = {}
        problems: dict[Code, list[str]] = {}  # texts, because exceptions would keep their tracebacks in memory
        for index, entry in enumerate(self._entries):
            try:
                results.append(decide(index, entry))
            except Rejected as rejected:
                refused.setdefault(rejected.code, []).append(index)
                if len(lines := problems.setdefault(rejected.code, [])) < MAX_PROBLEMS_LISTED:
                    dotted = f".{field_of(entry)}" if field else ""
                    lines.append(f"{self._place(index)}{dotted} {rejected.message}")
        if refused:
            worst: Code = "invalid_request" if "invalid_request" in refused else next(iter(refused))
            reject(worst, [self._entries[index].source for index in refused[worst]], problems[worst])
        return results


def reject(code: Code, sources: Sequence[str], problems: Sequence[str]) -> NoReturn:
    """Raise Rejected for *sources*. *problems*: texts of the first ones."""
    named = [SourceProblem(source, code) for source in sources]
    raise Rejected(code, join_problems(problems, len(sources)), named)


def check_one_role(outline: Outline, files: Sequence[Named]) -> None:
    """Refuse a source with two roles: answers name objects by their source alone."""

    def named() -> Iterator[tuple[int, str, str]]:
        for index, entry in enumerate(outline.entries):
            if isinstance(entry, Selector):
                yield index, entry.source, entry.prefix.location.role
        for file in files:
            yield file.entry, file.source, file.location.role

    if not any(role for _, _, role in named()):
        return
    roles: dict[str, str] = {}
    twice = [(index, source) for index, source, role in named() if roles.setdefault(source, role) != role]
    if twice:
        problems = [
            f"{outline.place(index)}.role_arn differs from that of another file with the same source"
            for index, _ in twice[:MAX_PROBLEMS_LISTED]
        ]
        reject("invalid_request", [source for _, source in twice], problems)


def resolve_conflicts(
    files: Sequence[Named], requested: Sequence[ArchivePath | None], on_duplicate: OnDuplicate, place: Place
) -> list[str | None]:
    """Return each file's final path; None if it has no path or is skipped. Raises Rejected `name_conflict`."""
    paths = [None if name is None else name.path for name in requested]
    wanted = {index: path for index, path in enumerate(paths) if path is not None}
    indices, named = list(wanted), list(wanted.values())
    losers = [indices[loser] for loser in find_conflicts(named)]
    if losers and on_duplicate == "fail":
        problems = [
            f"{place(files[index].entry)} has the path {wanted[index][:200]}, which another file or a folder uses"
            for index in losers[:MAX_PROBLEMS_LISTED]
        ]
        reject("name_conflict", [files[index].source for index in losers], problems)
    taken = UniquePaths(named) if losers and on_duplicate == "rename" else None
    for index in losers:
        paths[index] = taken.allocate(wanted[index]) if taken else None
    return paths
