"""A pool of connections and a server that talk to each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import shared_trust

from archiver.errors import TransferInterrupted
from archiver.http.exchange import HttpRequest, HttpResponse
from archiver.http.parse import Head
from archiver.http.pool import HttpPool, HttpTimeouts
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

BODY = bytes(range(256)) * 400  # larger than what is read along with a head
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
OK = make_response("200 OK", BODY)
SMALL = make_response("200 OK", b"0123456789")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def watched() -> dict[int, int]:
    """What the event loop watches: the events of each file descriptor."""
    loop: Any = asyncio.get_running_loop()
    return {key.fd: key.events for key in loop._selector.get_map().values()}


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def accept_any_head(_: Head) -> None:
    """Every head is fine."""


def request(into: bytearray, *, method: str = "GET", check: Callable[[Head], None] = accept_any_head) -> HttpRequest:
    return HttpRequest(method, GET, [memoryview(into)], check)


@asynccontextmanager
async def open_pool(limits: HttpTimeouts | None = None) -> AsyncIterator[HttpPool]:
    pool = HttpPool(limits or HttpTimeouts(), shared_trust().bundle)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def server_and_pool(
    *scripts: Script, limits: HttpTimeouts | None = None
) -> AsyncIterator[tuple[ScriptedServer, HttpPool]]:
    async with serve_scripts(*scripts) as server, open_pool(limits) as pool:
        yield server, pool


async def expect_interruption(attempt: Awaitable[HttpResponse]) -> TransferInterrupted:
    with pytest.raises(TransferInterrupted) as caught:
        await attempt
    return caught.value
