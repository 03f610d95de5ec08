"""What a command reads: a file that is named, or standard input."""

import sys
from pathlib import Path

from archiver.cli.console import EXIT_USAGE, CommandError, print_note


def read_input(name: str, what: str, limit: int | None = None) -> bytes:
    """
    Return the bytes of the file *name*, or of standard input for `-`. *what* it is, for messages. *limit*: bytes that
    it may have, None: any number. Raises CommandError.
    """
    most = -1 if limit is None else limit + 1
    try:
        data = _read_standard_input(what, most) if name == "-" else _read_file(name, most)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CommandError(f"{name}: can't be read: {reason}", code=EXIT_USAGE) from None
    if limit is not None and len(data) > limit:
        raise CommandError(f"{name}: {what} has more than {limit:,} bytes", code=EXIT_USAGE)
    return data


def _read_standard_input(what: str, most: int) -> bytes:
    if sys.stdin is None:  # the file descriptor was closed before the interpreter started
        raise CommandError(f"-: standard input is closed; name a file that has {what}", code=EXIT_USAGE)
    if sys.stdin.isatty():
        print_note(f"reading {what} from standard input; end it with Ctrl-D")
    return sys.stdin.buffer.read(most)


def _read_file(name: str, most: int) -> bytes:
    with Path(name).open("rb") as file:
        return file.read(most)


def decode_input(data: bytes, name: str) -> str:
    """Return the text of *data*, which was read from *name*. Raises CommandError if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = "standard input" if name == "-" else name
        message = f"{name}: is not UTF-8 (byte {error.start + 1}); save it as UTF-8"
        raise CommandError(message, code=EXIT_USAGE) from None
