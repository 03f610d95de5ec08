"""TLS below HTTP: records in any pieces, and connections that end in every way they should not."""

import asyncio
import socket
import ssl

import pytest
from certificates import shared_trust

from archiver.http.connection import Connection
from archiver.http.exchange import HttpRequest
from archiver.http.pool import HttpTimeouts, tls_context
from http_client.http_pair import BODY, CHUNKED, GET, SMALL, accept_any_head, expect_interruption, open_pool, request
from http_client.scripted_server import make_response, wait_until
from http_client.tls_peer import TlsPeer, serve_tls_peer, shake_hands

HALF = len(BODY) // 2
HEAD = make_response("200 OK", length=len(BODY))
RECORD = 22  # bytes that TLS 1.3 adds to each


@pytest.mark.parametrize("cut", range(1, len(SMALL) + RECORD))
async def test_answer_is_read_whole_wherever_its_record_is_cut(cut: int) -> None:
    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        peer.cuts = (cut,)
        await peer.say(SMALL)

    into = bytearray(10)
    async with serve_tls_peer(act) as origin, open_pool() as pool:
        await pool.request(origin, request(into))
    assert into == b"0123456789"


async def test_handshake_and_answers_are_read_byte_by_byte() -> None:
    async def act(peer: TlsPeer) -> None:
        peer.cuts = range(10_000)
        await peer.accept()
        for _ in range(3):
            await peer.request()
            await peer.say(SMALL)

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        for _ in range(3):
            into = bytearray(10)
            await pool.request(origin, request(into))
            assert into == b"0123456789"


async def test_records_go_both_ways_byte_by_byte() -> None:
    async def act(peer: TlsPeer) -> None:
        peer.cuts, peer.takes = range(10_000), 1
        await peer.accept()
        for _ in range(2):
            await peer.request()
            await peer.say(SMALL)

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        for _ in range(2):
            into = bytearray(10)
            await pool.request(origin, request(into))
            assert into == b"0123456789"


@pytest.mark.parametrize("takes", [1, 7, 1000, 16_384])
async def test_body_is_sent_whole_wherever_the_kernel_cuts_its_records(takes: int) -> None:
    """The kernel takes a few KiB at once: OpenSSL is left in the middle of a record, again and again."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    stream, peer = await shake_hands(ours, theirs)
    peer.takes = takes
    connection, body = Connection(stream, lambda _: None), BODY[:70_000]
    sending = asyncio.create_task(connection.exchange(HttpRequest("PUT", GET, None, accept_any_head, memoryview(body))))
    await peer.request()
    assert await peer.body(len(body)) == body
    await peer.say(SMALL)
    assert (await sending).body == b"0123456789"
    assert connection.usable
    connection.abort()
    peer.send_fin()


async def test_what_was_received_is_decrypted_although_the_kernel_has_no_more() -> None:
    """One record's bytes go into two views, and the event loop knows of the first alone."""
    stream, peer = await shake_hands(*socket.socketpair())
    connection, into = Connection(stream, lambda _: None), memoryview(bytearray(20))
    asked = HttpRequest("GET", GET, [into[:10], into[10:]], accept_any_head)
    reading = asyncio.create_task(connection.exchange(asked))
    await peer.request()
    await peer.say(make_response("200 OK", length=20))
    await peer.say(BODY[:20])
    await asyncio.wait_for(reading, 2)
    assert into == BODY[:20]
    connection.abort()
    peer.send_fin()


async def test_a_response_that_arrives_with_the_end_of_the_handshake_is_not_forgotten() -> None:
    """With TLS 1.2, the server speaks last in the handshake: what follows may come by the same system call."""
    context = tls_context(shared_trust().bundle)
    versions = context.maximum_version
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        says = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
        stream, peer = await shake_hands(*socket.socketpair(), context, says)
    finally:
        context.maximum_version = versions
    lost: list[object] = []
    connection = Connection(stream, lost.append)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert lost == [connection]
    peer.send_fin()


async def test_close_notify_is_answered() -> None:
    answered = asyncio.Event()

    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        await peer.say(SMALL)
        await peer.answer_to_notify()
        answered.set()

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        await pool.request(origin, request(bytearray(10)))
        await asyncio.wait_for(answered.wait(), 5)


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN alone"])
async def test_error_without_a_length_ends_with_the_connection_however_that_ends(notified: bool) -> None:
    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        await peer.say(b"HTTP/1.1 503 Slow Down\r\n\r\n<Error/>")
        if notified:
            await peer.notify()
        peer.send_fin()

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        got = await pool.request(origin, request(bytearray(10)))
    assert (got.head.status, got.body) == (503, b"<Error/>")


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN alone"])
@pytest.mark.parametrize(
    ("said", "received"),
    [(b"", 0), (HEAD[:20], 0), (HEAD, 0), (HEAD + BODY[:1], 1), (HEAD + BODY[:HALF], HALF), (HEAD + BODY[:-1], -1)],
    ids=["before the head", "in the head", "after the head", "one byte", "half the body", "all but one byte"],
)
async def test_connection_that_ends_early_leaves_what_was_received(said: bytes, received: int, notified: bool) -> None:
    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        if said:
            await peer.say(said)
        if notified:
            await peer.notify()
        peer.send_fin()

    into = bytearray(len(BODY))
    async with serve_tls_peer(act) as origin, open_pool() as pool:
        error = await expect_interruption(pool.request(origin, request(into)))
    assert error.received == received % len(BODY)
    assert into[: error.received] == BODY[: error.received]


async def test_close_notify_in_a_body_ends_it_though_the_connection_stays_open() -> None:
    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        await peer.say(HEAD + BODY[:HALF])
        await peer.notify()
        await peer.until_client_closes()

    async with serve_tls_peer(act) as origin, open_pool(HttpTimeouts(stall=20)) as pool:
        error = await expect_interruption(pool.request(origin, request(bytearray(len(BODY)))))
    assert (str(error), error.received) == ("connection closed", HALF)


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN alone"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_whole_body_is_whole_however_the_connection_ends_behind_it(chunked: bool, notified: bool) -> None:
    whole = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else HEAD + BODY

    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        await peer.say(whole)
        if notified:
            await peer.notify()
        peer.send_fin()

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        for _ in range(3):
            into = bytearray(len(BODY))
            await pool.request(origin, request(into))
            assert into == BODY


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "FIN alone"])
async def test_kept_connection_that_ended_is_replaced(notified: bool) -> None:
    met: list[TlsPeer] = []

    async def act(peer: TlsPeer) -> None:
        await peer.accept()
        await peer.request()
        met.append(peer)
        await peer.say(SMALL)

    async with serve_tls_peer(act) as origin, open_pool() as pool:
        await pool.request(origin, request(bytearray(10)))
        assert await wait_until(lambda: len(met) == 1)
        if notified:
            await met[0].notify()
        met[0].send_fin()
        await pool.request(origin, request(bytearray(10)))
        assert len(met) == 2
