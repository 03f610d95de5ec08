"""The client's sockets on the event loop: they wait without work, are closed once, and leave nothing behind."""

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from certificates import shared_trust

from archiver.http.connection import Connection
from archiver.http.exchange import HttpRequest
from archiver.http.pool import tls_context
from archiver.http.socket import HttpSocket, start_tls
from archiver.http.tls import TlsInTls
from http_client.http_pair import GET, accept_any_head, turns, watched
from http_client.tls_peer import TlsPeer

MIB = 1 << 20


@contextmanager
def counted_turns() -> Iterator[list[int]]:
    """Counts how often the event loop finds something ready, but timers."""
    loop: Any = asyncio.get_running_loop()
    select, turns = loop._selector.select, [0]

    def count(timeout: float | None = None) -> Any:
        found = select(timeout)
        turns[0] += len(found)
        return found

    loop._selector.select = count
    try:
        yield turns
    finally:
        loop._selector.select = select


def socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


@asynccontextmanager
async def connected(*, tls: bool) -> AsyncIterator[tuple[Connection, TlsPeer | socket.socket]]:
    """A connection and its peer, which reads nothing by itself."""
    ours, theirs = socket_pair()
    if not tls:
        connection = Connection(ours, lambda _: None)
        yield connection, theirs
        connection.abort()
        theirs.close()
        return
    peer = TlsPeer(*await asyncio.open_connection(sock=theirs, limit=1024), shared_trust().server_context)
    accepting = asyncio.create_task(peer.accept())
    connection = Connection(await start_tls(ours, tls_context(shared_trust().bundle), "127.0.0.1"), lambda _: None)
    await accepting
    yield connection, peer
    connection.abort()
    peer.send_fin()


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("body", [None, 0, 8 * MIB], ids=["idle", "waits for an answer", "waits to send"])
async def test_connection_that_waits_costs_no_turn_of_the_loop(tls: bool, body: int | None) -> None:
    async with connected(tls=tls) as (connection, _):
        sending = None
        if body is not None:
            asked = HttpRequest("PUT", GET, None, accept_any_head, memoryview(bytes(body)))
            sending = asyncio.create_task(connection.exchange(asked))
        found = 100
        async with asyncio.timeout(10):
            while found > 1:  # until what is under way has arrived
                with counted_turns() as turns:
                    await asyncio.sleep(0.05)
                found = turns[0]
        if sending:
            connection.abort()
            sending.cancel()


class Records(TlsInTls):
    """Does with plain bytes what OpenSSL does with a renegotiation: wants to read first, or to write first."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fileno = sock.fileno
        self.close = sock.close
        self.write_wants_read = self.read_wants_write = 0
        self.sends = self.reads = 0

    def pending(self) -> int:
        return 0

    def send(self, data: bytes | memoryview) -> int:
        self.sends += 1
        if self.write_wants_read:
            raise ssl.SSLWantReadError
        try:
            return self.sock.send(data)
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None

    def recv_into(self, space: memoryview, size: int) -> int:
        self.reads += 1
        if self.read_wants_write:
            self.read_wants_write -= 1
            raise ssl.SSLWantWriteError
        try:
            count = self.sock.recv_into(space, size)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None
        if self.write_wants_read:  # a byte of the handshake that the write waits for, and no data
            self.write_wants_read -= 1
            raise ssl.SSLWantReadError
        return count


class Owner:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.space = bytearray(1024)
        self.losses: list[Exception | None] = []
        self.in_response = False

    def free_space(self) -> memoryview:
        return memoryview(self.space)

    def received(self, count: int) -> None:
        self.got += self.space[:count]

    def sent(self) -> None:
        """No clock is set."""

    def lost(self, error: Exception | None) -> None:
        self.losses.append(error)


async def test_write_that_wants_to_read_waits_for_that_alone_and_goes_on_then() -> None:
    ours, theirs = socket_pair()
    stream, owner = Records(ours), Owner()
    stream.write_wants_read = 2
    sock = HttpSocket(stream, owner)
    sock.send(b"hello")
    for sends in (1, 2):
        await turns()
        assert (stream.sends, stream.reads, sock.all_sent) == (sends, sends - 1, False)
        theirs.send(b"!")
        await turns()
    assert sock.all_sent
    assert theirs.recv(10) == b"hello"
    assert stream.sends == 3
    assert watched()[ours.fileno()] == 1
    sock.close()
    theirs.close()


async def test_read_that_wants_to_write_waits_for_that_alone_and_goes_on_then() -> None:
    ours, theirs = socket_pair()
    full = 0
    with pytest.raises(BlockingIOError):
        while True:
            full += ours.send(bytes(65_536))
    stream, owner = Records(ours), Owner()
    stream.read_wants_write = 2
    sock = HttpSocket(stream, owner)
    theirs.send(b"data")
    await turns(10)
    assert stream.reads == 1
    assert watched()[ours.fileno()] == 2
    sock.send(b"")
    assert watched()[ours.fileno()] == 2
    while full:
        full -= len(theirs.recv(65_536))
    await turns(10)
    assert owner.got == b"data"
    assert stream.reads == 3  # refused twice, and the data
    assert watched()[ours.fileno()] == 1
    sock.close()
    theirs.close()


@pytest.mark.parametrize("in_response", [False, True])
async def test_what_follows_a_short_record_is_read_at_once_only_in_a_response(*, in_response: bool) -> None:
    ours, theirs = socket_pair()
    stream, owner = Records(ours), Owner()
    owner.in_response = in_response
    sock = HttpSocket(stream, owner)
    for turn in (1, 2):
        theirs.send(b"data")
        await turns()
        assert owner.got == b"data" * turn
        assert stream.reads == (2 * turn if in_response else turn)
    sock.close()
    theirs.close()


async def test_a_read_that_has_to_wait_leaves_no_garbage() -> None:
    """The error would keep the frames that it passed alive, and these the error: two kilobytes for each read."""
    ours, theirs = socket_pair()
    owner = Owner()
    owner.in_response = True
    sock = HttpSocket(Records(ours), owner)
    gc.collect()
    gc.disable()
    try:
        theirs.send(b"data")
        await turns()
        assert owner.got == b"data"
        assert [one for one in gc.get_objects() if isinstance(one, ssl.SSLWantReadError)] == []
    finally:
        gc.enable()
    sock.close()
    theirs.close()


@pytest.mark.parametrize("error", [ConnectionResetError(), ssl.SSLError("bad record")], ids=repr)
@pytest.mark.parametrize("verb", ["send", "recv_into"])
async def test_socket_that_fails_is_closed_and_its_owner_hears_why_once(
    error: OSError, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket_pair()
    stream, owner = Records(ours), Owner()

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(stream, verb, fail)
    sock = HttpSocket(stream, owner)
    theirs.send(b"data")
    if verb == "send":
        sock.send(b"hello", b"again")
    await turns()
    assert owner.losses == [error]
    assert sock.closed
    assert sock.all_sent
    assert ours.fileno() == -1
    theirs.close()


async def test_descriptor_that_somebody_else_has_by_now_is_left_alone() -> None:
    ours, theirs = socket_pair()
    connection = Connection(ours, lambda _: None)
    number = ours.fileno()
    connection.abort()
    next_one, other = socket_pair()
    assert number in (next_one.fileno(), other.fileno())
    loop = asyncio.get_running_loop()
    loop.add_reader(number, print)
    connection.abort()
    connection.end("again")
    assert number in watched()
    os.fstat(number)
    loop.remove_reader(number)
    for sock in (theirs, next_one, other):
        sock.close()
