"""What an HTTP/1.1 server may send us, taken apart: strict, bounded, no I/O (RFC 9110, RFC 9112)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

CHUNKED = -1
UNTIL_CLOSE = -2

MAX_LINE = 4096
"""Bytes of one chunk-size line, and of all trailers together."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: .*)?")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")

# What decides about the length or the identity of a body may be said once only.
_NON_REPEATABLE = frozenset({b"content-length", b"transfer-encoding", b"content-range", b"etag"})


class ProtocolError(Exception):
    """The server broke the protocol: nothing more on this connection can be trusted."""


@dataclass(slots=True)
class Head:
    """Status line and header fields; names in lower case, repeated fields joined by commas."""

    status: int
    fields: dict[bytes, bytes]
    keep_alive: bool

    def text(self, name: bytes) -> str:
        """The field *name* (lower case) as text, empty where it is absent."""
        return self.fields.get(name, b"").decode("latin-1")


def parse_head(block: bytes) -> Head:
    """
    Parse *block*, which ends with its empty line.

    Refuses folded lines, bare CR or LF, NUL, names that are no tokens, and repeated fields that frame the body.
    """
    status, *lines = block[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status)
    ends = len(lines) + 2
    if match is None or block.count(b"\r") != ends or block.count(b"\n") != ends or b"\0" in block:
        raise ProtocolError("malformed answer head")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        raw, colon, value = line.partition(b":")
        name = _field_name(raw, colon)
        if name not in fields:
            fields[name] = value.strip(b" \t")
        elif name in _NON_REPEATABLE:
            raise ProtocolError(f"more than one {name.decode()}")
        else:
            fields[name] += b", " + value.strip(b" \t")
    connection = fields.get(b"connection", b"").lower()
    keep_alive = b"close" not in connection if match[1] == b"1" else b"keep-alive" in connection
    return Head(int(match[2]), fields, keep_alive)


@lru_cache(maxsize=1024)  # servers say the same names again and again
def _field_name(raw: bytes, colon: bytes) -> bytes:
    if not colon or not _TOKEN.fullmatch(raw):
        raise ProtocolError("malformed header field")
    return raw.lower()


def body_length(method: str, head: Head) -> int:
    """The length of the answer's body in bytes, or CHUNKED, or UNTIL_CLOSE (RFC 9112, section 6.3)."""
    if method == "HEAD" or head.status in (204, 304):
        return 0
    length = head.fields.get(b"content-length")
    coding = head.fields.get(b"transfer-encoding")
    if coding is not None:
        # Both at once is how answers are smuggled past each other; no other coding was asked for.
        if coding.lower() != b"chunked" or length is not None:
            raise ProtocolError("unusable Transfer-Encoding")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if not length.isdigit() or len(length) > len(str(2**63)):
        raise ProtocolError("unusable Content-Length")
    return int(length)


class ChunkedDecoder:
    """The chunked coding, decoded piece by piece. Extensions and trailers are read over."""

    __slots__ = ("_after_data", "_last", "_left", "_line", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # bytes of the current chunk still to come
        self._after_data = False  # the empty line behind a chunk's data is due
        self._last = False  # the chunk of size 0 has been seen: trailers follow
        self._line = b""  # the beginning of a line whose end has not arrived
        self._trailers = 0

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Take *data* as it came; yield the pieces of it that are body, without copying them."""
        offset = 0
        while offset < len(data):
            if self.done:
                raise ProtocolError("body longer than promised")
            if self._left:
                piece = data[offset : offset + self._left]
                offset += len(piece)
                self._left -= len(piece)
                self._after_data = not self._left
                yield piece
            else:
                offset = self._take_line(data, offset)

    def _take_line(self, data: memoryview, offset: int) -> int:
        window = bytes(data[offset : offset + MAX_LINE])
        end = window.find(b"\n") + 1
        self._line += window[:end] if end else window
        if len(self._line) > MAX_LINE:
            raise ProtocolError("chunk line too long")
        if not end:
            return offset + len(window)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise ProtocolError("chunk line without CRLF")
        self._process_line(line[:-2])
        return offset + end

    def _process_line(self, line: bytes) -> None:
        if self._last:
            self._trailers += len(line)
            if self._trailers > MAX_LINE:
                raise ProtocolError("trailers too long")
            self.done = not line
        elif self._after_data:
            if line:
                raise ProtocolError("chunk longer than promised")
            self._after_data = False
        else:
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise ProtocolError("malformed chunk size")
            self._left = int(match[1], 16)
            self._last = not self._left
