"""The clock of one connection: ticks that a test counts by hand, on a transport that takes a slice and no more."""

import asyncio
from typing import Any

import pytest

from archiver.errors import TransferInterrupted
from archiver.http.connection import WRITE_SLICE_BYTES, Connection
from archiver.http.exchange import HttpRequest, TickTimeouts
from archiver.http.parse import Head

PATIENCE = TickTimeouts(response=100, stall=3, window=100, window_bytes=1, idle=100)


class Narrow:
    """A transport that takes one write, and then says that it is full."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.written: list[int] = []

    def write(self, data: memoryview) -> None:
        self.written.append(len(data))
        self.connection.pause_writing()

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


def anything(_: Head) -> None:
    """Every head is fine."""


async def test_a_body_that_goes_out_slice_by_slice_is_no_stall_and_one_that_stands_still_is() -> None:
    connection = Connection(lambda _: None)
    narrow: Any = Narrow(connection)
    connection.connection_made(narrow)
    body = memoryview(bytes(WRITE_SLICE_BYTES * 5))
    sending = asyncio.create_task(connection.exchange(HttpRequest("PUT", b"PUT /", None, anything, body)))
    await asyncio.sleep(0)

    for _ in range(3):
        for _ in range(PATIENCE.stall):
            connection.tick(PATIENCE)
        connection.resume_writing()
        await asyncio.sleep(0)
        assert not sending.done()
    sent = sum(narrow.written)

    for _ in range(PATIENCE.stall + 1):
        connection.tick(PATIENCE)
    with pytest.raises(TransferInterrupted, match="stopped reading the body"):
        await sending
    assert sent >= WRITE_SLICE_BYTES * 2
