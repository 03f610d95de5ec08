"""
Lenient decoding of what senders put into properties and headers.

pamqp ends the connection, and with it every job on it, if text is not UTF-8, a time is beyond the year 9999, or tables
are in each other a thousand times. The message would then be redelivered, and end the next connection. Such text is
decoded with replacement characters instead, and such a time or table counts as absent.
"""

from datetime import datetime
from typing import Any

from pamqp import decode

_LENGTH_BYTES = 4  # of a table
_TIMESTAMP_BYTES = 8
_LONGEST_NAME = 256
_LONGEST_FIXED = 9  # with its type
_WITH_LENGTH = (b"S", b"x", b"F", b"A")

MAX_DEPTH = 16  # the broker's own headers have two


def short_text(value: bytes) -> tuple[int, str]:
    """Decode a property that is text. Returns the bytes read, and the text."""
    end = value[0] + 1
    return end, value[1:end].decode(errors="replace")


def timestamp(value: bytes) -> tuple[int, datetime | None]:
    """Decode a time, as above."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


def table(value: bytes) -> tuple[int, dict[str, Any]]:
    """
    Decode headers, as above. Those that nobody can decode count as absent, and so does what is in more than MAX_DEPTH
    tables and lists: pamqp's own decoder recurses until Python raises RecursionError.
    """
    end = _end(value)
    try:
        return end, _entries(value[_LENGTH_BYTES:end], 0)
    except (ValueError, IndexError):
        return end, {}


def _end(value: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big")


def _entries(value: bytes, depth: int) -> dict[str, Any]:
    found, offset = {}, 0
    while offset < len(value):
        read, name = short_text(value[offset : offset + _LONGEST_NAME])
        offset += read
        read, found[name] = _any(value, offset, depth)
        offset += read
    return found


def _items(value: bytes, depth: int) -> list[Any]:
    found, offset = [], 0
    while offset < len(value):
        read, one = _any(value, offset, depth)
        offset += read
        found.append(one)
    return found


def _any(value: bytes, offset: int, depth: int) -> tuple[int, Any]:
    """Decode the value at *offset*, which begins with its type. Returns the bytes read, and the value."""
    kind = value[offset : offset + 1]
    if kind not in _WITH_LENGTH:
        return decode.embedded_value(value[offset : offset + _LONGEST_FIXED])
    content = value[offset + 1 : offset + 1 + _end(value[offset + 1 : offset + 1 + _LENGTH_BYTES])]
    if kind not in _NESTED:
        return decode.embedded_value(kind + content)
    nested = _NESTED[kind](content[_LENGTH_BYTES:], depth + 1) if depth < MAX_DEPTH else None
    return 1 + len(content), nested


_NESTED = {b"F": _entries, b"A": _items}


def install() -> None:
    """Replace the decoders in pamqp's own tables: it has no setting for them."""
    decode.METHODS.update(shortstr=short_text, timestamp=timestamp, table=table)
    decode.TABLE_MAPPING[b"T"] = timestamp
