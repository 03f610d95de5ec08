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
from archiver.http.socket import HttpSocket, TlsSocket
from archiver.http.stream import Stream, start_tls
from archiver.http.tls import TlsRecords
from http_client.http_pair import GET, SMALL, accept_any_head, turns, watched
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
        connection = Connection(Stream(ours), lambda _: None)
        yield connection, theirs
        connection.abort()
        theirs.close()
        return
    peer = TlsPeer(*await asyncio.open_connection(sock=theirs, limit=1024), shared_trust().server_context)
    accepting = asyncio.create_task(peer.accept())
    stream = await start_tls(Stream(ours), tls_context(shared_trust().bundle), "127.0.0.1")
    connection = Connection(stream, lambda _: None)
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


class Records(TlsRecords):
    """Does with plain bytes what OpenSSL does with a renegotiation: a write waits for a read, a read has an answer."""

    def __init__(self) -> None:
        super().__init__(tls_context(None), "127.0.0.1")
        self.write_wants_read = 0
        self.answer = b""
        self.fed = b""
        self.outgoing = b""
        self.encrypts = 0

    def feed(self, received: memoryview) -> None:
        self.fed += received

    def read_into(self, space: memoryview) -> int:
        self.outgoing, self.answer = self.outgoing + self.answer, b""
        data, self.fed = self.fed[: len(space)], self.fed[len(space) :]
        if self.write_wants_read and data:  # of the handshake that the write waits for
            self.write_wants_read -= 1
            return 0
        space[: len(data)] = data
        return len(data)

    def encrypt(self, data: bytes | memoryview) -> int:
        self.encrypts += 1
        if self.write_wants_read:
            raise ssl.SSLWantReadError
        self.outgoing += data
        return len(data)

    def take_outgoing(self) -> bytes:
        taken, self.outgoing = self.outgoing, b""
        return taken

    @property
    def has_outgoing(self) -> bool:
        return bool(self.outgoing)

    def end(self) -> None:
        """There is nothing to say."""


class Owner:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.space = bytearray(1024)
        self.losses: list[Exception | None] = []

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
    tls, owner = Records(), Owner()
    tls.write_wants_read = 2
    sock = TlsSocket(Stream(ours), tls, owner)
    sock.send(b"hello")
    for encrypts in (1, 2):
        await turns()
        assert (tls.encrypts, sock.all_sent) == (encrypts, False)
        assert watched()[ours.fileno()] == 1
        theirs.send(b"!")
        await turns()
    assert sock.all_sent
    assert theirs.recv(10) == b"hello"
    assert tls.encrypts == 3
    assert watched()[ours.fileno()] == 1
    sock.close()
    theirs.close()


async def test_what_a_read_has_to_answer_goes_out_when_the_kernel_takes_it() -> None:
    ours, theirs = socket_pair()
    full = 0
    with pytest.raises(BlockingIOError):
        while True:
            full += ours.send(bytes(65_536))
    tls, owner = Records(), Owner()
    tls.answer = b"key update"
    sock = TlsSocket(Stream(ours), tls, owner)
    theirs.send(b"data")
    await turns(10)
    assert (bytes(owner.got), sock.all_sent) == (b"data", False)
    assert watched()[ours.fileno()] == 3
    while full:
        full -= len(theirs.recv(min(full, 65_536)))
    await turns(10)
    assert theirs.recv(100) == b"key update"
    assert sock.all_sent
    assert watched()[ours.fileno()] == 1
    sock.close()
    theirs.close()


async def test_a_read_that_has_to_wait_leaves_no_garbage() -> None:
    """The error would keep the frames that it passed alive, and these the error: two kilobytes for each read."""
    async with connected(tls=True) as (connection, peer):
        assert isinstance(peer, TlsPeer)
        into = bytearray(10)
        reading = asyncio.create_task(connection.exchange(HttpRequest("GET", GET, [memoryview(into)], accept_any_head)))
        await peer.request()
        peer.cuts = range(1000)
        gc.collect()
        gc.disable()
        try:
            await peer.say(SMALL)
            await reading
            left = [one for one in gc.get_objects() if isinstance(one, ssl.SSLWantReadError)]
        finally:
            gc.enable()
        assert into == b"0123456789"
        assert left == []


@pytest.mark.parametrize("verb", ["encrypt", "feed", "read_into"])
async def test_socket_that_fails_is_closed_and_its_owner_hears_why_once(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket_pair()
    tls, owner, error = Records(), Owner(), ssl.SSLError("bad record")

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(tls, verb, fail)
    sock = TlsSocket(Stream(ours), tls, owner)
    theirs.send(b"data")
    if verb == "encrypt":
        sock.send(b"hello", b"again")
    await turns()
    assert owner.losses == [error]
    assert sock.closed
    assert sock.all_sent
    assert ours.fileno() == -1
    theirs.close()


class Broken:
    """A socket whose system calls fail."""

    def __init__(self, sock: socket.socket, error: OSError) -> None:
        self.fileno, self.close = sock.fileno, sock.close
        self.error = error

    def send(self, _: object) -> int:
        raise self.error

    def recv_into(self, _: object) -> int:
        raise self.error


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("sends", [True, False])
async def test_connection_that_is_reset_is_closed_and_its_owner_hears_why_once(*, tls: bool, sends: bool) -> None:
    ours, theirs = socket_pair()
    owner, error = Owner(), ConnectionResetError()
    stream: Any = Stream(Broken(ours, error))  # type: ignore[arg-type]
    sock = TlsSocket(stream, Records(), owner) if tls else HttpSocket(stream, owner)
    if sends:
        sock.send(b"hello", b"again")
    else:
        theirs.send(b"data")
    await turns()
    assert owner.losses == [error]
    assert sock.closed
    assert sock.all_sent
    theirs.close()


async def test_descriptor_that_somebody_else_has_by_now_is_left_alone() -> None:
    ours, theirs = socket_pair()
    connection = Connection(Stream(ours), lambda _: None)
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
