"""`_MISSING.txt`, the list of omitted files inside an archive."""

import re
from collections.abc import Sequence

from archiver.errors import SourceProblem

MISSING_NAME = "_MISSING.txt"

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def missing_text(problems: Sequence[SourceProblem]) -> bytes:
    r"""Return one line per problem: source, tab, code. In sources, `\`, tab, line feed and return are escaped."""
    lines = (
        re.sub(r"[\\\t\n\r]", lambda match: _ESCAPES[match[0]], each.source) + f"\t{each.code}\n" for each in problems
    )
    return "".join(lines).encode()
