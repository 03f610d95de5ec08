"""
How commands talk: problems in a sentence, data as JSON, long work as a bar or as lines.

All that a command writes goes through here, and whatever it quotes is made safe for a terminal here, not where it is
quoted. Where nobody reads any more (`archiver dlq show | head`) the command ends quietly, and undoes what it began.
"""

import difflib
import errno
import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import TextIO

from archiver.core.printable import printable, printable_json

NO = 1  # exit codes; see the package's docstring
USAGE = 2
LATER = 3
DEFECT = 70  # sysexits.h: internal software error
INTERRUPTED = 128 + signal.SIGINT
UNREAD = 128 + signal.SIGPIPE  # what a shell makes of a command that SIGPIPE ended


class Problem(Exception):
    """
    What stands in the way of a command: one clear sentence each, with what to do next; none where nobody listens.
    """

    def __init__(self, *sentences: str, code: int = NO) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
        self.code = code

    def tell(self) -> None:
        """Say it on standard error."""
        for sentence in self.sentences:
            note(sentence)


def say(text: str = "") -> None:
    """One line for the person who asked, on standard output. Raises Problem where it can't be written."""
    _print(f"{printable(text)}\n")


def say_json(data: object) -> None:
    """*data* as JSON on standard output: indented for people, and read by `jq` all the same. Raises Problem, too."""
    every = _encoding(sys.stdout).startswith("utf")
    _print(printable_json(json.dumps(data, indent=2, ensure_ascii=not every)) + "\n")


def note(text: str) -> None:
    """One line beside the result, on standard error. Where it can't be written the work goes on."""
    write_error(f"{printable(text)}\n")


def write_error(text: str) -> None:
    """*text* as it stands to standard error, if that takes it."""
    try:
        _write(sys.stderr, text)
    except OSError:
        discard(sys.stderr)


def _print(text: str) -> None:
    try:
        _write(sys.stdout, text)
    except OSError as error:
        discard(sys.stdout)
        if error.errno == errno.EPIPE:
            raise Problem(code=UNREAD) from None
        raise Problem(f"standard output can't be written: {error.strerror}", code=LATER) from None


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed before we began
        return
    encoding = _encoding(stream)
    stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    stream.flush()


def _encoding(stream: TextIO | None) -> str:
    return ((stream and stream.encoding) or "utf-8").lower()


def discard(stream: TextIO) -> None:
    """What is still in its buffer goes nowhere, or the interpreter would try again at its end, and complain."""
    try:
        fd = stream.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def meant(text: str, known: Iterable[str]) -> str:
    """A question after one of *known* that *text* may be a slip of, or nothing."""
    near = difflib.get_close_matches(text, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def environment() -> dict[str, str]:
    """A copy of the process's environment, for the settings."""
    return dict(os.environ)
