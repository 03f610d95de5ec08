"""Which of the objects in a listing an entry with a `prefix` selects, and where in the zip they go."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from archiver.core.entries import Selection
from archiver.core.locations import MAX_KEY_BYTES, Location
from archiver.core.objects import Listed
from archiver.core.paths import MAX_PATH_BYTES, ArchivePath, Folder, split_rest
from archiver.core.patterns import MAX_STEPS_AT_ONCE, Effort, Pattern, PatternError, Substitution
from archiver.errors import Code, Rejected, SourceProblem, SourceUnavailable

MAX_LISTED = 10_000_000
"""
Maximum objects that the entries of one request may look at, selected or not: 10,000 calls. An object counts once for
each entry with its prefix.
"""


class Prefix(NamedTuple):
    """What is listed: the objects whose keys begin with *location*'s; those directly there, unless *recursive*."""

    location: Location
    recursive: bool = True


@dataclass(frozen=True, slots=True)
class Selector:
    """
    An entry with a `prefix`, ready to use. *source*: the prefix as written. *sent_at*: the time of the request, from
    which ages are counted, so that a redelivery selects by the same ages.
    """

    source: str
    prefix: Prefix
    folder: Folder
    selection: Selection
    sent_at: datetime
    regex: Pattern | None
    rename: Substitution | None

    @classmethod
    def of(cls, selection: Selection, location: Location, sent_at: datetime) -> "Selector":
        """Raises Rejected: `invalid_request` (a pattern), `name_unsafe` (the destination)."""
        return cls(
            selection.prefix,
            Prefix(location, selection.recursive),
            Folder(selection.destination),
            selection,
            sent_at,
            _compile(selection),
            _compile_rename(selection),
        )

    @property
    def location(self) -> Location:
        """The prefix, as a location."""
        return self.prefix.location

    def steps(self, objects: Iterable[Listed]) -> int:
        """Return the steps (see `Effort`) that `choose` takes for *objects*, at most."""
        if self.regex is None:
            return 0
        return self.regex.steps(sum(len(self._rest(listed.key).encode()) for listed in objects))

    def slices(self, objects: Sequence[Listed]) -> Iterator[Sequence[Listed]]:
        """Yield *objects* in slices, for each of which `choose` takes at most `MAX_STEPS_AT_ONCE`."""
        steps = 0 if self.regex is None else self.regex.steps(MAX_KEY_BYTES)
        length = max(1, MAX_STEPS_AT_ONCE // steps) if steps else len(objects)
        return (objects[start : start + length] for start in range(0, len(objects), length or 1))

    def choose(self, objects: Iterable[Listed]) -> list[Listed]:
        """
        Return those of *objects* that the entry selects, before `count`. Of folder markers, these are only those below
        the prefix that have no content, and only with `folders`.
        """
        return [listed for listed in objects if self._chooses(listed)]

    def _chooses(self, listed: Listed) -> bool:
        rest = self._rest(listed.key)
        if listed.key.endswith("/") and not (self.selection.folders and not listed.size and split_rest(rest)):
            return False
        if not self.prefix.recursive and "/" in rest:
            return False
        where = self.selection.where
        if where is not None and where.size is not None and not _is_between(listed.size, *where.size.bounds):
            return False
        if where is not None and where.age is not None:
            age = (self.sent_at - listed.modified).total_seconds()
            if not _is_between(age, where.age.gt, where.age.lt):
                return False
        return self.regex is None or self.regex.matches(rest)

    def empty_reason(self, count: int) -> str | None:
        """Return why the entry selects nothing, although *count* objects are chosen; None if it selects them."""
        where = self.selection.where
        bounds = where.count if where is not None else None
        if bounds is not None and not (bounds.min or 0) <= count <= (count if bounds.max is None else bounds.max):
            allowed = f"{bounds.min or 0} to {'any number' if bounds.max is None else bounds.max}"
            return f"it selects {count:,} objects; `where.count` allows {allowed}"
        return None if count else "it selects no object"

    def lacks(self, count: int, *, must: bool) -> bool:
        """
        Return whether *count* objects are too few to stop waiting, and objects that come later may be chosen. *must*:
        the entry must select something. An object that comes later is younger than the request.
        """
        where = self.selection.where
        if where is not None and where.age is not None and where.age.gt is not None:
            return False
        bounds = where.count if where is not None else None
        least = 1 if bounds is None or bounds.min is None else max(bounds.min, int(must))
        return count < least and (bounds is None or bounds.max is None or bounds.max >= least)

    def path_of(self, key: str, effort: Effort) -> ArchivePath:
        """
        Return the path of the object *key* in the zip. *effort* counts what a rename takes.

        Raises Rejected: `name_unsafe`, `too_large`.
        """
        rest = self._rest(key)
        if self.rename is not None:
            rest = self._renamed(self.rename, key, rest, effort)
        try:
            return self.folder.path_of(rest, folder=key.endswith("/"))
        except Rejected as rejected:
            raise self._unsafe(key, rejected.message) from None

    def _renamed(self, rename: Substitution, key: str, rest: str, effort: Effort) -> str:
        try:
            rest = rename.apply(rest, effort)
        except PatternError as error:
            raise self._unsafe(key, f"`rename` {error}") from None
        if len(rest) > MAX_PATH_BYTES:  # thousands of these would take gigabytes
            raise self._unsafe(key, f"`rename` makes a path of {len(rest):,} characters")
        return rest

    def _unsafe(self, key: str, reason: str) -> Rejected:
        source = self.source_of(key)
        return Rejected("name_unsafe", f"{source[:200]}: {reason}", [SourceProblem(source, "name_unsafe")])

    def source_of(self, key: str) -> str:
        """Return the object *key* as a request would name it that writes sources as this one writes its prefix."""
        prefix = self.prefix.location.key
        begin = self.source.removesuffix(prefix) if prefix else self.source
        # `s3://bucket` alone lacks the `/` that separates the key.
        return begin + ("/" if not prefix and not begin.endswith("/") else "") + key

    def _rest(self, key: str) -> str:
        return key[self.prefix.location.key.rfind("/") + 1 :]


def prospects(
    selectors: Iterable[Selector],
    found: Sequence[Sequence[Listed] | SourceUnavailable],
    *,
    must: bool,
    rejects: Callable[[Code], bool],
) -> tuple[int, bool]:
    """
    Return how many of *selectors* select too few objects, if objects that come later may change that; and whether any
    of the others rejects the request. *found*: as `complete_draft` takes it; *must*: each must select something;
    *rejects*: whether a problem with this code rejects the request.
    """
    lacking, hopeless = 0, False
    for selector, listed in zip(selectors, found, strict=True):
        if isinstance(listed, SourceUnavailable):
            mends = listed.code == "source_missing"
            hopeless |= not mends and rejects(listed.code)
        else:
            mends = selector.lacks(len(listed), must=must)
            hopeless |= must and not mends and selector.empty_reason(len(listed)) is not None
        lacking += mends
    return lacking, hopeless


def patterns_of(selection: Selection) -> Iterator[str]:
    """Yield the regular expressions of *selection*."""
    if selection.regex is not None:
        yield selection.regex
    if selection.rename is not None:
        yield selection.rename.pattern


def _is_between(value: float, above: int | None, below: int | None) -> bool:
    return (above is None or value > above) and (below is None or value < below)


def _compile(selection: Selection) -> Pattern | None:
    try:
        return None if selection.regex is None else Pattern(selection.regex)
    except PatternError as error:
        raise Rejected("invalid_request", f"has a regex that {error}") from None


def _compile_rename(selection: Selection) -> Substitution | None:
    rename = selection.rename
    try:
        return None if rename is None else Substitution(rename.pattern, rename.sub)
    except PatternError as error:
        raise Rejected("invalid_request", f"has a rename that {error}") from None
