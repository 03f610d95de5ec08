"""HTTP/1.1 on asyncio streams: as much of it as stands between a well-behaved client and a well-behaved server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

BLOCK = 64 * 1024
MAX_BODY = 64 * 1024 * 1024

Headers = Sequence[tuple[str, str]]
Blocks = AsyncIterator[bytes]


class ProtocolError(Exception):
    """The other side doesn't speak HTTP, or speaks too much of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. *target* is the path with its query, as it was sent; *body* is whole, without any transfer coding."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is at hand."""

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)


def header(headers: Headers, name: str) -> str | None:
    """The first value of *name*, in any case."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def without_headers(headers: Headers, *names: str) -> list[tuple[str, str]]:
    """*headers* but those named, in lower case, in *names*."""
    return [(key, value) for key, value in headers if key.lower() not in names]


def replace_header(headers: Headers, name: str, value: str | None) -> list[tuple[str, str]]:
    """*headers* with one value for *name*, or none."""
    kept = without_headers(headers, name.lower())
    return kept if value is None else [*kept, (name, value)]


async def read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]] | None:
    """The first line and the headers; None where the other side has closed instead."""
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
    """The head of the next request (its body is still to be read), or None at the end of the connection."""
    head = await read_head(reader)
    if head is None:
        return None
    method, _, rest = head[0].partition(" ")
    return Request(method, rest.rpartition(" ")[0], head[1])


async def read_response(reader: asyncio.StreamReader) -> Answer:
    """The head of an answer, as an answer without its body. Interim answers (1xx) are passed over."""
    while True:
        head = await read_head(reader)
        if head is None:
            raise ProtocolError("no answer")
        status = int(head[0].split(" ", 2)[1])
        if status >= HTTPStatus.OK:
            return Answer(status, head[1])


async def blocks(reader: asyncio.StreamReader, headers: Headers, *, to_end: bool = False) -> Blocks:
    """A body, block by block, by its transfer coding or its length; *to_end*: else until the connection closes."""
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
    """A whole body."""
    body = bytearray()
    async for block in source:
        body += block
        if len(body) > MAX_BODY:
            raise ProtocolError("the body is too long to be held")
    return bytes(body)


async def in_blocks(body: bytes) -> Blocks:
    """*body* in blocks."""
    for start in range(0, len(body), BLOCK):
        yield body[start : start + BLOCK]


def request_head(request: Request) -> bytes:
    """*request*'s head as it goes over the wire, with the length of its body, for a connection that closes after it."""
    hop = ("connection", "transfer-encoding", "content-length", "expect")
    length = len(request.body)
    headers = [*without_headers(request.headers, *hop), ("Content-Length", str(length)), ("Connection", "close")]
    return _head(f"{request.method} {request.target} HTTP/1.1", headers)


def response_head(answer: Answer) -> bytes:
    """*answer*'s head as it goes over the wire."""
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Unknown"
    return _head(f"HTTP/1.1 {answer.status} {reason}", answer.headers)


def _head(first: str, headers: Headers) -> bytes:
    lines = (first, *(f"{name}: {value}" for name, value in headers), "", "")
    return "\r\n".join(lines).encode("latin-1")


def decode_aws_chunks(body: bytes) -> bytes:
    """The content of a body in S3's `aws-chunked` coding: `size;extension CRLF data CRLF`, up to a size of nought."""
    content, at = bytearray(), 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return bytes(content)
        content += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
