"""Bodies arrive where they belong, whole or not at all, whatever the server says."""

import pytest

from archiver.errors import SourceChanged
from archiver.http.connection import MAX_HEAD
from archiver.http.exchange import MAX_ERROR_BODY, HttpRequest
from archiver.http.parse import Head
from http_client.http_pair import (
    BODY,
    CHUNKED,
    GET,
    OK,
    SMALL,
    accept_any_head,
    expect_interruption,
    request,
    server_and_pool,
)
from http_client.scripted_server import Script, ServerAction, make_response, wait_until

pytestmark = pytest.mark.usefixtures("either_scheme")


async def test_body_is_scattered_over_views_of_any_size_without_a_byte_out_of_place() -> None:
    into = bytearray(len(BODY))
    view = memoryview(into)
    views = [view[:1], view[1:1], view[1:300], view[300:50_000], view[50_000:], view[:0]]
    async with server_and_pool([OK]) as (server, pool):
        got = await pool.request(server.origin, HttpRequest("GET", GET, views, accept_any_head))
    assert into == BODY
    assert got.head.status == 200
    assert got.body == b""


@pytest.mark.parametrize("cut", [1, 10, 40, len(SMALL) - 11, len(SMALL) - 10, len(SMALL) - 1])
async def test_answer_may_arrive_in_any_pieces(cut: int) -> None:
    into = bytearray(10)
    async with server_and_pool([SMALL[:cut], ServerAction.PAUSE, SMALL[cut:]]) as (server, pool):
        await pool.request(server.origin, request(into))
    assert into == b"0123456789"


@pytest.mark.parametrize("good", [0, 1, len(BODY) // 2, len(BODY) - 1])
async def test_body_cut_short_tells_how_many_bytes_are_good(good: int) -> None:
    into = bytearray(len(BODY))
    async with server_and_pool([make_response("200 OK", BODY[:good], length=len(BODY)), ServerAction.CLOSE]) as (
        server,
        pool,
    ):
        error = await expect_interruption(pool.request(server.origin, request(into)))
    assert error.received == good
    assert into[:good] == BODY[:good]


@pytest.mark.parametrize("good", [0, 1, len(BODY) // 2, len(BODY) - 1])
async def test_reset_counts_no_byte_that_has_not_arrived(good: int) -> None:
    into = bytearray(len(BODY))
    script: Script = [make_response("200 OK", BODY[:good], length=len(BODY)), ServerAction.PAUSE, ServerAction.RESET]
    async with server_and_pool(script) as (server, pool):
        error = await expect_interruption(pool.request(server.origin, request(into)))
    assert error.received <= good
    assert into[: error.received] == BODY[: error.received]


TEN = b"Content-Length: 10\r\n"
REFUSED = {
    "no status line": b"hello\r\n\r\n",
    "another version": b"HTTP/2 200\r\n" + TEN + b"\r\n0123456789",
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + TEN + b"\r\n0123456789",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n" + TEN + b"\r\n0123456789",
    "bare line feed": b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n" + TEN + b"\r\n0123456789",
    "bare carriage return": b"HTTP/1.1 200 OK\r\nX: a\rb\r\n" + TEN + b"\r\n0123456789",
    "nul": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n" + TEN + b"\r\n0123456789",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 10\r\n\r\n0123456789",
    "line without colon": b"HTTP/1.1 200 OK\r\nContent\r\n" + TEN + b"\r\n0123456789",
    "nameless field": b"HTTP/1.1 200 OK\r\n: a\r\n" + TEN + b"\r\n0123456789",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n" + TEN + b"\r\n0123456789",
    "one length twice": b"HTTP/1.1 200 OK\r\n" + TEN + TEN + b"\r\n0123456789",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 10, 10\r\n\r\n0123456789",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n0123456789",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +10\r\n\r\n0123456789",
    "endless length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n0123456789",
    "length and chunks": CHUNKED[:-2] + TEN + b"\r\na\r\n0123456789\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0123456789",
    "neither length nor chunks": b"HTTP/1.1 200 OK\r\n\r\n0123456789",
    "too short": make_response("200 OK", b"012345678"),
    "too long": make_response("200 OK", b"0123456789a"),
    "longer than it says": make_response("200 OK", b"0123456789a", length=10),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + SMALL,
    "flood of headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD,
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD,
}


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED.keys())
async def test_broken_protocol_is_refused_and_its_connection_dropped(said: bytes) -> None:
    into = bytearray(10)
    async with server_and_pool([said, ServerAction.STALL]) as (server, pool):
        error = await expect_interruption(pool.request(server.origin, request(into)))
        assert error.received == 0
        assert await server.all_closed()


async def test_interim_answers_are_skipped() -> None:
    into = bytearray(10)
    script: Script = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        ServerAction.PAUSE,
        SMALL,
    ]
    async with server_and_pool(script, [SMALL]) as (server, pool):
        assert (await pool.request(server.origin, request(into))).head.status == 200
        await pool.request(server.origin, request(into))
        assert server.connections == 1
    assert into == b"0123456789"


async def test_head_has_no_body_whatever_its_length_says() -> None:
    async with server_and_pool([make_response("200 OK", length=10**12)], [SMALL]) as (server, pool):
        got = await pool.request(server.origin, request(bytearray(), method="HEAD"))
        assert got.head.text(b"content-length") == str(10**12)
        await pool.request(server.origin, request(bytearray(10)))
        assert server.connections == 1


WHOLE = CHUNKED + b"4;name=value\r\n0123\r\n0006\r\n456789\r\n0\r\nExpires: never\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(CHUNKED), len(WHOLE)))
async def test_chunked_body_with_extensions_and_trailers_arrives_in_any_pieces(cut: int) -> None:
    into = bytearray(10)
    async with server_and_pool([WHOLE[:cut], ServerAction.PAUSE, WHOLE[cut:]], [WHOLE]) as (server, pool):
        await pool.request(server.origin, request(into))
        await pool.request(server.origin, request(into))
        assert server.connections == 1
    assert into == b"0123456789"


BAD_CHUNKS = {
    "no size": b"\r\n0123456789\r\n0\r\n\r\n",
    "negative": b"-1\r\n0123456789\r\n0\r\n\r\n",
    "prefixed": b"0xa\r\n0123456789\r\n0\r\n\r\n",
    "line feed only": b"a\n0123456789\r\n0\r\n\r\n",
    "too long": b"b\r\n0123456789a\r\n0\r\n\r\n",
    "too short": b"9\r\n012345678\r\n0\r\n\r\n",
    "more than its size": b"9\r\n0123456789\r\n0\r\n\r\n",
    "bytes after the end": b"a\r\n0123456789\r\n0\r\n\r\nHTTP/1.1",
    "endless line": b"a;" + b"x" * 9000 + b"\r\n0123456789\r\n0\r\n\r\n",
    "endless trailers": b"a\r\n0123456789\r\n0\r\n" + b"X: y\r\n" * 2000,
}


@pytest.mark.parametrize("said", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
async def test_malformed_chunks_are_refused(said: bytes) -> None:
    async with server_and_pool([CHUNKED + said, ServerAction.STALL]) as (server, pool):
        error = await expect_interruption(pool.request(server.origin, request(bytearray(10))))
        assert error.received == 0
        assert await server.all_closed()


async def test_chunked_body_cut_short_tells_how_many_bytes_are_good() -> None:
    into = bytearray(10)
    async with server_and_pool([CHUNKED + b"4\r\n0123\r\n6\r\n45", ServerAction.PAUSE, ServerAction.CLOSE]) as (
        server,
        pool,
    ):
        error = await expect_interruption(pool.request(server.origin, request(into)))
    assert error.received == 6
    assert into[:6] == b"012345"


ERRORS = {
    "length": (make_response("503 Slow Down", b"<Error/>"), True),
    "chunked": (b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n<Error/>\r\n0\r\n\r\n", True),
    "until close": (b"HTTP/1.1 503 Slow Down\r\n\r\n<Error/>", False),
    "old": (b"HTTP/1.0 503 Slow Down\r\nContent-Length: 8\r\n\r\n<Error/>", False),
}


@pytest.mark.parametrize(("said", "kept"), ERRORS.values(), ids=ERRORS.keys())
async def test_error_body_is_returned_and_never_placed(said: bytes, kept: bool) -> None:
    into = bytearray(10)
    script: Script = [said] if kept else [said, ServerAction.CLOSE]
    async with server_and_pool(script) as (server, pool):
        for _ in range(2):
            got = await pool.request(server.origin, request(into))
            assert (got.head.status, got.body) == (503, b"<Error/>")
        assert server.connections == (1 if kept else 2)
    assert into == bytes(10)


async def test_no_request_follows_a_body_that_was_refused_before_it_was_sent_whole() -> None:
    """On the same connection it would stand in the middle of that body, and be stored as a part of it."""
    body = memoryview(bytes(16 * 1024 * 1024))  # more than the sockets between them take
    async with server_and_pool([make_response("503 Slow Down", b"<Error/>"), ServerAction.STALL], [SMALL]) as (
        server,
        pool,
    ):
        refused = await pool.request(server.origin, HttpRequest("PUT", GET, [], accept_any_head, body=body))
        assert (refused.head.status, refused.body) == (503, b"<Error/>")
        await pool.request(server.origin, request(bytearray(10)))
        assert server.connections == 2
        assert await wait_until(lambda: server.open == 1)  # the other one


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1000000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffff\r\nx",
        b"X: until-close\r\n\r\nx",
    ],
)
async def test_endless_error_is_read_only_so_far_and_its_connection_dropped(head: bytes) -> None:
    said = b"HTTP/1.1 500 Oh\r\n" + head + b"x" * MAX_ERROR_BODY
    async with server_and_pool([said, ServerAction.STALL]) as (server, pool):
        got = await pool.request(server.origin, request(bytearray(10)))
        assert len(got.body) == MAX_ERROR_BODY
        assert await server.all_closed()


async def test_error_cut_short_counts_no_good_bytes() -> None:
    async with server_and_pool(
        [make_response("503 Slow Down", b"<Error>", length=100), ServerAction.PAUSE, ServerAction.CLOSE]
    ) as (server, pool):
        assert (await expect_interruption(pool.request(server.origin, request(bytearray(10))))).received == 0


async def test_refused_head_places_no_byte_and_its_reason_comes_through() -> None:
    def refuse(_: Head) -> None:
        raise SourceChanged("another version")

    into = bytearray(len(BODY))
    async with server_and_pool([OK]) as (server, pool):
        with pytest.raises(SourceChanged, match="another version"):
            await pool.request(server.origin, request(into, check=refuse))
        assert await server.all_closed()
    assert into == bytes(len(BODY))
