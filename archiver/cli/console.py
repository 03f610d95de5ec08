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

EXIT_FAILED = 1  # exit codes; see the package's docstring
EXIT_USAGE = 2
EXIT_RETRY_LATER = 3
EXIT_INTERNAL = 70  # sysexits.h: internal software error
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell makes of a command that SIGPIPE ended


class CommandError(Exception):
    """
    What stands in the way of a command: one clear sentence each, with what to do next; none where nobody listens.
    """

    def __init__(self, *sentences: str, code: int = EXIT_FAILED) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
        self.code = code

    def report(self) -> None:
        """Say it on standard error."""
        for sentence in self.sentences:
            print_note(sentence)


def print_line(text: str = "") -> None:
    """One line for the person who asked, on standard output. Raises Problem where it can't be written."""
    _write_stdout(f"{printable(text)}\n")


def print_json(data: object) -> None:
    """*data* as JSON on standard output: indented for people, and read by `jq` all the same. Raises Problem, too."""
    is_utf = _encoding(sys.stdout).startswith("utf")
    _write_stdout(printable_json(json.dumps(data, indent=2, ensure_ascii=not is_utf)) + "\n")


def print_note(text: str) -> None:
    """One line beside the result, on standard error. Where it can't be written the work goes on."""
    write_error(f"{printable(text)}\n")


def write_error(text: str) -> None:
    """*text* as it stands to standard error, if that takes it."""
    try:
        _write(sys.stderr, text)
    except OSError:
        discard_buffer(sys.stderr)


def _write_stdout(text: str) -> None:
    try:
        _write(sys.stdout, text)
    except OSError as error:
        discard_buffer(sys.stdout)
        if error.errno == errno.EPIPE:
            raise CommandError(code=EXIT_BROKEN_PIPE) from None
        raise CommandError(f"standard output can't be written: {error.strerror}", code=EXIT_RETRY_LATER) from None


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed before we began
        return
    encoding = _encoding(stream)
    stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    stream.flush()


def _encoding(stream: TextIO | None) -> str:
    return ((stream and stream.encoding) or "utf-8").lower()


def discard_buffer(stream: TextIO) -> None:
    """What is still in its buffer goes nowhere, or the interpreter would try again at its end, and complain."""
    try:
        fd = stream.fileno()
    except OSError:
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, fd)
    os.close(devnull)


def suggest(text: str, known: Iterable[str]) -> str:
    """A question after one of *known* that *text* may be a slip of, or nothing."""
    near = difflib.get_close_matches(text, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def environment() -> dict[str, str]:
    """A copy of the process's environment, for the settings."""
    return dict(os.environ)
