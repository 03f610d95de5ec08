"""Bodies on the wire: sent from where they are, whole again on a retry, and an error in a 200 is an error."""

import asyncio
import socket
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from certificates import shared_trust

from archiver.aws import s3_calls
from archiver.aws.clients import ClientLimits, Clients, open_clients
from archiver.aws.s3_store import S3Store
from archiver.aws.s3_upload import S3Upload, UploadId
from archiver.core.locations import Location, content_disposition
from archiver.errors import ArchiveExists, ArchiverError, ConfigurationError, RequestRefused, TransientError
from archiver.http.connection import Connection
from archiver.http.exchange import HttpRequest
from archiver.http.pool import HttpTimeouts as HttpLimits
from archiver.http.socket import WRITE_SLICE_BYTES
from archiver.http.stream import Stream
from archiver.ports import Target

BODY = bytes(range(251)) * 5000  # a slice and a bit
CRC = zlib.crc32(BODY)
WIRED = b64encode(CRC.to_bytes(4, "big")).decode()
OK = 'HTTP/1.1 200 OK\r\nETag: "e"\r\nx-amz-checksum-crc32: ' + WIRED + "\r\nContent-Length: 0\r\n\r\n"
SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>reduce your rate</Message></Error>"
BUSY = f"HTTP/1.1 503 Slow Down\r\nContent-Length: {len(SLOW_DOWN)}\r\n\r\n{SLOW_DOWN}"


@dataclass
class Server:
    """Answers requests in turn with *answers* (an empty one closes the connection); keeps heads and bodies."""

    answers: list[str]
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                answer = self.answers.pop(0)
                # A connection that is closed early has taken a part of the body.
                self.bodies.append(await reader.readexactly(length if answer else length // 2))
                self.heads.append(head)
                if not answer:
                    break
                writer.write(answer.encode())
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    """Clients, and a server by TLS that answers them by *serve*."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=shared_trust().server_context) as listening:
        monkeypatch.setenv("AWS_CA_BUNDLE", shared_trust().bundle)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        async with open_clients(ClientLimits()) as clients:
            yield clients


@asynccontextmanager
async def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> AsyncIterator[tuple[Server, Clients]]:
    server = Server(list(answers))
    async with serving(server.serve, monkeypatch) as clients:
        yield server, clients


def upload(clients: Clients) -> S3Upload:
    return S3Upload(clients.s3, UploadId(Location("archives", "a.zip"), "id"))


async def test_a_part_goes_out_whole_with_its_length_and_its_crc(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(monkeypatch, OK) as (server, clients):
        await upload(clients).upload_part(7, memoryview(BODY), CRC)
    assert server.bodies == [BODY]
    assert "put /archives/a.zip?partnumber=7&uploadid=id " in server.heads[0]
    assert f"x-amz-checksum-crc32: {WIRED.lower()}\r\n" in server.heads[0]
    assert "x-amz-content-sha256: unsigned-payload\r\n" in server.heads[0]
    assert "transfer-encoding" not in server.heads[0]


async def test_a_part_is_sent_from_its_start_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is the caller's; but a kept connection that was closed meanwhile is replaced by a fresh one."""
    async with answering(monkeypatch, BUSY, "", OK) as (server, clients):
        sent = upload(clients)
        with pytest.raises(TransientError, match="SlowDown"):
            await sent.upload_part(1, memoryview(BODY), CRC)
        await sent.upload_part(1, memoryview(BODY), CRC)
    assert len(server.bodies) == 3
    assert server.bodies[2] == BODY


def refusal(status: int, code: str) -> str:
    text = f"<Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status} No\r\nContent-Length: {len(text)}\r\n\r\n{text}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(404, "NoSuchUpload"), ArchiveExists),
        (refusal(400, "BadDigest"), TransientError),
        (refusal(500, "InternalError"), TransientError),
        (refusal(403, "AccessDenied"), ConfigurationError),
        (refusal(404, "NoSuchBucket"), ConfigurationError),
        (refusal(400, "KMS.DisabledException"), ConfigurationError),
        (refusal(400, "InvalidArgument"), ConfigurationError),
        (refusal(405, "MethodNotAllowed"), ConfigurationError),
        (refusal(501, "NotImplemented"), ConfigurationError),
        (refusal(507, "InsufficientStorage"), ConfigurationError),
        (refusal(400, "RequestTimeout"), TransientError),
        (refusal(408, "Unknown"), TransientError),
        (refusal(400, "EntityTooLarge"), RequestRefused),
        (refusal(403, "SignatureDoesNotMatch"), ConfigurationError),
        (refusal(403, "RequestTimeTooSkewed"), ConfigurationError),
        (refusal(200, "InternalError"), TransientError),
        (OK.replace("ETag", "NoTag"), TransientError),
        (OK.replace(WIRED, "AAAAAA=="), TransientError),
    ],
)
async def test_each_answer_to_a_part_is_sorted_by_what_to_do_about_it(
    monkeypatch: pytest.MonkeyPatch, answer: str, expected: type[ArchiverError]
) -> None:
    """A part without an ETag, or with the CRC of other bytes, is not taken as sent."""
    async with answering(monkeypatch, answer) as (_, clients):
        with pytest.raises(expected):
            await upload(clients).upload_part(1, memoryview(BODY), CRC)


DESCRIBED = Target("a b.zip", 'attachment; filename="a b.zip"', {"archiver-token": "t", "archiver-files": "3"})


async def test_an_archive_of_one_part_goes_out_whole_with_all_that_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with answering(monkeypatch, OK) as (server, clients):
        stored = await S3Store(clients, "archives").put(DESCRIBED, memoryview(BODY), CRC)
    assert (stored.size, stored.etag, stored.crc32, stored.metadata) == (len(BODY), '"e"', CRC, DESCRIBED.metadata)
    assert server.bodies == [BODY]
    assert server.heads[0].startswith("put /archives/a%20b.zip http/1.1\r\n")
    for line in (
        "if-none-match: *",
        "content-type: application/zip",
        'content-disposition: attachment; filename="a b.zip"',
        f"content-length: {len(BODY)}",
        "x-amz-meta-archiver-files: 3",
        "x-amz-meta-archiver-token: t",
        f"x-amz-checksum-crc32: {WIRED.lower()}",
    ):
        assert f"\r\n{line}\r\n" in server.heads[0]
    signed = server.heads[0].partition("signedheaders=")[2].partition(",")[0].split(";")
    assert {"x-amz-meta-archiver-files", "x-amz-meta-archiver-token", "x-amz-checksum-crc32"} <= set(signed)


@pytest.mark.parametrize(("overwrites", "condition"), [('"e"', ['if-match: "e"']), ("*", [])])
async def test_what_may_be_overwritten_is_said_in_the_condition(
    monkeypatch: pytest.MonkeyPatch, overwrites: str, condition: list[str]
) -> None:
    target = Target("a.txt", "", content_type="text/plain", overwrites=overwrites)
    async with answering(monkeypatch, OK) as (server, clients):
        await S3Store(clients, "archives").put(target, memoryview(BODY), CRC)
    lines = server.heads[0].split("\r\n")
    assert [line for line in lines if line.startswith("if-")] == condition
    assert "content-type: text/plain" in lines
    assert not [line for line in lines if line.startswith("content-disposition")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(412, "PreconditionFailed"), ArchiveExists),
        (refusal(409, "ConditionalRequestConflict"), TransientError),
        (refusal(403, "AccessDenied"), ConfigurationError),
        (refusal(404, "NoSuchBucket"), ConfigurationError),
        (refusal(403, "InvalidAccessKeyId"), ConfigurationError),
        (refusal(501, "NotImplemented"), ConfigurationError),
        (refusal(503, "SlowDown"), TransientError),
        (refusal(400, "BadDigest"), TransientError),
        (refusal(200, "InternalError"), TransientError),
        (OK.replace(WIRED, "AAAAAA=="), TransientError),
        ("", TransientError),
    ],
)
async def test_each_answer_to_an_archive_is_sorted_by_what_to_do_about_it(
    monkeypatch: pytest.MonkeyPatch, answer: str, expected: type[ArchiverError]
) -> None:
    async with answering(monkeypatch, answer) as (_, clients):
        with pytest.raises(expected):
            await S3Store(clients, "archives").put(DESCRIBED, memoryview(BODY), CRC)


@pytest.mark.parametrize("value", ["ü", "a\r\nb: c", " a", "a  b"])
async def test_a_value_that_would_not_arrive_as_it_was_signed_is_never_sent(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    async with answering(monkeypatch, OK) as (server, clients):
        with pytest.raises(ValueError, match="ASCII"):
            target = Target("a.zip", "attachment", {"archiver-token": value})
            await S3Store(clients, "archives").put(target, memoryview(BODY), CRC)
    assert server.heads == []


@pytest.mark.parametrize("value", ["ü", "a\r\nb: c"])
async def test_a_header_line_that_would_be_another_is_never_sent(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    async with answering(monkeypatch, OK) as (server, clients):
        with pytest.raises(ValueError, match="ASCII"):
            await S3Store(clients, "archives").put(Target("a.zip", value), memoryview(BODY), CRC)
    assert server.heads == []


async def test_a_name_with_two_spaces_in_a_row_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    disposition = content_disposition("My  holiday", "download", datetime.now(UTC))
    async with answering(monkeypatch, OK) as (server, clients):
        await S3Store(clients, "archives").put(Target("a.zip", disposition), memoryview(BODY), CRC)
    assert 'filename="my  holiday.zip"' in server.heads[0]


class SlowStore:
    """Takes a request's head, then nothing until *go*; then all that comes until the connection ends."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.socket.setblocking(False)
        self.taken, self.go, self.got = asyncio.Event(), asyncio.Event(), bytearray()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(self.socket)
        with connection:
            connection.setblocking(False)
            while b"\r\n\r\n" not in self.got:
                self.got += await loop.sock_recv(connection, 512)
            self.taken.set()
            await self.go.wait()
            try:
                while chunk := await loop.sock_recv(connection, 1 << 16):
                    self.got += chunk
            except OSError:
                pass


@pytest.mark.parametrize("verb", ["put", "part"])
@pytest.mark.parametrize("behind", [0, 1, 4096, WRITE_SLICE_BYTES - 1])
async def test_a_call_that_is_cancelled_sends_nothing_of_who_has_its_buffer_next(
    monkeypatch: pytest.MonkeyPatch, verb: str, behind: int
) -> None:
    """What the kernel did not take stays where it is: in the buffer that another call has next."""
    store = SlowStore()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.socket.getsockname()[1]}")
    size = (4 << 20) + behind
    body = bytearray(b"A" * size)
    serving = asyncio.create_task(store.serve())
    async with open_clients(ClientLimits()) as clients:
        view = memoryview(body)
        call = (
            S3Store(clients, "archives").put(DESCRIBED, view, 0)
            if verb == "put"
            else upload(clients).upload_part(1, view, 0)
        )
        sending = asyncio.ensure_future(call)
        await store.taken.wait()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        body[:] = b"B" * size
        store.go.set()
        await serving
    store.socket.close()
    sent = bytes(store.got).partition(b"\r\n\r\n")[2]
    assert b"B" not in sent
    assert len(sent) < size


async def test_an_early_answer_ends_the_connection_while_bytes_of_the_body_wait_in_the_socket() -> None:
    """The last slice was handed over, and not taken: a kept connection would send it later, and then a request."""
    pair = socket.socketpair()
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pair[0].setblocking(False)
    connection = Connection(Stream(pair[0]), lambda _: None)
    body = memoryview(bytearray(b"A" * WRITE_SLICE_BYTES))
    asked = asyncio.create_task(
        connection.exchange(HttpRequest("PUT", b"PUT / HTTP/1.1\r\n\r\n", None, lambda _: None, body))
    )
    await asyncio.sleep(0)
    pair[1].sendall(BUSY.encode())

    answer = await asked

    assert answer.head.status == 503
    assert not connection.usable
    assert pair[0].fileno() == -1
    pair[1].close()


async def test_an_early_refusal_ends_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers before it has read the body, and reads no more of it."""
    large = memoryview(bytearray(32 << 20))
    done = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BUSY.encode())
        await writer.drain()
        await done.wait()
        writer.transport.abort()

    async with serving(refuse, monkeypatch) as clients:
        with pytest.raises(TransientError, match="SlowDown"):
            await upload(clients).upload_part(1, large, 0)
        done.set()
        await asyncio.sleep(0.05)  # the server's end closes, too


async def test_a_server_that_takes_no_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_calls, "BODY_TIMEOUTS", HttpLimits(response=30.0, stall=0.2))
    large = memoryview(bytearray(32 << 20))
    done = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.transport.abort()

    async with serving(hang, monkeypatch) as clients:
        with pytest.raises(TransientError, match="stopped reading the body"):
            await upload(clients).upload_part(1, large, 0)
        done.set()
        await asyncio.sleep(0.05)  # the server's end closes, too


async def test_a_retried_put_sends_the_archive_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(monkeypatch, BUSY, OK) as (server, clients):
        store, target = S3Store(clients, "archives"), Target("a.zip", "attachment", {})
        with pytest.raises(TransientError):  # a look at the lease stands between two tries
            await store.put(target, memoryview(BODY), CRC)
        await store.put(target, memoryview(BODY), CRC)
    assert server.bodies == [BODY, BODY]
    assert "if-none-match: *\r\n" in server.heads[1]


async def test_complete_tells_size_crc_and_condition_and_an_error_in_a_200_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = "<Error><Code>InternalError</Code><Message>try again</Message></Error>"
    failed = f"HTTP/1.1 200 OK\r\nContent-Length: {len(error)}\r\n\r\n{error}"
    async with answering(monkeypatch, OK, failed, failed) as (server, clients):
        sent = upload(clients)
        await sent.upload_part(1, memoryview(BODY), CRC)
        with pytest.raises(TransientError, match="InternalError"):
            await sent.complete(len(BODY), CRC)
    told = server.heads[1]
    assert "if-none-match: *\r\n" in told
    assert f"x-amz-mp-object-size: {len(BODY)}\r\n" in told
    assert f"x-amz-checksum-crc32: {WIRED.lower()}\r\n" in told
    assert "x-amz-checksum-type: full_object\r\n" in told
    assert f"<ChecksumCRC32>{WIRED}</ChecksumCRC32>" in server.bodies[1].decode()
