"""
Output of commands: results and JSON on standard output, notes and errors on standard error; exit codes.

Everything that a command writes goes through this module, which replaces the characters that a terminal interprets.
If the reader of standard output closes it (`archiver dlq show | head`), the command cleans up and exits silently.
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
from archiver.core.references import is_reference

EXIT_FAILED = 1  # exit codes: see the docstring of the package
EXIT_USAGE = 2
EXIT_RETRY_LATER = 3
EXIT_INTERNAL = 70  # sysexits.h: internal software error
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE  # the code that a shell reports for a command killed by SIGPIPE


class CommandError(Exception):
    """
    A command failed. Each of *sentences* says what failed, why and what to do; *code* is the exit code.

    Without sentences, the command exits silently (a closed pipe).
    """

    def __init__(self, *sentences: str, code: int = EXIT_FAILED) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
        self.code = code

    def report(self) -> None:
        """Print the sentences on standard error."""
        for sentence in self.sentences:
            print_note(sentence)


def print_line(text: str = "") -> None:
    """Print one line of the result on standard output. Raises CommandError if it can't be written."""
    _write_stdout(f"{printable(text)}\n")


def print_json(data: object) -> None:
    """Print *data* as indented JSON on standard output. Raises CommandError if it can't be written."""
    is_utf = _encoding(sys.stdout).startswith("utf")
    _write_stdout(printable_json(json.dumps(data, indent=2, ensure_ascii=not is_utf)) + "\n")


def print_note(text: str) -> None:
    """Print one line on standard error. A failed write is ignored: the command continues."""
    write_error(f"{printable(text)}\n")


def write_error(text: str) -> None:
    """Write *text* unchanged to standard error. A failed write is ignored."""
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
    if stream is None:  # the file descriptor was closed before the interpreter started
        return
    encoding = _encoding(stream)
    stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    stream.flush()


def _encoding(stream: TextIO | None) -> str:
    return ((stream and stream.encoding) or "utf-8").lower()


def discard_buffer(stream: TextIO) -> None:
    """Redirect *stream* to /dev/null: else the interpreter flushes it again at exit and prints an error."""
    try:
        fd = stream.fileno()
    except OSError:
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, fd)
    os.close(devnull)


def suggest(text: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)` with the entry of *known* closest to *text*; empty if none is close."""
    near = difflib.get_close_matches(text, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def environment(*needed: str) -> dict[str, str]:
    """
    Return a copy of the process environment, for the settings: those that are references (of the variables *needed*, or
    of all) have their values, which are read from AWS. Raises SettingsError.
    """
    environ = dict(os.environ)
    if any(is_reference(environ.get(name, "")) for name in needed or environ):
        from archiver.doors.references import resolve_references

        environ = resolve_references(environ, needed)
    return environ
