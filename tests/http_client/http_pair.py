"""A pool of connections and a server that talk to each other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certificates import ours

from archiver.errors import Interrupted
from archiver.http.exchange import Answer, Request
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, Limits
from http_client.scripted_server import Canned, Script, answer, canned

BODY = bytes(range(256)) * 400  # larger than what is read along with a head
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
OK = answer("200 OK", BODY)
SMALL = answer("200 OK", b"0123456789")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def anything(_: Head) -> None:
    """Every head is fine."""


def request(into: bytearray, *, method: str = "GET", check: Callable[[Head], None] = anything) -> Request:
    return Request(method, GET, [memoryview(into)], check)


@asynccontextmanager
async def pooled(limits: Limits | None = None) -> AsyncIterator[HttpPool]:
    pool = HttpPool(limits or Limits(), ours().bundle)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def talking(*scripts: Script, limits: Limits | None = None) -> AsyncIterator[tuple[Canned, HttpPool]]:
    async with canned(*scripts) as server, pooled(limits) as pool:
        yield server, pool


async def interrupted(attempt: Awaitable[Answer]) -> Interrupted:
    with pytest.raises(Interrupted) as caught:
        await attempt
    return caught.value
