"""Connections: kept, replaced, timed and closed."""

import asyncio

import pytest
from certificates import shared_trust

from archiver.http.pool import HttpPool, HttpTimeouts, Origin
from http_client.http_pair import (
    BODY,
    CHUNKED,
    SMALL,
    expect_interruption,
    open_files,
    open_pool,
    request,
    server_and_pool,
)
from http_client.scripted_server import Script, ServerAction, byte_by_byte, make_response, serve_scripts, wait_until

pytestmark = pytest.mark.usefixtures("either_scheme")


async def test_connection_is_used_again_and_the_latest_first() -> None:
    async with server_and_pool([SMALL]) as (server, pool):
        for _ in range(5):
            await pool.request(server.origin, request(bytearray(10)))
        assert server.connections == 1


async def test_concurrent_requests_take_connections_of_their_own_and_only_so_many_are_kept() -> None:
    async with server_and_pool([ServerAction.PAUSE, SMALL], limits=HttpTimeouts(connections=2)) as (server, pool):
        await asyncio.gather(*[pool.request(server.origin, request(bytearray(10))) for _ in range(6)])
        assert server.connections == 6
        assert await wait_until(lambda: server.open == 2)


async def test_kept_connections_of_one_origin_give_way_to_those_of_another() -> None:
    """Each takes its memory, kept or in use, and it is the number of all of them that is limited."""
    script: Script = [ServerAction.PAUSE, SMALL]
    async with (
        serve_scripts(script) as first,
        serve_scripts(script) as second,
        open_pool(HttpTimeouts(connections=3)) as pool,
    ):
        await asyncio.gather(*[pool.request(first.origin, request(bytearray(10))) for _ in range(3)])
        assert first.open == 3
        await asyncio.gather(*[pool.request(second.origin, request(bytearray(10))) for _ in range(2)])
        assert await wait_until(lambda: (first.open, second.open) == (1, 2))


async def test_idle_connection_is_closed_after_its_time() -> None:
    async with server_and_pool([SMALL], limits=HttpTimeouts(idle=0.05)) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.all_closed()


@pytest.mark.parametrize("end", [ServerAction.CLOSE, ServerAction.RESET])
async def test_kept_connection_that_was_closed_is_replaced_once_before_the_first_byte(end: ServerAction) -> None:
    async with server_and_pool([SMALL], [end], [SMALL]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        into = bytearray(10)
        await pool.request(server.origin, request(into))
        assert into == b"0123456789"
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_fresh_connection_that_is_closed_is_not_replaced() -> None:
    async with server_and_pool([SMALL], [ServerAction.CLOSE]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        await expect_interruption(pool.request(server.origin, request(bytearray(10))))
        assert len(server.requests) == 3


async def test_kept_connection_that_dies_after_the_first_byte_is_not_replaced() -> None:
    async with server_and_pool([SMALL], [b"HTTP", ServerAction.PAUSE, ServerAction.CLOSE]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        await expect_interruption(pool.request(server.origin, request(bytearray(10))))
        assert len(server.requests) == 2


async def test_connection_closed_while_idle_is_not_used_again() -> None:
    async with server_and_pool([SMALL, ServerAction.CLOSE], [SMALL]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.all_closed()
        await pool.request(server.origin, request(bytearray(10)))
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("ending", ["Connection: close", "connection: Keep-Alive, Close"])
async def test_connection_that_says_close_is_not_kept(ending: str) -> None:
    async with server_and_pool([make_response("200 OK", b"0123456789", ending)]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.all_closed()


async def test_bytes_on_an_idle_connection_end_it() -> None:
    async with server_and_pool([SMALL, ServerAction.PAUSE, b"HTTP/1.1 408 Request Timeout\r\n\r\n"], [SMALL]) as (
        server,
        pool,
    ):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.all_closed()
        into = bytearray(10)
        await pool.request(server.origin, request(into))
        assert into == b"0123456789"


STALLS: dict[str, tuple[Script, HttpTimeouts, str, int]] = {
    "no answer": ([ServerAction.STALL], HttpTimeouts(response=0.1), "no response in time", 0),
    "half a head": ([SMALL[:20], ServerAction.STALL], HttpTimeouts(response=0.1), "no response in time", 0),
    "a head that trickles": (
        [*byte_by_byte(SMALL), ServerAction.STALL],
        HttpTimeouts(response=0.1),
        "no response in time",
        0,
    ),
    "half a body": ([SMALL[:-5], ServerAction.STALL], HttpTimeouts(stall=0.1), "stalled", 5),
    "half a chunk": ([CHUNKED + b"a\r\n01234", ServerAction.STALL], HttpTimeouts(stall=0.1), "stalled", 5),
}


@pytest.mark.parametrize(("script", "limits", "reason", "received"), STALLS.values(), ids=STALLS.keys())
async def test_silence_is_not_waited_out(script: Script, limits: HttpTimeouts, reason: str, received: int) -> None:
    async with server_and_pool(script, limits=limits) as (server, pool):
        error = await expect_interruption(pool.request(server.origin, request(bytearray(10))))
        assert reason in str(error)
        assert error.received == received
        assert await server.all_closed()


async def test_body_that_trickles_is_given_up_with_what_came() -> None:
    into = bytearray(len(BODY))
    script: Script = [make_response("200 OK", length=len(BODY)), *byte_by_byte(BODY[:200]), ServerAction.STALL]
    async with server_and_pool(script, limits=HttpTimeouts(window=0.2, window_bytes=1000)) as (server, pool):
        error = await expect_interruption(pool.request(server.origin, request(into)))
    assert "slowly" in str(error)
    assert 0 < error.received < 200
    assert into[: error.received] == BODY[: error.received]


async def test_body_that_is_slow_but_fast_enough_is_read_to_its_end() -> None:
    into = bytearray(50)
    script: Script = [make_response("200 OK", length=50), *byte_by_byte(BODY[:50])]
    async with server_and_pool(script, limits=HttpTimeouts(window=0.3, window_bytes=2)) as (server, pool):
        await pool.request(server.origin, request(into))
    assert into == BODY[:50]


async def test_cancelled_request_gives_up_its_connection_and_writes_nothing_more() -> None:
    into = bytearray(10)
    cancelled = asyncio.Event()
    async with server_and_pool([SMALL[:-5], cancelled, SMALL[-5:]]) as (server, pool):
        task = asyncio.create_task(pool.request(server.origin, request(into)))
        assert await wait_until(lambda: into[:5] == b"01234")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        assert await server.all_closed()
    assert into[5:] == bytes(5)


async def test_close_interrupts_what_runs_and_leaves_no_socket() -> None:
    before = open_files()
    async with serve_scripts([ServerAction.STALL]) as server:
        pool = HttpPool(HttpTimeouts(), shared_trust().bundle)
        running = [asyncio.create_task(pool.request(server.origin, request(bytearray(10)))) for _ in range(4)]
        assert await wait_until(lambda: len(server.requests) == 4)
        await pool.close()
        for task in running:
            await expect_interruption(task)
        await expect_interruption(pool.request(server.origin, request(bytearray(10))))
    assert open_files() == before


async def test_nobody_listening_is_an_interruption() -> None:
    async with serve_scripts([SMALL]) as server:
        gone = server.origin
    async with open_pool() as pool:
        error = await expect_interruption(pool.request(gone, request(bytearray(10))))
        assert "ConnectionRefusedError" in str(error)


@pytest.mark.parametrize("patient", [False, True])
async def test_server_that_hangs_up_at_once_is_an_interruption_and_leaves_no_socket(patient: bool) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if patient:
            await asyncio.sleep(0.01)
        writer.close()

    before = open_files()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, open_pool() as pool:
        origin = Origin(tls=False, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        for _ in range(20):
            await expect_interruption(pool.request(origin, request(bytearray(10))))
        assert not pool._connections
    assert await wait_until(lambda: open_files() == before)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".invalid"])  # refused before anybody is asked
async def test_name_without_address_is_an_interruption(host: str) -> None:
    async with open_pool() as pool:
        error = await expect_interruption(pool.request(Origin(tls=False, host=host, port=80), request(bytearray(10))))
        assert host in str(error)
