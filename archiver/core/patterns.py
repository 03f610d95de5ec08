"""
Regular expressions of requests, by RE2: each match takes time linear in the text, whatever the pattern.

RE2 comes with the extra `archiver[select]`, and is imported only for a request that has a pattern.
https://github.com/google/re2/wiki/Syntax
"""

import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from archiver.errors import Rejected

MAX_MEMORY = 1024 * 1024
"""RE2's memory for one pattern, in bytes."""

MAX_PROGRAM = 4000
"""Maximum instructions of a compiled pattern: a match takes time proportional to these times the text's length."""

MAX_PATTERNS = 32
"""Maximum different patterns of one request, since each takes `MAX_MEMORY`, and milliseconds to compile."""

MAX_REPLACED = 64
"""Maximum matches in one text that are replaced: each costs a search, of up to 20 ms."""

MAX_STEPS = 5_000_000_000
"""
Maximum steps of the patterns of one request: an instruction for each byte of a text that is searched. The worst
patterns take 14 ns for a step, so a minute together. Usual ones, such as `.*\\.jpg`, take 1,000 steps for a key.
"""

MAX_STEPS_AT_ONCE = 100_000_000
"""Steps that a thread takes before its job can be cancelled: a second of the worst."""

MISSING_EXTRA = (
    "needs RE2, which this installation does not have: install the extra archiver[select] where the worker runs "
    "(pip install 'archiver[select]'), or leave the pattern out"
)

_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)


def is_available() -> bool:
    """Return whether RE2 is installed."""
    return find_spec("re2") is not None


class PatternError(ValueError):
    """The pattern can't be used; the message says why."""


class Effort:
    """The steps that the patterns of one request have taken."""

    def __init__(self) -> None:
        self._steps = 0

    def add(self, steps: int) -> None:
        """Count *steps* before they are taken. Raises Rejected (`too_large`) for more than `MAX_STEPS`."""
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise Rejected(
                "too_large",
                "the patterns take too long for so many objects: write shorter ones (repetitions such as {100} are "
                "written out), or name longer prefixes",
            )


class Pattern:
    """A compiled expression. Raises PatternError."""

    def __init__(self, text: str) -> None:
        self._regexp = _compile(text)

    def steps(self, size: int) -> int:
        """Return the steps of a search in *size* bytes, at most."""
        return int(self._regexp.programsize) * size

    @property
    def groups(self) -> int:
        """Number of capturing groups."""
        return int(self._regexp.groups)

    def matches(self, text: str) -> bool:
        """Return whether the pattern matches the whole of *text*."""
        return self._regexp.fullmatch(text) is not None

    def find(self, text: str) -> Any:
        """Yield the matches in *text*, from left to right, as the `re` module does."""
        return self._regexp.finditer(text)


class Substitution:
    r"""
    Replaces each match of a pattern by *sub*, in which `\0` is the match, `\1` to `\9` are groups and `\\` is a
    backslash. Raises PatternError.
    """

    def __init__(self, pattern: str, sub: str) -> None:
        self._pattern = Pattern(pattern)
        self._pieces = _parse_replacement(sub, self._pattern.groups)

    def apply(self, text: str, effort: Effort) -> str:
        """
        Return *text* with all matches replaced; each search is counted by *effort*.

        Raises PatternError for more than `MAX_REPLACED`; Rejected (`too_large`).
        """
        result, end, steps = "", 0, self._pattern.steps(len(text.encode()))
        effort.add(steps)
        for number, match in enumerate(self._pattern.find(text)):
            effort.add(steps)
            if number == MAX_REPLACED:
                raise PatternError(f"matches more than {MAX_REPLACED} times")
            result += text[end : match.start()] + "".join(
                piece if isinstance(piece, str) else match[piece] or "" for piece in self._pieces
            )
            end = match.end()
        return result + text[end:]


def _parse_replacement(sub: str, groups: int) -> list[str | int]:
    """Split *sub* into literal text and numbers of groups. RE2's own syntax (`RE2::Rewrite`)."""
    pieces: list[str | int] = []
    end = 0
    for reference in _REFERENCE.finditer(sub):
        pieces.append(sub[end : reference.start()])
        end = reference.end()
        char = reference[1]
        if char == "\\":
            pieces.append("\\")
        elif not ("0" <= char <= "9"):
            raise PatternError(r"has a \ that is followed by neither a digit nor \: write \\ for a backslash")
        elif int(char) > groups:
            raise PatternError(f"refers to group {char}, but the pattern has {groups}")
        else:
            pieces.append(int(char))
    return [*pieces, sub[end:]]


@lru_cache(maxsize=8 * MAX_PATTERNS)
def _compile(text: str) -> Any:
    try:
        import re2  # noqa: PLC0415 - an extra
    except ImportError:
        raise PatternError(MISSING_EXTRA) from None
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False  # it would write a stranger's text to standard error
    try:
        regexp = re2.compile(text, options)
    except UnicodeEncodeError:
        raise PatternError("contains half of a surrogate pair, which is not text") from None
    except re2.error as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"is not an expression of RE2: {reason[:100]}") from None
    if regexp.programsize > MAX_PROGRAM:
        raise PatternError(f"is too large: it has {regexp.programsize:,} instructions of RE2, at most {MAX_PROGRAM:,}")
    return regexp
