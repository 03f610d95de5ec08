"""A proxy between workers and the emulated AWS that identifies operations, applies rules and records all calls."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from . import http_streams
from .aws_rules import AwsRules
from .copy_rules import refuse_copy, with_crc32
from .fields import request_fields, response_fields
from .history import Exchange, History
from .http_streams import Answer, Blocks, Request
from .operations import call_of, is_sqs
from .rules import Action, CutError, Duplicate, Rule

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
APPEARING = ("PutObject", "CompleteMultipartUpload")  # operations that create an object
STREAM_LIMIT = 256 * 1024  # bytes: maximum head size, and read-ahead of a connection


class FaultProxy:
    """
    Listens on one port per client and forwards to *upstream* (host, port). All I/O runs in the proxy's own thread.

    The proxy terminates TLS with the certificate of *serving*; None: plain HTTP. Upstream is always plain HTTP.
    After each successful write to *observed_bucket* it reads and records the object.
    """

    def __init__(
        self, upstream: tuple[str, int], observed_bucket: str | None = None, serving: ssl.SSLContext | None = None
    ) -> None:
        self.upstream = upstream
        self.serving = serving
        self.scheme = "https" if serving else "http"
        self.observed_bucket = observed_bucket
        self.history = History()
        self.strict = AwsRules()
        self.rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._servers: list[asyncio.Server] = []
        self.appearing = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._submit(self._close()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def add(self, rule: Rule) -> Rule:
        """Apply *rule* from now on."""
        self.rules.append(rule)
        return rule

    def listen(self, client: str) -> str:
        """Open a port for *client*, and return its endpoint URL."""
        return self._submit(self._listen(client)).result(10)

    def _submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self, client: str) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(client, reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=STREAM_LIMIT, ssl=self.serving)
        self._servers.append(server)
        return f"{self.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Cancellation is suppressed: the proxy is closing, and asyncio would log the cancelled handler.
        broken = (ConnectionError, http_streams.ProtocolError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*broken), contextlib.closing(writer):
            while (request := await http_streams.read_request(reader)) is not None:
                try:
                    await _ProxiedExchange(self, client, reader, writer).carry(request)
                except CutError as cut:
                    if cut.reset:
                        _reset(writer)
                    elif cut.torn:
                        await _close_without_notify(writer)
                    return

    async def forward(self, request: Request) -> tuple[Answer, Blocks, asyncio.StreamWriter]:
        """Send *request* upstream. Return the response's head, its body, and the writer to close afterwards."""
        reader, writer = await asyncio.open_connection(*self.upstream, limit=STREAM_LIMIT)
        try:
            headers = [*request.headers, ("X-Forwarded-Proto", self.scheme)]
            writer.write(http_streams.request_head(replace(request, headers=headers)))
            writer.write(request.body)
            await writer.drain()
            answer = await http_streams.read_response(reader)
        except BaseException:
            writer.close()
            raise
        bodyless = request.method == "HEAD" or answer.status in (204, 304)
        body = http_streams.in_blocks(b"") if bodyless else http_streams.blocks(reader, answer.headers, to_end=True)
        return answer, body, writer

    async def look(self, bucket: str, key: str) -> None:
        """Record the object at *key* as it is now."""
        scope = "look/20200101/us-east-1/s3/aws4_request"  # the emulator derives the service from it
        headers = [("Host", "127.0.0.1"), ("Authorization", f"AWS4-HMAC-SHA256 Credential={scope}, x")]
        answer, body, writer = await self.forward(Request("GET", f"/{quote(bucket)}/{quote(key)}", headers))
        with contextlib.closing(writer):
            seen = await http_streams.read_body(body)
        if answer.status == 200:
            self.history.record_archive(key, seen)


class _ProxiedExchange:
    """One request and its response, with the actions of the rules that apply."""

    def __init__(
        self, proxy: FaultProxy, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy, self.client, self.reader, self.writer = proxy, client, reader, writer
        self.actions: list[Action] = []

    async def carry(self, request: Request) -> None:
        if is_sqs(request):
            request = await self._with_body(request)
            exchange = self._begin(request)
        else:
            exchange = self._begin(request)
            request = await self._with_body(request)
        try:
            exchange.facts |= request_fields(exchange.call, request)
            self.proxy.strict.identify_receipt(exchange)
            answer, body, upstream = await self._answered(exchange, request)
            with contextlib.closing(upstream) if upstream else contextlib.nullcontext():
                await self._deliver(exchange, request, answer, body)
        except BaseException:
            exchange.aborted = True
            raise
        finally:
            exchange.ended = time.monotonic()

    def _begin(self, request: Request) -> Exchange:
        exchange = self.proxy.history.begin(self.client, call_of(request))
        due = [rule for rule in list(self.proxy.rules) if rule.applies(self.client, exchange.call)]
        self.actions = [rule.action for rule in due]
        exchange.faults = tuple(str(action) for action in self.actions)
        return exchange

    async def _with_body(self, request: Request) -> Request:
        if (http_streams.header(request.headers, "expect") or "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        source = http_streams.blocks(self.reader, request.headers)
        for action in self.actions:
            source = action.request_body(source)
        return replace(request, body=await http_streams.read_body(source))

    async def _answered(
        self, exchange: Exchange, request: Request
    ) -> tuple[Answer, Blocks, asyncio.StreamWriter | None]:
        for action in self.actions:
            early = await action.before(exchange)
            if early is not None:
                return early, http_streams.in_blocks(early.body), None
        refused = self.proxy.strict.refuse(exchange, request)
        if refused is None and exchange.op == "UploadPartCopy":
            refused = await refuse_copy(self.proxy, exchange, request)
        if refused is not None:
            exchange.facts["refused"] = True
            return refused, http_streams.in_blocks(refused.body), None
        # Conditional writes are atomic in S3. The emulator checks first and writes later, hence the lock.
        atomic = self.proxy.appearing if exchange.op in APPEARING else contextlib.nullcontext()
        async with atomic:
            answer, body, upstream = await self._committed(exchange, request)
        try:
            for action in self.actions:
                answer = await action.after(exchange, answer)
        except BaseException:
            if upstream:
                upstream.close()
            raise
        return answer, body if upstream else http_streams.in_blocks(answer.body), upstream

    async def _committed(
        self, exchange: Exchange, request: Request
    ) -> tuple[Answer, Blocks, asyncio.StreamWriter | None]:
        """Carry out the request. GetObject bodies are streamed; other responses are read for their fields."""
        if any(isinstance(action, Duplicate) for action in self.actions):
            _, first, connection = await self.proxy.forward(request)
            with contextlib.closing(connection):
                await http_streams.read_body(first)
        answer, body, upstream = await self.proxy.forward(request)
        streamed = exchange.op == "GetObject"
        if not streamed:
            with contextlib.closing(upstream):
                answer = replace(answer, body=await http_streams.read_body(body))
        exchange.facts |= response_fields(exchange.call, answer)
        if exchange.op == "UploadPartCopy" and answer.status < 300:
            answer = with_crc32(exchange, answer)
        if answer.status < 300:
            exchange.committed = time.monotonic()
            self.proxy.strict.learn(exchange)
            await self._look(exchange)
        return answer, body, upstream if streamed else None

    async def _look(self, exchange: Exchange) -> None:
        call = exchange.call
        if call.is_look:
            return
        if call.op in APPEARING and call.bucket and call.key and call.bucket == self.proxy.observed_bucket:
            await self.proxy.look(call.bucket, call.key)

    async def _deliver(self, exchange: Exchange, request: Request, answer: Answer, body: Blocks) -> None:
        exchange.status = answer.status
        # The Content-Length of a HEAD is the object's. Other responses without one have a complete body here.
        headers = http_streams.without_headers(answer.headers, "connection", "transfer-encoding")
        if request.method != "HEAD" and http_streams.header(headers, "content-length") is None:
            headers.append(("Content-Length", str(len(answer.body))))
        self.writer.write(http_streams.response_head(Answer(answer.status, headers)))
        for action in self.actions:
            body = action.response_body(body)
        async for block in body:
            self.writer.write(block)
            await self.writer.drain()
        await self.writer.drain()


async def _close_without_notify(writer: asyncio.StreamWriter) -> None:
    """Send all written bytes, then close the TCP connection without a TLS close_notify."""
    transport = writer.transport
    below = transport._ssl_protocol._transport if writer.get_extra_info("ssl_object") else transport  # type: ignore[attr-defined]
    while below.get_write_buffer_size():
        await asyncio.sleep(0.005)
    transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    # SO_LINGER with zero seconds makes close() send RST instead of FIN.
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
