"""TLS in memory: how much of it, and what is left at an end by an alert, in the handshake, or of a proxy's TLS."""

import asyncio
import socket
import ssl
from contextlib import suppress

import pytest
from certificates import shared_trust

from archiver.http.pool import tls_context
from archiver.http.stream import Stream, start_tls
from archiver.http.tls import AT_ONCE, TlsRecords
from http_client.http_pair import BODY, SMALL, expect_interruption, open_pool, request
from http_client.scripted_server import make_response
from http_client.tls_peer import TlsPeer, serve_tls_peer

UNREADABLE = b"\x17\x03\x03\x00\x20" + bytes(32)
HEAD = make_response("200 OK", length=len(BODY))


class MemoryPeer:
    """A server's TLS in memory, inside *outer*, if there is one."""

    def __init__(self, outer: "MemoryPeer | None" = None) -> None:
        self.incoming, self.outgoing, self.outer = ssl.MemoryBIO(), ssl.MemoryBIO(), outer
        self.tls = shared_trust().server_context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def talk(self, client: TlsRecords) -> None:
        """Let both go on with the handshake until it is done."""
        for _ in range(3):
            client.handshake()
            self.take(client.take_outgoing())
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            client.feed(memoryview(self.give()))

    def take(self, data: bytes) -> None:
        if self.outer is not None:
            self.outer.take(data)
            data = b""
            with suppress(ssl.SSLWantReadError):
                while piece := self.outer.tls.read():
                    data += piece
        self.incoming.write(data)

    def give(self) -> bytes:
        data = self.outgoing.read()
        if self.outer is None:
            return data
        if data:
            self.outer.tls.write(data)
        return self.outer.give()


def secured(outer: TlsRecords | None = None, proxy: MemoryPeer | None = None) -> tuple[TlsRecords, MemoryPeer]:
    """A client's TLS and its server's after the handshake."""
    client, server = TlsRecords(tls_context(shared_trust().bundle), "127.0.0.1", outer), MemoryPeer(proxy)
    server.talk(client)
    return client, server


async def test_response_before_a_record_that_is_refused_counts_and_the_server_is_told() -> None:
    """Both come by one system call."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        peer.appended = UNREADABLE
        await peer.say(SMALL)
        peer.appended = b""
        try:
            await peer.request()
        except ssl.SSLError as error:
            told.set_result(error.reason)

    into = bytearray(10)
    async with serve_tls_peer(act) as origin, open_pool() as pool:
        await pool.request(origin, request(into))
        assert into == b"0123456789"
        assert "BAD_RECORD_MAC" in await asyncio.wait_for(told, 5)


async def test_record_that_is_refused_in_a_body_ends_it_after_what_came_before() -> None:
    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        peer.appended = UNREADABLE
        await peer.say(HEAD + BODY[:100])

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        error = await expect_interruption(pool.request(origin, request(bytearray(len(BODY)))))
    assert (str(error), error.received) == ("connection lost: SSLError (DECRYPTION_FAILED_OR_BAD_RECORD_MAC)", 100)


async def test_refused_certificate_is_the_error_although_the_server_is_gone() -> None:
    """It can't be told any more why."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    starting = asyncio.create_task(start_tls(Stream(ours), tls_context(None), "127.0.0.1"))
    await asyncio.sleep(0)
    peer = MemoryPeer()
    peer.incoming.write(theirs.recv(65_536))
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    theirs.send(peer.outgoing.read())
    theirs.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await starting


def test_end_of_the_proxys_tls_is_the_end_of_the_one_inside() -> None:
    outer, proxy = secured()
    inner, server = secured(outer, proxy)
    server.tls.write(b"last words")
    said = server.give()
    with pytest.raises(ssl.SSLWantReadError):
        proxy.tls.unwrap()
    inner.feed(memoryview(said + proxy.give()))
    assert inner.read() == b"last words"
    assert inner.ended


def test_what_waits_for_a_renegotiation_of_the_proxy_goes_out_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, proxy = secured()
    inner, server = secured(outer, proxy)

    def wait(_: object) -> int:
        raise ssl.SSLWantReadError

    with monkeypatch.context() as patch:
        patch.setattr(outer, "encrypt", wait)
        assert inner.encrypt(b"hello") == 5
        taken, waits = inner.take_outgoing(), inner.has_outgoing
    assert (taken, waits) == (b"", True)
    server.take(inner.take_outgoing())
    assert (inner.take_outgoing(), inner.has_outgoing) == (b"", False)
    assert server.tls.read() == b"hello"


async def test_openssl_gets_little_at_once_since_it_keeps_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call brings more, and the memory for it would stay with each connection."""
    fed: list[int] = []
    feed = TlsRecords.feed

    def counting(tls: TlsRecords, received: memoryview) -> None:
        fed.append(len(received))
        feed(tls, received)

    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        await peer.say(HEAD + BODY)

    monkeypatch.setattr(TlsRecords, "feed", counting)
    into = bytearray(len(BODY))
    async with serve_tls_peer(act) as origin, open_pool() as pool:
        await pool.request(origin, request(into))
    assert into == BODY
    assert max(fed) == AT_ONCE
    tls, _ = secured()
    assert tls.encrypt(bytes(1 << 20)) == AT_ONCE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"\x15\x03\x03\x00\x02\x02\x28", "ALERT_HANDSHAKE_FAILURE"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "VERSION")],
    ids=["alert", "no TLS"],
)
async def test_handshake_that_fails_tells_why(answer: bytes, reason: str) -> None:
    async def act(peer: TlsPeer) -> None:
        peer.appended = answer
        await peer.send()

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        error = await expect_interruption(pool.request(origin, request(bytearray(10))))
    assert "SSLError (" in str(error)
    assert reason in str(error)
