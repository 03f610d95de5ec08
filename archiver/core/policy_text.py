"""The text of the operator's policy file while it is read: where its keys are, and what is wrong with them."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archiver.core.printable import printable

_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')\s*=""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

MAX_SHOWN_CHARS = 120  # characters of a key

Path = tuple[str, ...]
"""The keys that lead to a value, from the top of the file."""


@dataclass(slots=True)
class PolicyText:
    """*text*, and one sentence in *problems* for each thing that is wrong with it."""

    text: str
    problems: list[str] = field(default_factory=list)
    _lines: dict[Path, int] = field(default_factory=dict)

    def report(self, path: Path, told: str) -> None:
        """Add what is wrong at *path*: *told*, which says what to write."""
        if not self._lines:
            for number, found in _keys(self.text):
                self._lines.setdefault(found, number)
        known = (self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines)
        line = next((f"line {number}: " for number in known), "")
        section = f"[{dotted(path[:-1])}] " if path[:-1] else ""
        self.problems.append(printable(f"{line}{section}{path[-1][:MAX_SHOWN_CHARS]} {told}"))

    def table(self, path: Path, value: object) -> Mapping[str, Any]:
        """Return *value* if it is a table; else report it, and return an empty one."""
        if isinstance(value, dict):
            return value
        self.report(path, f"is not a section: write [{dotted(path)}]")
        return {}

    def check_keys(self, path: Path, table: Mapping[str, object], known: Sequence[str]) -> None:
        """Report each key of *table*, which is at *path*, that is not *known*."""
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
                self.report((*path, key), f"is unknown; {hint}")


def dotted(path: Path) -> str:
    """Return *path* as TOML writes it, with quotes where it needs them."""
    return ".".join(key if _BARE.fullmatch(key) else f'"{key[:MAX_SHOWN_CHARS]}"' for key in path)


def _keys(text: str) -> Iterator[tuple[int, Path]]:
    """Yield the line of each section and of each key in it. Keys of inline tables have that of the table."""
    section: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("["):
            section = _header(line)
            yield number, section
        elif found := _KEY.match(line):
            yield number, (*section, found[1].strip("\"'"))


def _header(line: str) -> Path:
    """Return the path of the section that *line* begins; () if it begins none."""
    path: list[str] = []
    try:
        table: Any = tomllib.loads(line)
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()
    while table:
        (key,) = table
        path.append(key)
        table = table[key][0] if isinstance(table[key], list) else table[key]
    return tuple(path)
