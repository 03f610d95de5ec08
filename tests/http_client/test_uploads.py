"""Bodies of requests go out whole, however the server reads them, and an early answer is read while they do."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from certificates import make_authority, make_server_context, shared_trust

from archiver.http import tls
from archiver.http.exchange import HttpRequest
from archiver.http.pool import HttpPool, HttpTimeouts, Origin
from archiver.http.proxy import Proxies
from http_client import scripted_server
from http_client.forward_proxy import serve_proxy
from http_client.http_pair import accept_any_head, open_pool
from http_client.scripted_server import make_response, wait_until

MIB = 1 << 20
PATTERN = bytes(range(251)) * 4178  # a MiB and a bit; its period divides no slice and no record


def content(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def put(body: bytes | bytearray, into: bytearray | None = None) -> HttpRequest:
    head = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    views = None if into is None else [memoryview(into)]
    return HttpRequest("PUT", head, views, accept_any_head, memoryview(body))


@dataclass
class Store:
    """
    Takes bodies of *size* bytes, *pause* seconds after each 64 KiB. *early*: its answer, once *full*, before it reads
    the body, of which it takes nothing until *answered*.
    """

    size: int
    pause: float | None = None
    early: bytes = b""
    taken: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if self.early:
                    await self.full.wait()
                    writer.write(self.early)
                    await writer.drain()
                    await self.answered.wait()
                body = bytearray()
                while len(body) < self.size:
                    body += await reader.readexactly(min(65_536, self.size - len(body)))
                    if self.pause is not None:
                        await asyncio.sleep(self.pause)
                self.taken.append(bytes(body))
                if not self.early:
                    writer.write(make_response("200 OK"))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.open -= 1


@asynccontextmanager
async def serving(store: Store, context: ssl.SSLContext | None) -> AsyncIterator[Origin]:
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0, ssl=context, limit=65_536)
    async with server:
        yield Origin(tls=context is not None, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        assert await wait_until(lambda: not store.open), "a client left its connection open"


def server_tls() -> ssl.SSLContext | None:
    return shared_trust().server_context if scripted_server.TLS else None


@pytest.mark.parametrize("pause", [None, 0.001], ids=["reads at once", "reads slowly"])
@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1, 8 * MIB])
@pytest.mark.usefixtures("either_scheme")
async def test_body_goes_out_whole_and_the_connection_is_kept(size: int, pause: float | None) -> None:
    store, body = Store(size, pause), content(size)
    async with serving(store, server_tls()) as origin, open_pool(HttpTimeouts(stall=5)) as pool:
        for _ in range(2):
            assert (await pool.request(origin, put(body))).head.status == 200
    assert store.taken == [body, body]
    assert store.connections == 1


@pytest.mark.usefixtures("either_scheme")
async def test_many_bodies_go_out_at_once_and_none_gets_into_another() -> None:
    size = 3 * MIB
    store = Store(size)
    bodies = [bytes([number]) * size for number in range(6)]
    async with serving(store, server_tls()) as origin, open_pool() as pool:
        await asyncio.gather(*[pool.request(origin, put(body)) for body in bodies])
    assert sorted(store.taken) == bodies


async def send_until_full(store: Store, pool: HttpPool, origin: Origin, into: bytearray) -> None:
    """Send a body until no socket takes more of it; then let the store answer, and nothing else."""
    sending = asyncio.create_task(pool.request(origin, put(bytes(store.size), into)))
    before = left = 0
    while (not left or before != left) and not sending.done():
        await asyncio.sleep(0.1)
        before, left = left, sum(len(piece) for sock in pool._connections for piece in sock._socket._unsent)
    assert not sending.done()
    store.full.set()
    assert (await sending).head.status == 200
    assert not pool._idle
    store.answered.set()


@pytest.mark.usefixtures("either_scheme")
async def test_answer_that_comes_before_the_body_was_read_is_received_while_the_body_goes_out() -> None:
    """The client must read while its own data waits to be sent; the connection is of no use then."""
    answer = content(4 * MIB)
    store = Store(16 * MIB, early=make_response("200 OK", answer))  # more than two sockets hold
    into = bytearray(len(answer))
    async with serving(store, server_tls()) as origin, open_pool(HttpTimeouts(stall=5)) as pool:
        await send_until_full(store, pool, origin, into)
    assert into == answer
    assert store.taken == []


async def through_proxy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
    act: Callable[[HttpPool, Origin], Awaitable[None]],
) -> None:
    """Run *act* with TLS to *store* through the TLS of a proxy."""
    issuer, bundle = make_authority(tmp_path, "ours")
    (tmp_path / "proxy").mkdir()
    own = make_server_context(tmp_path / "proxy", "127.0.0.1", issuer)
    theirs = make_server_context(tmp_path, "photos.invalid", issuer)
    async with serving(store, theirs) as origin, serve_proxy(tls=own) as proxy:
        proxy.leads["photos.invalid"] = origin.port
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(scheme="https"))
        pool = HttpPool(HttpTimeouts(stall=5), bundle, Proxies())
        try:
            await act(pool, Origin(tls=True, host="photos.invalid", port=443))
        finally:
            await pool.close()


@pytest.mark.parametrize("pause", [None, 0.001], ids=["reads at once", "reads slowly"])
@pytest.mark.parametrize("size", [1, 65_536, MIB, 8 * MIB])
async def test_body_goes_out_whole_through_an_https_proxy(
    size: int, pause: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, body = Store(size, pause), content(size)

    async def act(pool: HttpPool, origin: Origin) -> None:
        for _ in range(2):
            assert (await pool.request(origin, put(body))).head.status == 200

    await through_proxy(tmp_path, monkeypatch, store, act)
    assert store.taken == [body, body]
    assert store.connections == 1


async def test_early_answer_is_received_through_an_https_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "AT_ONCE", MIB)  # so that the kernel stops in the middle of it
    answer = content(4 * MIB)
    store = Store(64 * MIB, early=make_response("200 OK", answer))  # more than four sockets hold
    into = bytearray(len(answer))

    async def act(pool: HttpPool, origin: Origin) -> None:
        await send_until_full(store, pool, origin, into)

    await through_proxy(tmp_path, monkeypatch, store, act)
    assert into == answer
