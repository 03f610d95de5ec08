"""
Lenient decoding of what senders put into properties and headers.

pamqp ends the connection, and with it every job on it, if text is not UTF-8 or a time is beyond the year 9999. The
message would then be redelivered, and end the next connection. Such text is decoded with replacement characters
instead, and such a time counts as absent.
"""

from datetime import datetime
from typing import Any

from pamqp import decode

_LENGTH_BYTES = 4  # of a table
_TIMESTAMP_BYTES = 8


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
    """Decode headers, as above."""
    offset = _LENGTH_BYTES
    end = offset + int.from_bytes(value[:offset], "big")
    found = {}
    while offset < end:
        read, name = short_text(value[offset:end])
        offset += read
        read, found[name] = decode.embedded_value(value[offset:end])
        offset += read
    return end, found


def install() -> None:
    """Replace the decoders in pamqp's own tables: it has no setting for them."""
    decode.METHODS.update(shortstr=short_text, timestamp=timestamp, table=table)
    decode.TABLE_MAPPING.update({b"T": timestamp, b"F": table})
