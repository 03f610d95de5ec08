"""Requests that are cancelled, and pools that are closed, at any moment: no socket and no callback is left."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import make_authority, make_server_context, shared_trust

from archiver.http.dns import DnsCache
from archiver.http.pool import HttpPool, HttpTimeouts, Origin
from archiver.http.proxy import Proxies
from http_client.forward_proxy import serve_proxy
from http_client.http_pair import SMALL, expect_interruption, open_files, request, turns, watched
from http_client.scripted_server import serve_scripts, wait_until
from http_client.tls_peer import TlsPeer, serve_tls_peer


async def local(_: str, port: int) -> list[tuple[Any, ...]]:
    """A resolver that takes no turn of the loop."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


async def cancel_everywhere(make_pool: Callable[[DnsCache], HttpPool], origin: Origin) -> int:
    """Cancel a request after 0, 1, 2, … turns of the loop until it is done by then; nothing is left each time."""
    for count in range(1000):
        before, reading = open_files(), watched()
        pool = make_pool(DnsCache(keep=60, resolve=local))
        task = asyncio.create_task(pool.request(origin, request(bytearray(10))))
        await turns(count)
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.close()
        while open_files() != before:  # the servers' ends
            await asyncio.sleep(0.001)
        assert watched() == reading
        if done:
            return count
    raise AssertionError


@pytest.mark.usefixtures("either_scheme")
async def test_request_that_is_cancelled_at_any_await_leaves_no_socket() -> None:
    async with serve_scripts([SMALL]) as server, asyncio.timeout(60):

        def make_pool(names: DnsCache) -> HttpPool:
            return HttpPool(HttpTimeouts(), shared_trust().bundle, names=names)

        assert await cancel_everywhere(make_pool, server.origin) > 3


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_tunnel_that_is_cancelled_at_any_await_leaves_no_socket(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, bundle = make_authority(tmp_path, "ours")
    (tmp_path / "proxy").mkdir()
    own = make_server_context(tmp_path / "proxy", "127.0.0.1", issuer) if scheme == "https" else None
    tls = make_server_context(tmp_path, "photos.invalid", issuer)
    async with serve_scripts([SMALL], tls=tls) as server, serve_proxy(tls=own) as proxy, asyncio.timeout(60):
        proxy.leads["photos.invalid"] = server.port
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(scheme=scheme))

        def make_pool(names: DnsCache) -> HttpPool:
            return HttpPool(HttpTimeouts(), bundle, Proxies(), names)

        assert await cancel_everywhere(make_pool, Origin(tls=True, host="photos.invalid", port=443)) > 10


async def test_pool_that_is_closed_during_a_handshake_leaves_no_socket() -> None:
    before, begun, closed = open_files(), asyncio.Event(), asyncio.Event()

    async def act(peer: TlsPeer) -> None:
        begun.set()
        await closed.wait()
        await peer.accept()

    async with serve_tls_peer(act) as origin:
        pool = HttpPool(HttpTimeouts(), shared_trust().bundle)
        asking = asyncio.create_task(pool.request(origin, request(bytearray(10))))
        await begun.wait()
        await pool.close()
        closed.set()
        await expect_interruption(asking)
        assert not pool._connections
    assert await wait_until(lambda: open_files() == before)
