"""HTTP/1.1 on asyncio streams, as far as correct clients and servers need it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

BLOCK = 64 * 1024
MAX_BODY = 64 * 1024 * 1024

Headers = Sequence[tuple[str, str]]
Blocks = AsyncIterator[bytes]


class ProtocolError(Exception):
    """The peer sent invalid HTTP, or a head or body that is too long."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. *target* is the path with its query, as it was sent; *body* is whole, without any transfer coding."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its complete body."""

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of *name*, compared case-insensitively."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def without_headers(headers: Headers, *names: str) -> list[tuple[str, str]]:
    """Return *headers* without those in *names* (lower case)."""
    return [(key, value) for key, value in headers if key.lower() not in names]


def replace_header(headers: Headers, name: str, value: str | None) -> list[tuple[str, str]]:
    """Return *headers* with *value* as the only value for *name*; None removes it."""
    others = without_headers(headers, name.lower())
    return others if value is None else [*others, (name, value)]


async def read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]] | None:
    """Read the first line and the headers. Return None if the peer has closed the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ProtocolError("the head was cut short") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise ProtocolError("the head is too long") from error
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, [(name.strip(), value.strip()) for name, _, value in pairs]


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the head of the next request, without its body. Return None at the end of the connection."""
    head = await read_head(reader)
    if head is None:
        return None
    method, _, rest = head[0].partition(" ")
    return Request(method, rest.rpartition(" ")[0], head[1])


async def read_response(reader: asyncio.StreamReader) -> Answer:
    """Read the head of a response, without its body. Interim responses (1xx) are skipped."""
    while True:
        head = await read_head(reader)
        if head is None:
            raise ProtocolError("no answer")
        status = int(head[0].split(" ", 2)[1])
        if status >= HTTPStatus.OK:
            return Answer(status, head[1])


async def blocks(reader: asyncio.StreamReader, headers: Headers, *, to_end: bool = False) -> Blocks:
    """Yield a body in blocks, by transfer coding or length. *to_end*: without either, until the connection closes."""
    length = header(headers, "content-length")
    if (header(headers, "transfer-encoding") or "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            async for block in _exactly(reader, size):
                yield block
            await reader.readexactly(2)
        while (await reader.readline()).strip():  # trailers
            pass
    elif length is not None:
        async for block in _exactly(reader, int(length)):
            yield block
    elif to_end:
        while block := await reader.read(BLOCK):
            yield block


async def _exactly(reader: asyncio.StreamReader, size: int) -> Blocks:
    while size:
        block = await reader.read(min(size, BLOCK))
        if not block:
            raise ProtocolError("the body was cut short")
        size -= len(block)
        yield block


async def read_body(source: Blocks) -> bytes:
    """Read a complete body."""
    body = bytearray()
    async for block in source:
        body += block
        if len(body) > MAX_BODY:
            raise ProtocolError("the body is too long")
    return bytes(body)


async def in_blocks(body: bytes) -> Blocks:
    """Yield *body* in blocks."""
    for start in range(0, len(body), BLOCK):
        yield body[start : start + BLOCK]


def request_head(request: Request) -> bytes:
    """Return the bytes of *request*'s head, with the length of its body and `Connection: close`."""
    hop = ("connection", "transfer-encoding", "content-length", "expect")
    length = len(request.body)
    headers = [*without_headers(request.headers, *hop), ("Content-Length", str(length)), ("Connection", "close")]
    return _head(f"{request.method} {request.target} HTTP/1.1", headers)


def response_head(answer: Answer) -> bytes:
    """Return the bytes of *answer*'s head."""
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Unknown"
    return _head(f"HTTP/1.1 {answer.status} {reason}", answer.headers)


def _head(first: str, headers: Headers) -> bytes:
    lines = (first, *(f"{name}: {value}" for name, value in headers), "", "")
    return "\r\n".join(lines).encode("latin-1")


def decode_aws_chunks(body: bytes) -> bytes:
    """Decode S3's `aws-chunked` coding: `size;extension CRLF data CRLF`, until size 0."""
    content, at = bytearray(), 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return bytes(content)
        content += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
