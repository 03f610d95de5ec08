"""TLS below HTTP: records in any pieces, and connections that end in every way they should not."""

import pytest

from archiver.http.pool import HttpTimeouts
from http_client.http_pair import BODY, CHUNKED, SMALL, expect_interruption, open_pool, request
from http_client.scripted_server import make_response, wait_until
from http_client.tls_peer import TlsPeer, serve_tls_peer

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
