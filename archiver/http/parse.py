"""Parser for HTTP/1.1 responses: strict, with bounded memory, no I/O (RFC 9110, RFC 9112)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

CHUNKED = -1
UNTIL_CLOSE = -2

MAX_LINE = 4096
"""Maximum bytes of one chunk-size line, and of all trailers together."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: .*)?")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")

# Fields that determine the length or the identity of a body may occur only once.
_NON_REPEATABLE = frozenset({b"content-length", b"transfer-encoding", b"content-range", b"etag"})


class ProtocolError(Exception):
    """The server violated the protocol: no further byte of this connection can be trusted."""


@dataclass(slots=True)
class Head:
    """Status and header fields; names in lower case, repeated fields joined by commas."""

    status: int
    fields: dict[bytes, bytes]
    keep_alive: bool

    def text(self, name: bytes) -> str:
        """Return the field *name* (lower case) as text; empty if it is absent."""
        return self.fields.get(name, b"").decode("latin-1")


def parse_head(block: bytes) -> Head:
    """
    Parse *block*, a head with its final empty line.

    Raises ProtocolError for folded lines, bare CR or LF, NUL, names that are not tokens, and repeated fields that
    determine the body.
    """
    status, *lines = block[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status)
    ends = len(lines) + 2
    if match is None or block.count(b"\r") != ends or block.count(b"\n") != ends or b"\0" in block:
        raise ProtocolError("malformed response head")
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


@lru_cache(maxsize=1024)  # servers send the same names in each response
def _field_name(raw: bytes, colon: bytes) -> bytes:
    if not colon or not _TOKEN.fullmatch(raw):
        raise ProtocolError("malformed header field")
    return raw.lower()


def body_length(method: str, head: Head) -> int:
    """Return the length of the response body in bytes, or CHUNKED, or UNTIL_CLOSE (RFC 9112, section 6.3)."""
    if method == "HEAD" or head.status in (204, 304):
        return 0
    length = head.fields.get(b"content-length")
    coding = head.fields.get(b"transfer-encoding")
    if coding is not None:
        # Both fields at once allow response smuggling. No other coding was requested.
        if coding.lower() != b"chunked" or length is not None:
            raise ProtocolError("unusable Transfer-Encoding")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if not length.isdigit() or len(length) > len(str(2**63)):
        raise ProtocolError("unusable Content-Length")
    return int(length)


class ChunkedDecoder:
    """Incremental decoder of the chunked coding. Extensions and trailers are skipped."""

    __slots__ = ("_after_data", "_last", "_left", "_line", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # bytes of the current chunk still to come
        self._after_data = False  # the empty line after a chunk's data is expected
        self._last = False  # the chunk of size 0 has been seen: trailers follow
        self._line = b""  # the beginning of a line whose end has not arrived
        self._trailers = 0

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Decode *data*, the next bytes received. Yield the pieces of it that are body, without copying them."""
        offset = 0
        while offset < len(data):
            if self.done:
                raise ProtocolError("body longer than declared")
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
                raise ProtocolError("chunk longer than declared")
            self._after_data = False
        else:
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise ProtocolError("malformed chunk size")
            self._left = int(match[1], 16)
            self._last = not self._left
