"""`_MISSING.txt`, the list of omitted files inside an archive: written and read back."""

import re
from collections.abc import Sequence
from typing import cast, get_args

from archiver.errors import Code, SourceProblem

MISSING_NAME = "_MISSING.txt"

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPED = {escaped: char for char, escaped in _ESCAPES.items()}
_CODES = frozenset(get_args(Code))


def missing_text(problems: Sequence[SourceProblem]) -> bytes:
    r"""Return one line per problem: source, tab, code. In sources, `\`, tab, line feed and return are escaped."""
    lines = (
        re.sub(r"[\\\t\n\r]", lambda match: _ESCAPES[match[0]], each.source) + f"\t{each.code}\n" for each in problems
    )
    return "".join(lines).encode()


def parse_missing(data: bytes) -> list[SourceProblem]:
    """Parse the result of `missing_text`. Raises ValueError for anything else."""
    *lines, rest = data.decode().split("\n")
    if rest:
        raise ValueError("the last line has no line feed")
    return [_parse_line(line) for line in lines]


def _parse_line(line: str) -> SourceProblem:
    source, tab, code = line.partition("\t")
    if not tab or code not in _CODES:
        raise ValueError(f"no source and code: {line!r}")
    return SourceProblem(re.sub(r"\\[\\tnr]", lambda match: _UNESCAPED[match[0]], source), cast("Code", code))
