"""The clock of one connection: ticks that a test counts by hand, on a socket whose peer reads when told to."""

import asyncio
import socket

import pytest

from archiver.errors import TransferInterrupted
from archiver.http.connection import Connection
from archiver.http.exchange import HttpRequest, TickTimeouts
from archiver.http.parse import Head
from archiver.http.socket import WRITE_SLICE_BYTES
from archiver.http.stream import Stream

PATIENCE = TickTimeouts(response=100, stall=3, window=100, window_bytes=1, idle=100)


def anything(_: Head) -> None:
    """Every head is fine."""


async def test_a_body_that_goes_out_slice_by_slice_is_no_stall_and_one_that_stands_still_is() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    connection = Connection(Stream(ours), lambda _: None)
    body = memoryview(bytes(WRITE_SLICE_BYTES * 5))
    sending = asyncio.create_task(connection.exchange(HttpRequest("PUT", b"PUT /", None, anything, body)))
    await asyncio.sleep(0)

    taken = 0
    while taken < WRITE_SLICE_BYTES * 2:
        for _ in range(PATIENCE.stall):
            connection.tick(PATIENCE)
        taken += await read_what_is_there(theirs)
        assert not sending.done()

    for _ in range(PATIENCE.stall + 1):
        connection.tick(PATIENCE)
    with pytest.raises(TransferInterrupted, match="stopped reading the body"):
        await sending
    assert taken < len(body)
    theirs.close()


async def read_what_is_there(sock: socket.socket) -> int:
    """Read once, and let the client notice."""
    count = len(sock.recv(1 << 20))
    for _ in range(3):
        await asyncio.sleep(0)
    return count
