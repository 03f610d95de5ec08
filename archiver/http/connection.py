"""One HTTP/1.1 connection: one request at a time. Bodies are received into and sent from the caller's memory."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

from archiver.errors import TransferInterrupted
from archiver.http.body_watch import BodyWatch
from archiver.http.exchange import MAX_ERROR_BODY, HttpRequest, HttpResponse, StaleConnectionError, TickTimeouts
from archiver.http.parse import CHUNKED, UNTIL_CLOSE, ChunkedDecoder, Head, ProtocolError, body_length, parse_head
from archiver.http.sink import Sink
from archiver.http.socket import HttpSocket, SocketOwner, open_socket
from archiver.http.stream import Stream
from archiver.http.tls import error_name

MAX_HEAD = 32 * 1024
"""Bytes of a response head; also the most of a small response that one system call receives and that is copied once."""


class State(Enum):
    """What a connection is doing."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"  # of known length
    LENT = "lent"  # another owner uses the socket
    STREAM = "stream"  # chunked, or the body of an error response until the connection closes
    CLOSED = "dead"


_EMPTY_SINK = Sink(())


class Borrower(SocketOwner, Protocol):
    """Another owner of a connection's socket, for a while."""

    async def run(self, socket: HttpSocket) -> bool:
        """Use *socket*. Return whether it can take another request."""

    def tick(self, timeouts: TickTimeouts) -> None:
        """Count one tick of the pool's clock, and check the timeouts."""


class Connection:
    """
    Owned by a pool, which calls `tick` as its clock. Every error closes the connection at once; after that, nothing is
    written into the caller's views.
    """

    def __init__(self, stream: Stream, on_lost: Callable[["Connection"], None]) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._scratch = bytearray()  # made when it is needed: most connections are lent, and borrowers have their own
        self._scratch_view = memoryview(self._scratch)
        self.responses = 0  # requests answered on this connection
        self._state = State.CLOSED
        self._ticks = 0
        self._watch = BodyWatch()
        self._borrower: Borrower | None = None
        self._reset(State.IDLE)
        self._socket = open_socket(stream, self)

    def _reset(self, state: State) -> None:
        self._state = state
        self._request: HttpRequest | None = None
        self._waiter: asyncio.Future[HttpResponse] | None = None
        self._head: Head | None = None
        self._sink = _EMPTY_SINK
        self._error_body: bytearray | None = None
        self._chunks: ChunkedDecoder | None = None
        self._body_complete = False  # the sink has space for the whole body: the connection can be kept
        self._head_bytes = 0  # bytes of an unfinished head in the scratch buffer
        self._bytes_received = 0  # of this response
        self._ticks = 0

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return self._state is State.IDLE

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        """
        Send *request* and return its response. Afterwards the connection is `usable`, or closed.

        Raises StaleConnectionError, TransferInterrupted, and the errors of the request's *check*. A caller that cancels
        this must call `abort`.
        """
        waiter: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._reset(State.HEAD)
        self._request, self._waiter = request, waiter
        self._socket.send(request.head, request.body)
        return await waiter

    def abort(self) -> None:
        """Close at once and release the caller's views, including those in the socket."""
        self._reset(State.CLOSED)
        self._socket.close()
        self._on_lost(self)

    def end(self, reason: str) -> None:
        """Close at once. A running request raises TransferInterrupted with *reason*."""
        if self._borrower is not None:
            self._borrower.lost(None)
        self._interrupt(reason)

    async def lend(self, borrower: "Borrower") -> None:
        """
        Lend the socket to *borrower*, until it ends. Afterwards the connection is `usable`, or closed. A caller that
        cancels this must call `abort`.
        """
        self._reset(State.LENT)
        self._borrower = borrower
        self._socket.owner = borrower
        try:
            clean = await borrower.run(self._socket)
        finally:
            self._borrower = None
            self._socket.owner = self
        self.responses += 1
        if clean and not self._socket.closed and self._socket.all_sent:
            self._reset(State.IDLE)
        else:
            self.abort()

    def tick(self, timeouts: TickTimeouts) -> None:
        """
        Count one tick and check the timeouts. Time is counted in ticks, so that a blocked event loop causes no timeout:
        data that arrived in the meantime is read before the next tick.
        """
        self._ticks += 1
        if self._borrower is not None:
            self._borrower.tick(timeouts)
        elif self._state is State.IDLE:
            if self._ticks > timeouts.idle:
                self.abort()
        elif self._state is State.HEAD:
            if not self._socket.all_sent and self._ticks > timeouts.stall:
                self._interrupt("the server stopped reading the body")
            elif self._ticks > timeouts.response:
                self._interrupt("no response in time")
        elif self._state is not State.CLOSED:
            reason = self._watch.tick(self._bytes_received, timeouts)
            if reason is not None:
                self._interrupt(reason)

    # Callbacks of the socket

    def free_space(self) -> memoryview:
        # In a body, never more than its length: bytes that follow it must not reach the caller's views.
        if self._state is State.BODY:
            return self._sink.free_space()
        if not self._scratch:
            self._scratch = bytearray(MAX_HEAD)
            self._scratch_view = memoryview(self._scratch)
        return self._scratch_view[self._head_bytes :]

    def sent(self) -> None:
        self._ticks = 0

    def received(self, count: int) -> None:
        self._bytes_received += count
        try:
            if self._state is State.BODY:
                self._sink.advance(count)
                if self._sink.filled == self._sink.capacity:
                    self._finish()
            elif self._state is State.HEAD:
                self._head_bytes += count
                self._read_head(count)
            elif self._state is State.STREAM:
                self._stream(self._scratch_view[:count])
            else:
                self.abort()  # no request is running: a late error, or a response longer than its declared length
        except ProtocolError as error:
            self._sink.filled = 0  # none of the bytes from such a server can be trusted
            self._interrupt(str(error))
        except Exception as error:  # noqa: BLE001 - raised by `check`; passed to the caller, not to the event loop
            self._fail(error)

    def lost(self, error: Exception | None) -> None:
        if error is None and self._state is State.STREAM and self._chunks is None:
            self._finish()
        elif self._state is State.HEAD and self.responses and not self._bytes_received:
            self._fail(StaleConnectionError())
        else:
            self._interrupt("connection closed" if error is None else f"connection lost: {error_name(error)}")

    # Receiving a response

    def _read_head(self, count: int) -> None:
        while self._state is State.HEAD:
            end = self._scratch.find(b"\r\n\r\n", max(0, self._head_bytes - count - 3), self._head_bytes) + 4
            if end < 4:  # noqa: PLR2004 - find() returned -1
                if self._head_bytes == MAX_HEAD:
                    raise ProtocolError("response head too long")
                return
            head = parse_head(bytes(self._scratch_view[:end]))
            if head.status >= 200:  # noqa: PLR2004
                self._begin_body(head, self._scratch_view[end : self._head_bytes])
            elif head.status == 101:  # noqa: PLR2004
                raise ProtocolError("the server switched protocols without a request for it")
            else:  # an interim response: the final one follows
                self._head_bytes = count = self._head_bytes - end
                self._scratch_view[:count] = bytes(self._scratch_view[end : end + count])

    def _begin_body(self, head: Head, rest: memoryview) -> None:
        request = cast("HttpRequest", self._request)
        self._head = head
        self._head_bytes = 0
        length = body_length(request.method, head)
        if head.status < 300 and request.into is not None:  # noqa: PLR2004
            if length == UNTIL_CLOSE:
                raise ProtocolError("a body of unknown length")
            request.check(head)
            sink = Sink(request.into)
            if length not in (CHUNKED, sink.capacity):
                raise ProtocolError("the body's length differs from the requested length")
        else:
            limit = request.body_limit if head.status < 300 else min(request.body_limit, MAX_ERROR_BODY)  # noqa: PLR2004
            self._error_body = bytearray(min(length, limit) if length >= 0 else limit)
            sink = Sink((memoryview(self._error_body),))
        self._sink = sink
        self._watch.restart()
        if length >= 0:
            sink.put(rest[:length])
            self._body_complete = length == sink.capacity
            self._state = State.BODY
            if len(rest) > length:
                raise ProtocolError("body longer than declared")
            if sink.filled == sink.capacity:
                self._finish()
            return
        self._chunks = ChunkedDecoder() if length == CHUNKED else None
        self._state = State.STREAM
        if not sink.capacity and self._error_body is not None:
            self._finish()  # nobody wants the body, whenever it comes
            return
        self._stream(rest)

    def _stream(self, data: memoryview) -> None:
        for piece in (data,) if self._chunks is None else self._chunks.feed(data):
            if self._sink.put(piece) < len(piece):
                if self._error_body is None:
                    raise ProtocolError("body longer than requested")
                self._finish()  # the error body is long enough; the connection is closed
                return
        if self._chunks is not None and self._chunks.done:
            self._finish()

    def _finish(self) -> None:
        head, waiter, sink = cast("Head", self._head), self._waiter, self._sink
        if self._error_body is None and sink.filled < sink.capacity:
            raise ProtocolError("body shorter than requested")
        body = b"" if self._error_body is None else bytes(self._error_body[: sink.filled])
        reusable = self._body_complete if self._chunks is None else self._chunks.done
        self.responses += 1
        if reusable and head.keep_alive and self._socket.all_sent:
            self._reset(State.IDLE)
        else:
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(HttpResponse(head, body))

    def _interrupt(self, reason: str) -> None:
        received = self._sink.filled if self._error_body is None else 0
        self._fail(TransferInterrupted(reason, received=received))

    def _fail(self, error: Exception) -> None:
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
