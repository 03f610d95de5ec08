"""Connections: kept, replaced, timed and closed."""

import asyncio

import pytest
from certificates import ours

from archiver.http.pool import HttpPool, Limits, Origin
from http_client.http_pair import BODY, CHUNKED, SMALL, interrupted, open_files, pooled, request, talking
from http_client.scripted_server import Act, Script, answer, canned, eventually, trickle

pytestmark = pytest.mark.usefixtures("either_scheme")


async def test_connection_is_used_again_and_the_latest_first() -> None:
    async with talking([SMALL]) as (server, pool):
        for _ in range(5):
            await pool.request(server.origin, request(bytearray(10)))
        assert server.connections == 1


async def test_concurrent_requests_take_connections_of_their_own_and_only_so_many_are_kept() -> None:
    async with talking([Act.BREATHE, SMALL], limits=Limits(connections=2)) as (server, pool):
        await asyncio.gather(*[pool.request(server.origin, request(bytearray(10))) for _ in range(6)])
        assert server.connections == 6
        assert await eventually(lambda: server.open == 2)


async def test_kept_connections_of_one_origin_give_way_to_those_of_another() -> None:
    """Each takes its memory, kept or in use, and it is the number of all of them that is limited."""
    script: Script = [Act.BREATHE, SMALL]
    async with canned(script) as first, canned(script) as second, pooled(Limits(connections=3)) as pool:
        await asyncio.gather(*[pool.request(first.origin, request(bytearray(10))) for _ in range(3)])
        assert first.open == 3
        await asyncio.gather(*[pool.request(second.origin, request(bytearray(10))) for _ in range(2)])
        assert await eventually(lambda: (first.open, second.open) == (1, 2))


async def test_idle_connection_is_closed_after_its_time() -> None:
    async with talking([SMALL], limits=Limits(idle=0.05)) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.deserted()


@pytest.mark.parametrize("end", [Act.CLOSE, Act.RESET])
async def test_kept_connection_that_was_closed_is_replaced_once_before_the_first_byte(end: Act) -> None:
    async with talking([SMALL], [end], [SMALL]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        into = bytearray(10)
        await pool.request(server.origin, request(into))
        assert into == b"0123456789"
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_fresh_connection_that_is_closed_is_not_replaced() -> None:
    async with talking([SMALL], [Act.CLOSE]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        await interrupted(pool.request(server.origin, request(bytearray(10))))
        assert len(server.requests) == 3


async def test_kept_connection_that_dies_after_the_first_byte_is_not_replaced() -> None:
    async with talking([SMALL], [b"HTTP", Act.BREATHE, Act.CLOSE]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        await interrupted(pool.request(server.origin, request(bytearray(10))))
        assert len(server.requests) == 2


async def test_connection_closed_while_idle_is_not_used_again() -> None:
    async with talking([SMALL, Act.CLOSE], [SMALL]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.deserted()
        await pool.request(server.origin, request(bytearray(10)))
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("ending", ["Connection: close", "connection: Keep-Alive, Close"])
async def test_connection_that_says_close_is_not_kept(ending: str) -> None:
    async with talking([answer("200 OK", b"0123456789", ending)]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.deserted()


async def test_bytes_on_an_idle_connection_end_it() -> None:
    async with talking([SMALL, Act.BREATHE, b"HTTP/1.1 408 Request Timeout\r\n\r\n"], [SMALL]) as (server, pool):
        await pool.request(server.origin, request(bytearray(10)))
        assert await server.deserted()
        into = bytearray(10)
        await pool.request(server.origin, request(into))
        assert into == b"0123456789"


STALLS: dict[str, tuple[Script, Limits, str, int]] = {
    "no answer": ([Act.STALL], Limits(answer=0.1), "no answer in time", 0),
    "half a head": ([SMALL[:20], Act.STALL], Limits(answer=0.1), "no answer in time", 0),
    "a head that trickles": ([*trickle(SMALL), Act.STALL], Limits(answer=0.1), "no answer in time", 0),
    "half a body": ([SMALL[:-5], Act.STALL], Limits(stall=0.1), "stalled", 5),
    "half a chunk": ([CHUNKED + b"a\r\n01234", Act.STALL], Limits(stall=0.1), "stalled", 5),
}


@pytest.mark.parametrize(("script", "limits", "reason", "received"), STALLS.values(), ids=STALLS.keys())
async def test_silence_is_not_waited_out(script: Script, limits: Limits, reason: str, received: int) -> None:
    async with talking(script, limits=limits) as (server, pool):
        error = await interrupted(pool.request(server.origin, request(bytearray(10))))
        assert reason in str(error)
        assert error.received == received
        assert await server.deserted()


async def test_body_that_trickles_is_given_up_with_what_came() -> None:
    into = bytearray(len(BODY))
    script: Script = [answer("200 OK", length=len(BODY)), *trickle(BODY[:200]), Act.STALL]
    async with talking(script, limits=Limits(window=0.2, window_bytes=1000)) as (server, pool):
        error = await interrupted(pool.request(server.origin, request(into)))
    assert "slowly" in str(error)
    assert 0 < error.received < 200
    assert into[: error.received] == BODY[: error.received]


async def test_body_that_is_slow_but_fast_enough_is_read_to_its_end() -> None:
    into = bytearray(50)
    script: Script = [answer("200 OK", length=50), *trickle(BODY[:50])]
    async with talking(script, limits=Limits(window=0.3, window_bytes=2)) as (server, pool):
        await pool.request(server.origin, request(into))
    assert into == BODY[:50]


async def test_cancelled_request_gives_up_its_connection_and_writes_nothing_more() -> None:
    into = bytearray(10)
    cancelled = asyncio.Event()
    async with talking([SMALL[:-5], cancelled, SMALL[-5:]]) as (server, pool):
        task = asyncio.create_task(pool.request(server.origin, request(into)))
        assert await eventually(lambda: into[:5] == b"01234")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        assert await server.deserted()
    assert into[5:] == bytes(5)


async def test_close_interrupts_what_runs_and_leaves_no_socket() -> None:
    before = open_files()
    async with canned([Act.STALL]) as server:
        pool = HttpPool(Limits(), ours().bundle)
        running = [asyncio.create_task(pool.request(server.origin, request(bytearray(10)))) for _ in range(4)]
        assert await eventually(lambda: len(server.requests) == 4)
        await pool.close()
        for task in running:
            await interrupted(task)
        await interrupted(pool.request(server.origin, request(bytearray(10))))
    assert open_files() == before


async def test_nobody_listening_is_an_interruption() -> None:
    async with canned([SMALL]) as server:
        gone = server.origin
    async with pooled() as pool:
        error = await interrupted(pool.request(gone, request(bytearray(10))))
        assert "ConnectionRefusedError" in str(error)


@pytest.mark.parametrize("patient", [False, True])
async def test_server_that_hangs_up_at_once_is_an_interruption_and_leaves_no_socket(patient: bool) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if patient:
            await asyncio.sleep(0.01)
        writer.close()

    before = open_files()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, pooled() as pool:
        origin = Origin(tls=False, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        for _ in range(20):
            await interrupted(pool.request(origin, request(bytearray(10))))
        assert not pool._connections
    assert await eventually(lambda: open_files() == before)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".invalid"])  # refused before anybody is asked
async def test_name_without_address_is_an_interruption(host: str) -> None:
    async with pooled() as pool:
        error = await interrupted(pool.request(Origin(tls=False, host=host, port=80), request(bytearray(10))))
        assert host in str(error)
