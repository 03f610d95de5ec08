"""Answers that are posted: what is sent, and what becomes of receivers that do not take them."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from certificates import shared_trust
from fakes import FakeHold, FakeNotifier
from structlog.testing import capture_logs

from archiver.core.webhooks import CallbackRules, WebhookUrl
from archiver.errors import Rejected, RequestRefused, TransientError
from archiver.http.dns import DnsCache
from archiver.http.guard import public_only
from archiver.http.pool import HttpPool, HttpTimeouts
from archiver.jobs.answers import Fanout
from archiver.jobs.best_effort import BackgroundSends, BestEffortNotifier, ReceiverGone
from archiver.jobs.webhook import MAX_BODY_BYTES, Callbacks, Webhooks
from archiver.ports import OutgoingMessage

NOTE = OutgoingMessage('{"status": "failed", "ü": 1}', "id-1", "group", status="failed")
KEY = b"k" * 32
NOW = 1_800_000_000
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
PAGE = b"x" * 65536


@dataclass
class Receiver:
    """A server that answers every request with *answer*, and then with *page*, again and again, if there is one."""

    answer: bytes
    page: bytes = b""
    requests: list[tuple[bytes, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    sent_bytes: int = 0

    @property
    def url(self) -> WebhookUrl:
        return WebhookUrl(True, "127.0.0.1", self.port, "/hooks?a=b")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode().strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((first.encode(), headers, body))
                writer.write(self.answer)
                await writer.drain()
                while self.page:
                    writer.write(self.page)
                    await writer.drain()
                    self.sent_bytes += len(self.page)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(answer: bytes, page: bytes = b"") -> AsyncIterator[Receiver]:
    receiver = Receiver(answer, page)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=shared_trust().server_context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await asyncio.sleep(0.01)


@pytest.fixture
async def pool() -> AsyncIterator[HttpPool]:
    pool = HttpPool(HttpTimeouts(), shared_trust().bundle)
    yield pool
    await pool.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def webhooks(pool: HttpPool) -> Webhooks:
    return Webhooks(pool, KEY, lambda: NOW + 0.9, try_seconds=30)


async def test_an_answer_is_posted_with_the_headers_of_standard_webhooks(webhooks: Webhooks) -> None:
    async with receiving(OK) as receiver:
        await webhooks.notifier(receiver.url).send(NOTE)

    ((first, headers, body),) = receiver.requests
    assert (first, body) == (b"POST /hooks?a=b HTTP/1.1", NOTE.body.encode())
    signed = hmac.new(KEY, f"id-1.{NOW}.".encode() + body, hashlib.sha256).digest()
    assert headers | {"user-agent": ""} == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "webhook-id": "id-1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


async def test_without_a_secret_nothing_is_signed(pool: HttpPool) -> None:
    async with receiving(OK) as receiver:
        await Webhooks(pool, None).notifier(receiver.url).send(NOTE)
    assert "webhook-signature" not in receiver.requests[0][1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 500 Broken\r\ncontent-length: 5\r\n\r\nabcde", TransientError),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", TransientError),
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", RequestRefused),
        (b"HTTP/1.1 307 Again\r\nlocation: https://[::1]/\r\ncontent-length: 0\r\n\r\n", RequestRefused),
        (b"no HTTP\r\n\r\n", TransientError),
    ],
)
async def test_what_is_not_2xx_is_not_accepted_and_no_redirect_is_followed(
    webhooks: Webhooks, answer: bytes, expected: type[Exception]
) -> None:
    """F11: also not to an address that is not public."""
    async with receiving(answer) as receiver:
        with pytest.raises(expected) as caught:
            await webhooks.notifier(receiver.url).send(NOTE)

    assert isinstance(caught.value, RequestRefused) is (expected is RequestRefused)
    assert len(receiver.requests) == 1


async def test_a_receiver_that_hangs_is_waited_for_only_so_long(pool: HttpPool) -> None:
    """F11: the answer never comes."""
    async with receiving(b"") as receiver:
        with pytest.raises(TransientError, match="no response within"):
            await Webhooks(pool, KEY, lambda: NOW, try_seconds=0.2).notifier(receiver.url).send(NOTE)


@pytest.mark.parametrize("status", ["200 OK", "500 Broken"])
@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ("content-length: 1073741824", PAGE),
        ("transfer-encoding: chunked", b"10000\r\n" + PAGE + b"\r\n"),
        ("connection: close", PAGE),
        ("content-length: 1073741824", b""),  # announced, and never sent
        ("transfer-encoding: chunked", b""),
        ("connection: close", b""),
    ],
)
async def test_a_page_of_any_length_is_not_read(webhooks: Webhooks, status: str, headers: str, page: bytes) -> None:
    """F11: 1 GiB, or announced and never sent."""
    async with receiving(f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode(), page) as receiver:
        if status.startswith("2"):
            await webhooks.notifier(receiver.url).send(NOTE)
        else:
            with pytest.raises(TransientError, match="answered 500"):
                await webhooks.notifier(receiver.url).send(NOTE)

    assert receiver.sent_bytes < 32 * 1024 * 1024, "what fits into the kernel's buffers, at most"


async def test_a_receiver_that_is_gone_is_sent_nothing_more(webhooks: Webhooks, logged: list[Any]) -> None:
    """F11: 410 is for ever."""
    async with receiving(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n") as receiver:
        notifier = webhooks.notifier(receiver.url)
        async with BackgroundSends((0.0, 0.0)) as sends:
            await BestEffortNotifier(notifier, "NOTIFY_WEBHOOK_URL", sends).send(NOTE)
        async with BackgroundSends((0.0, 0.0)) as sends:
            await BestEffortNotifier(webhooks.notifier(receiver.url), "NOTIFY_WEBHOOK_URL", sends).send(NOTE)
        with pytest.raises(ReceiverGone):
            await notifier.send(NOTE)

    assert len(receiver.requests) == 1
    assert [(line["event"], line["tries"]) for line in logged] == [("notify.unsent", 1)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n",
    ],
)
async def test_no_receiver_holds_up_the_queue_the_job_or_another_receiver(
    webhooks: Webhooks, answer: bytes, logged: list[Any]
) -> None:
    """F11: one that hangs, one that fails, one with a page of 1 GiB."""
    queue, other = FakeNotifier(), FakeNotifier()
    async with (
        receiving(answer, PAGE if b"200" in answer else b"") as receiver,
        BackgroundSends((0.0, 0.0), drain_seconds=5) as sends,
    ):
        bad = BestEffortNotifier(webhooks.notifier(receiver.url), "NOTIFY_WEBHOOK_URL", sends)
        good = BestEffortNotifier(other, "callback_url hooks.example.com", sends)
        await Fanout(queue, bad, good).send(lambda _: NOTE, FakeHold())
        assert (queue.sent, receiver.requests) == ([NOTE], []), "the job went on before the receiver was asked"

    assert other.sent == [NOTE]
    events = sorted(line["event"] for line in logged)
    assert events == (["notify.sent", "notify.sent"] if b"200" in answer else ["notify.sent", "notify.unsent"])


@pytest.fixture
def callbacks(pool: HttpPool) -> Callable[..., Callbacks]:
    def make(sends: BackgroundSends, names: DnsCache | None = None) -> Callbacks:
        guarded = HttpPool(HttpTimeouts(), shared_trust().bundle, names=names or DnsCache(5, resolve=public_only()))
        return Callbacks(CallbackRules(frozenset({"localhost"})), Webhooks(guarded, KEY), sends)

    return make


async def test_a_listed_host_that_leads_inside_is_given_up_at_once(
    callbacks: Callable[..., Callbacks], logged: list[Any]
) -> None:
    """F12: the whole way, from the request to the log."""
    async with BackgroundSends((0.0,) * 5) as sends:
        await callbacks(sends).notifier("https://localhost/x").send(NOTE)

    (line,) = logged
    assert (line["event"], line["receiver"], line["tries"]) == ("notify.unsent", "callback_url localhost", 1)
    assert "not public" in line["reason"]


async def test_a_host_that_is_not_listed_has_no_notifier(callbacks: Callable[..., Callbacks]) -> None:
    async with BackgroundSends() as sends:
        with pytest.raises(Rejected):
            callbacks(sends).notifier("https://hooks.example.com/")


async def test_the_room_is_that_of_the_others(webhooks: Webhooks) -> None:
    assert webhooks.notifier(WebhookUrl(True, "a", 443, "/")).max_body_bytes({}) == MAX_BODY_BYTES
