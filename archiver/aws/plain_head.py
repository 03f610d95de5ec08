"""
Reads the heads of plain responses in a tenth of the time of `parse_head` and `object_info`.

A server writes the same fields in the same order, again and again. What the strict reader accepted once becomes a
*shape*: a pattern that matches the same lines with other values. So nothing else is accepted, and it is read as the
strict reader reads it: a property test holds it against that.
"""

import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache

from archiver.aws.s3_responses import object_info
from archiver.core.objects import ObjectInfo
from archiver.core.plan import MIN_MODIFIED
from archiver.errors import ArchiverError
from archiver.http.parse import ProtocolError, parse_head

MAX_SHAPES = 8
MAX_SEEN = 256  # sets of fields that a shape was not made of yet

_MONTHS = {name: at for at, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_ANY = rb"[^\r\n\0]*"
_TEXT = rb"[^\r\n\0\t ](?:[^\r\n\0]*[^\r\n\0\t ])?"


def _value(pattern: bytes) -> bytes:
    return rb"[ \t]*" + pattern + rb"[ \t]*"


_FIELDS = {
    b"content-length": _value(rb"(?P<length>[0-9]{1,18})"),
    b"etag": _value(rb"(?P<etag>" + _TEXT + rb")"),
    b"last-modified": _value(
        rb"[A-Z][a-z][a-z], (?P<date>[0-9][0-9] [A-Z][a-z][a-z] [1-9][0-9]{3} [0-9][0-9]:[0-9][0-9]:[0-9][0-9]) GMT"
    ),
    b"content-type": _value(rb"(?P<type>" + _TEXT + rb")"),
    b"x-amz-checksum-crc32": _value(rb"(?P<crc32>[A-Za-z0-9+/]{5}[AQgw]==)"),
    b"x-amz-checksum-type": _value(rb"FULL_OBJECT"),
    b"x-amz-storage-class": _value(rb"(?!(?:GLACIER|DEEP_ARCHIVE)[ \t]*\r)[A-Z_]+"),
    b"x-amz-version-id": _value(rb"(?P<version>" + _TEXT + rb")"),
    b"connection": _value(rb"[Kk]eep-[Aa]live"),
}
_UNUSUAL = frozenset({b"transfer-encoding", b"content-range", b"x-amz-restore", b"x-amz-archive-status"})


_GROUPS = ("length", "etag", "date", "type", "crc32", "version")


class PlainHeads:
    """The shapes of the heads that were seen."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[bytes, ...], re.Pattern[bytes]] = {}  # by the fields as the server writes them
        self._seen: set[tuple[bytes, ...]] = set()

    def read(self, head: bytes) -> ObjectInfo | None:
        """
        Return the object's facts from *head*, the head of a response to HEAD or GET, with its final empty line. None
        for any response that is not a 200 for a whole object on a connection that stays open, or unusual in form.
        """
        for shape in self._shapes.values():
            match = shape.fullmatch(head)
            if match is not None:
                return _info(match)
        info = _read_strictly(head)
        if info is not None and len(self._shapes) < MAX_SHAPES:
            self._learn(head)
        return info

    def _learn(self, head: bytes) -> None:
        """
        Make a shape of *head* if its fields are seen for the second time. Those that a shape has, with other values
        than it takes (a checksum of parts), are read strictly; so are repeated ones, which the strict reader joins.
        """
        names = tuple([line.partition(b":")[0] for line in head[:-4].split(b"\r\n")[1:]])
        lower = [name.lower() for name in names]
        if names in self._shapes or any(lower.count(key) > 1 for key in _FIELDS):
            return
        if names in self._seen:
            self._shapes[names] = _shape(names)
        elif len(self._seen) < MAX_SEEN:
            self._seen.add(names)


def _read_strictly(head: bytes) -> ObjectInfo | None:
    try:
        parsed = parse_head(head)
        usual = parsed.status == 200 and parsed.keep_alive and not _UNUSUAL.intersection(parsed.fields)  # noqa: PLR2004
        return object_info(parsed) if usual and head.startswith(b"HTTP/1.1 200 OK\r\n") else None
    except (ProtocolError, ArchiverError):
        return None


def _shape(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Return the pattern of heads with the fields *names*, as the server writes them. None of `_FIELDS` repeats."""
    lines = [
        re.escape(name) + b":" + (_FIELDS[key] if (key := name.lower()) in _FIELDS else _ANY) + rb"\r\n"
        for name in names
    ]
    pattern = b"HTTP/1\\.1 200 OK\r\n" + b"".join(lines) + b"\r\n"
    absent = [name for name in _GROUPS if b"(?P<%b>" % name.encode() not in pattern]
    return re.compile(pattern + b"".join([b"(?P<%b>(?!))?" % name.encode() for name in absent]))


def _info(match: re.Match[bytes]) -> ObjectInfo:
    length, etag, date, kind, crc32, version = match.group(*_GROUPS)
    return ObjectInfo(
        int(length),
        etag.decode("latin-1"),
        MIN_MODIFIED if date is None else _moment(date),
        "" if kind is None else kind.decode("latin-1"),
        None if crc32 is None else int.from_bytes(binascii.a2b_base64(crc32), "big"),
        version=None if version is None else version.decode("latin-1"),
    )


@lru_cache(maxsize=1024)  # many objects were written in the same second
def _moment(text: bytes) -> datetime:
    """Return the time of `29 Nov 2026 08:49:37`; if there is no such day, the same as without a date."""
    day, month, year, hour, minute, second = text[:2], text[3:6], text[7:11], text[12:14], text[15:17], text[18:]
    try:
        return datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except (KeyError, ValueError):
        return MIN_MODIFIED
