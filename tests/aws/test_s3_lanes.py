"""Many objects over one connection: every response goes where it belongs, and what is not plain is handed back."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aws.s3_reader_fixtures import ETAG, FakeCredentials, FakeSession, error_response, open_s3_reader
from http_client.scripted_server import Script, ServerAction, byte_by_byte, make_response

from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.http.pool import HttpTimeouts
from archiver.ports import Unanswered, WholeRead

FIELDS = (f"ETag: {ETAG}", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT")
SMALL, OTHER, LARGE = b"small body", b"another", bytes(range(256)) * 4000  # more than one system call receives


def ok(body: bytes, *fields: str, length: int | None = None) -> bytes:
    return make_response("200 OK", body, *FIELDS, *fields, length=length)


@dataclass
class Queue:
    """A ReadQueue over *keys* that keeps all that arrives."""

    keys: list[str]
    bucket: str = "photos"
    method: str = "GET"
    etag: str | None = None
    wanted: int = 1 << 21
    asked: list[WholeRead] = field(default_factory=list)
    got: dict[int, tuple[ObjectInfo, bytes | None]] = field(default_factory=dict)

    def next(self) -> WholeRead | None:
        if len(self.asked) == len(self.keys):
            return None
        location = Location(self.bucket, self.keys[len(self.asked)])
        self.asked.append(WholeRead(len(self.asked), location, "HEAD" if self.method == "HEAD" else "GET", self.etag))
        return self.asked[-1]

    def space(self, read: WholeRead, length: int) -> memoryview | None:
        assert read in self.asked
        return memoryview(bytearray(length)) if length <= self.wanted else None

    def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
        assert read.number not in self.got
        self.got[read.number] = info, None if body is None else bytes(body)

    @property
    def bodies(self) -> list[bytes | None]:
        return [self.got[number][1] for number in sorted(self.got)]


async def test_one_connection_answers_one_request_after_another() -> None:
    queue = Queue(["a", "b", "c", "d"])
    async with open_s3_reader([ok(SMALL)], [ok(LARGE)], [ok(b"")], [ok(OTHER)]) as (server, reader):
        assert await reader.serve(queue) is None
        assert await reader.serve(Queue([])) is None

    assert queue.bodies == [SMALL, LARGE, b"", OTHER]
    assert server.connections == 1
    assert queue.got[1][0].size == len(LARGE)
    assert queue.got[1][0].etag == ETAG
    assert [request.split(b" ")[:2] for request in server.requests] == [
        [b"GET", b"/photos/%b" % key] for key in (b"a", b"b", b"c", b"d")
    ]


async def test_a_lanes_request_is_the_readers_request() -> None:
    """Signed, with the checksum asked for, and pinned where the version is known."""
    async with open_s3_reader([ok(SMALL)]) as (server, reader):
        await reader.serve(Queue(["a b%é"], etag=ETAG))

    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /photos/a%20b%25%C3%A9 HTTP/1.1"
    names = [line.partition(":")[0] for line in lines[1:-2]]
    assert names == [
        "Host", "x-amz-checksum-mode", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "Authorization",
        "User-Agent", "Accept-Encoding", "If-Match",
    ]  # fmt: skip


async def test_heads_have_no_body() -> None:
    queue = Queue(["a", "b"], method="HEAD")
    async with open_s3_reader([make_response("200 OK", b"", *FIELDS, length=999)]) as (server, reader):
        assert await reader.serve(queue) is None

    assert [info.size for info, _ in queue.got.values()] == [999, 999]
    assert server.connections == 1


@pytest.mark.parametrize("body", [SMALL, b""])
async def test_responses_cut_at_every_byte(body: bytes) -> None:
    queue = Queue(["a", "b"])
    async with open_s3_reader(byte_by_byte(ok(body)), [ok(OTHER)]) as (_, reader):
        assert await reader.serve(queue) is None

    assert queue.bodies == [body, OTHER]


async def test_lanes_share_one_buffer_and_never_each_others_bytes() -> None:
    """Their heads and bodies come in turns, a few bytes each."""
    bodies = [bytes([number]) * 50 for number in range(6)]

    def in_pieces(body: bytes) -> Script:
        response = ok(body)
        steps: list[bytes | ServerAction] = []
        for at in range(0, len(response), 17):
            steps += [response[at : at + 17], ServerAction.PAUSE]
        return steps

    queue = Queue([str(number) for number in range(6)])
    async with open_s3_reader(*map(in_pieces, bodies)) as (server, reader):
        assert await asyncio.gather(*[reader.serve(queue) for _ in range(3)]) == [None] * 3

    assert sorted(body or b"" for body in queue.bodies) == bodies
    for number, (_, body) in queue.got.items():
        path = b"/photos/%d " % number
        assert body == bodies[next(at for at, request in enumerate(server.requests) if path in request)]


async def test_a_large_body_is_given_up_at_its_head_and_the_lane_goes_on() -> None:
    queue = Queue(["a", "b", "c"], wanted=100)
    async with open_s3_reader([ok(SMALL)], [ok(LARGE)], [ok(OTHER)]) as (server, reader):
        assert await reader.serve(queue) is None

    assert queue.bodies == [SMALL, None, OTHER]
    assert queue.got[1][0].size == len(LARGE)
    assert server.connections == 2


CUT = ok(SMALL)[:-3]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([error_response("404 Not Found", "NoSuchKey")], "not a plain response"),
        ([error_response("403 Forbidden", "AccessDenied")], "not a plain response"),
        ([ok(SMALL, "Connection: close")], "not a plain response"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "not a plain response"),
        ([b"nonsense\r\n\r\n"], "not a plain response"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + ok(SMALL)], "not a plain response"),
        ([b"x" * 40_000], "head too long"),
        ([ok(SMALL, length=3)], "longer than declared"),
        ([CUT, ServerAction.CLOSE], "connection closed"),
        ([CUT, ServerAction.RESET], "connection "),
        ([ServerAction.CLOSE], "connection closed"),
        ([ok(SMALL)[:30], ServerAction.CLOSE], "connection closed"),
    ],
)
async def test_what_is_not_plain_is_handed_back(script: Script, reason: str) -> None:
    queue = Queue(["a", "b", "c"])
    async with open_s3_reader([ok(OTHER)], script, [ok(OTHER)]) as (server, reader):
        handed_back = await reader.serve(queue)
        assert isinstance(handed_back, Unanswered)
        assert (handed_back.read.number, handed_back.throttled) == (1, False)
        assert reason in handed_back.reason
        assert await reader.serve(queue) is None

    assert queue.bodies == [OTHER, OTHER]
    assert sorted(queue.got) == [0, 2]
    assert server.connections == 2


@pytest.mark.parametrize("extra", [b"x", ok(OTHER)])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["at once", "in pieces"])
async def test_bytes_after_the_last_response_close_the_connection(body: bytes, extra: bytes) -> None:
    """They would be taken for the response to the next request."""
    async with open_s3_reader([ok(body) + extra], [ok(OTHER)]) as (server, reader):
        first, second = Queue(["a"]), Queue(["b"])
        await reader.serve(first)
        await reader.serve(second)

    assert first.bodies in ([body], [])
    assert second.bodies == [OTHER]
    assert server.connections == 2


@pytest.mark.parametrize("status", ["503 Slow Down", "429 Too Many Requests"])
async def test_throttling_is_told(status: str) -> None:
    async with open_s3_reader([error_response(status, "SlowDown")]) as (_, reader):
        handed_back = await reader.serve(Queue(["a"]))

    assert handed_back is not None
    assert handed_back.throttled


async def test_another_version_than_the_pinned_one_is_handed_back() -> None:
    async with open_s3_reader([ok(SMALL)]) as (_, reader):
        handed_back = await reader.serve(Queue(["a"], etag='"other"'))

    assert handed_back is not None


@pytest.mark.parametrize("step", [b"", ok(SMALL)[:-3]])
async def test_a_response_that_stalls_is_handed_back(step: bytes) -> None:
    limits = HttpTimeouts(response=0.2, stall=0.2)
    async with open_s3_reader([step, ServerAction.STALL], limits=limits) as (_, reader):
        handed_back = await reader.serve(Queue(["a"]))

    assert handed_back is not None
    assert handed_back.reason in ("no response in time", "the body stalled")


async def test_no_connection_hands_the_request_back() -> None:
    async with open_s3_reader([ok(SMALL)]) as (_, reader):
        await reader.close()
        handed_back = await reader.serve(Queue(["a"]))

    assert handed_back is not None


async def test_a_name_that_no_request_can_carry_is_handed_back() -> None:
    async with open_s3_reader([ok(SMALL)]) as (server, reader):
        queue = Queue(["a", "\ud800", "b"])
        handed_back = await reader.serve(queue)
        assert handed_back is not None
        assert handed_back.read.number == 1
        assert await reader.serve(queue) is None

    assert queue.bodies == [SMALL, SMALL]
    assert server.connections == 1


async def test_credentials_are_renewed_between_two_requests() -> None:
    session = FakeSession(FakeCredentials("AKIDOLD"), FakeCredentials("AKIDNEW"))
    queue = Queue(["a", "b"])
    async with open_s3_reader([ok(SMALL)], session=session) as (server, reader):
        await reader.serve(Queue(["x"]))
        reader.transport._credentials_cached_until = 0.0
        reader.serve.__self__._requests._templates.clear()  # type: ignore[attr-defined]
        await reader.serve(queue)

    assert b"AKIDOLD" in server.requests[0]
    assert b"AKIDNEW" in server.requests[1]
    assert queue.bodies == [SMALL, SMALL]


async def test_an_error_of_the_queue_ends_the_lane_and_its_connection() -> None:
    class Broken(Queue):
        def arrived(self, read: WholeRead, info: ObjectInfo, body: memoryview | None) -> None:
            raise ZeroDivisionError

    async with open_s3_reader([ok(SMALL)]) as (server, reader):
        with pytest.raises(ZeroDivisionError):
            await reader.serve(Broken(["a", "b"]))
        assert await server.all_closed()


async def test_cancelling_a_lane_closes_its_connection() -> None:
    async with open_s3_reader([ServerAction.STALL]) as (server, reader):
        serving = asyncio.create_task(reader.serve(Queue(["a"])))
        while not server.requests:
            await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert await server.all_closed()
