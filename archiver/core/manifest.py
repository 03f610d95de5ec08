"""
Manifests: lists of entries in an object of their own, read piece by piece.

A manifest is a JSON request, of which only `files` counts, or that list alone; or one entry a line: as JSON, or as
`source` or `source,destination` in CSV. The key's extension decides, else the first characters.
"""

import codecs
import csv
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from archiver.core.entries import Entry, Inline, Selection, read_entry
from archiver.core.manifest_json import Document, Entries, ManifestError
from archiver.core.outline import Named, Outline, SourceRules, check_patterns, outline_entries
from archiver.core.problems import MAX_PROBLEMS_LISTED, Problems, join_problems
from archiver.core.select import Selector, patterns_of
from archiver.core.strict_json import decode_value
from archiver.errors import Rejected

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
MAX_ENTRY_LENGTH = 1024 * 1024
"""Maximum characters of one entry, as of a whole message."""

MAX_INLINE_BYTES = 1024 * 1024
"""Maximum bytes of all inline text together, since it is held in memory: as much as a message has."""

_HEADER = ("source", "destination")
_ENTRY_KEYS = ("source", "prefix", "inline")
_NO_ENTRY: Any = object()
_EXTENSIONS = {".csv": "csv", ".jsonl": "lines", ".ndjson": "lines", ".json": "document"}


@dataclass(frozen=True, slots=True)
class ManifestRules:
    """
    *sources*: what entries may name. *sent_at*: the time of the request. *fails*: a folder marker is refused.
    *max_files*: None for no limit.
    """

    sources: SourceRules
    sent_at: datetime
    fails: bool
    max_files: int | None


class _Splitter(Protocol):
    def feed(self, text: str, *, final: bool) -> Iterator[tuple[int, Any]]:
        """Yield the line number and the value of each entry that *text*, the next piece, completes."""


class ManifestParser:
    """
    Reads the manifest *name*: `feed` it piece by piece, then `finish`.

    Memory: one piece, and for each entry what its file or prefix needs for the plan. Raises Rejected: `invalid_request`
    with the lines of the first problems, `too_large`, and what `outline_entries` raises.
    """

    def __init__(self, name: str, rules: ManifestRules) -> None:
        self._name = name
        self._rules = rules
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._ended = 0  # lines
        self._splitter: _Splitter | None = None
        self._begin = ""
        self._problems = Problems()
        self._lines = array("I")
        self._entries: list[Named | Selector] = []
        self._inline = 0
        self._patterns: set[str] = set()

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Read *data*, the next bytes; *final*: the last ones."""
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise self._invalid(_not_utf8(error, self._ended)) from None
        self._ended += text.count("\n")
        if self._splitter is None:
            self._begin += text
            self._splitter = _choose_splitter(self._name, self._begin, final=final)
            if self._splitter is None:
                return
            text, self._begin = self._begin, ""
        try:
            self._add(self._splitter.feed(text, final=final))
        except ManifestError as error:
            raise self._invalid(str(error)) from None

    def finish(self) -> Outline:
        """Return the outline of all entries."""
        self.feed(b"", final=True)
        if self._problems.count:
            raise self._invalid(join_problems(self._problems.listed, self._problems.count))
        if not self._entries:
            raise self._invalid("has no entry")
        return Outline(tuple(self._entries), self._place)

    def _add(self, values: Iterator[tuple[int, Any]]) -> None:
        entries, problems = list[Entry](), self._problems
        for line, value in values:
            try:
                entries.append(_read_entry(value))
            except ValidationError as error:
                problems.add(error, root=f"line {line}: $")
            except ManifestError as error:
                raise ManifestError(f"line {line}: {error}") from None
            if problems.count >= MAX_PROBLEMS_LISTED:
                raise ManifestError(join_problems(problems.listed, problems.count))
            self._lines.append(line)
            self._check_bounds(entries[-1:])
        if not problems.count:
            rules, first = self._rules, len(self._entries)
            outline = outline_entries(
                entries, rules.sources, rules.sent_at, self._place, fails=rules.fails, first=first
            )
            self._entries += outline.entries

    def _check_bounds(self, entries: Iterable[Entry]) -> None:
        limit = self._rules.max_files
        if limit is not None and len(self._lines) > limit:
            raise Rejected(
                "too_large", f"the manifest {self._name} has more than {limit:,} entries, which is MAX_FILES"
            )
        for entry in entries:
            if isinstance(entry, Selection):
                self._patterns.update(patterns_of(entry))
                check_patterns(self._patterns)
        self._inline += sum(len(entry.inline.encode()) for entry in entries if isinstance(entry, Inline))
        if self._inline > MAX_INLINE_BYTES:
            raise Rejected(
                "too_large", f"the manifest {self._name} has more than {MAX_INLINE_BYTES:,} bytes of inline text"
            )

    def _place(self, index: int) -> str:
        return f"line {self._lines[index]} of the manifest: $"

    def _invalid(self, reason: str) -> Rejected:
        return Rejected("invalid_request", f"the manifest {self._name}: {reason}")


def read_values(name: str, data: bytes) -> list[Any]:
    """Return the values of the entries of a whole manifest *name*, unchecked. Raises ManifestError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(_not_utf8(error)) from None
    splitter = _choose_splitter(name, text, final=True)
    return [value for _, value in splitter.feed(text, final=True)] if splitter else []


def _not_utf8(error: UnicodeDecodeError, ended: int = 0) -> str:
    """Say where *error* is, after *ended* lines that were decoded before."""
    line = ended + error.object.count(b"\n", 0, error.start) + 1
    return f"line {line}: is not UTF-8: save the list as UTF-8, not compressed"


def _read_entry(value: Any) -> Entry:
    if isinstance(value, dict) and value.get("manifest") is not None:
        raise ManifestError("names another manifest, which is not read")
    return read_entry(value)


def _choose_splitter(name: str, begin: str, *, final: bool) -> _Splitter | None:
    """Return what splits the manifest *name*, which begins with *begin*; None if more is needed to tell."""
    extension = re.search(r"\.[a-z]+\Z", name.lower())
    kind = _EXTENSIONS.get(extension[0] if extension else "") or _kind_of(begin.lstrip(), final=final)
    if kind == "document":
        return Document(MAX_ENTRY_LENGTH)
    return Lines(_parse_csv if kind == "csv" else _parse_json_line) if kind else None


def _kind_of(begin: str, *, final: bool) -> str | None:
    final = final or len(begin) > MAX_ENTRY_LENGTH
    if not begin and not final:
        return None
    if not begin.startswith("{"):
        return "document" if begin.startswith("[") else "csv"
    first = Entries.first_value(begin)
    if first is None and not final:
        return None
    return "lines" if isinstance(first, dict) and any(key in first for key in _ENTRY_KEYS) else "document"


@dataclass
class Lines:
    """Splits one entry a line. Blank lines are skipped, and those that *parse* reads as `_NO_ENTRY`."""

    parse: Any
    _rest: str = ""
    _number: int = field(default=0)

    def feed(self, text: str, *, final: bool) -> Iterator[tuple[int, Any]]:
        *lines, self._rest = (self._rest + text).split("\n")
        if final:
            lines, self._rest = [*lines, self._rest], ""
        if len(self._rest) > MAX_ENTRY_LENGTH:
            raise ManifestError(f"line {self._number + len(lines) + 1}: has more than {MAX_ENTRY_LENGTH:,} characters")
        for line in lines:
            self._number += 1
            if line.strip():
                try:
                    value = self.parse(line.removesuffix("\r"), self._number)
                except ManifestError as error:
                    raise ManifestError(f"line {self._number}: {error}") from None
                if value is not _NO_ENTRY:
                    yield self._number, value


def _parse_json_line(line: str, _: int) -> Any:
    try:
        return decode_value(line)
    except ValueError as error:
        raise ManifestError(f"is not JSON: {error}") from None


def _parse_csv(line: str, number: int) -> Any:
    if "\r" in line:
        raise ManifestError("has a carriage return: end lines with a line feed, or with both")
    try:
        (fields,) = csv.reader([line], strict=True)
    except (csv.Error, ValueError):
        raise ManifestError("is not CSV: a field in quotes has no end on this line, or text after it") from None
    if len(fields) > len(_HEADER):
        raise ManifestError(f"has {len(fields)} fields; write source,destination, and quote fields with commas")
    if number == 1 and tuple(name.strip().lower() for name in fields) == _HEADER[: len(fields)]:
        return _NO_ENTRY
    return {name: text for name, text in zip(_HEADER, fields, strict=False) if text}
