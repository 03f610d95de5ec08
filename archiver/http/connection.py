"""One HTTP/1.1 connection: a request at a time, bodies received where they belong and sent from where they are."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import cast

from archiver.errors import TransferInterrupted
from archiver.http.exchange import HttpRequest, HttpResponse, StaleConnectionError, TickTimeouts
from archiver.http.parse import CHUNKED, UNTIL_CLOSE, ChunkedDecoder, Head, ProtocolError, body_length, parse_head
from archiver.http.sink import Sink

MAX_HEAD = 32 * 1024
"""Bytes of an answer's head; also how much of a small answer arrives in one system call and is copied once."""

MAX_ERROR_BODY = 64 * 1024

WRITE_SLICE_BYTES = 128 * 1024
"""
Bytes that one write hands over. What the socket does not take at once stays in the transport, as a copy (Python 3.11)
or as a reference to the caller's memory (3.12 and newer): no more than this, and `abort` drops it.
"""


class State(Enum):
    """What a connection is about."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"  # of known length
    STREAM = "stream"  # chunked, or an error's body until the connection closes
    CLOSED = "dead"


_EMPTY_SINK = Sink(())


class Connection(asyncio.BufferedProtocol):
    """
    Owned by a pool, which tells it the time by `tick`. Every error ends the connection at once, and from then on
    nothing is written into the caller's views.
    """

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.lost = self._loop.create_future()
        self._scratch = bytearray(MAX_HEAD)
        self._scratch_view = memoryview(self._scratch)
        self.responses = 0  # requests answered on this connection
        self._state = State.CLOSED
        self._ticks = self._window_ticks = 0
        self._last_received = self._window_start_bytes = 0
        self._paused = False  # the socket takes no more for now
        self._reset(State.IDLE)

    def _reset(self, state: State) -> None:
        self._state = state
        self._request: HttpRequest | None = None
        self._waiter: asyncio.Future[HttpResponse] | None = None
        self._head: Head | None = None
        self._sink = _EMPTY_SINK
        self._error_body: bytearray | None = None
        self._chunks: ChunkedDecoder | None = None
        self._body_complete = False  # the sink takes all of the body: the connection can be kept
        self._head_bytes = 0  # bytes of an unfinished head in the scratch buffer
        self._bytes_received = 0  # bytes of this answer so far
        self._unsent = memoryview(b"")
        self._ticks = self._window_ticks = self._last_received = self._window_start_bytes = 0

    @property
    def usable(self) -> bool:
        """Can take a request."""
        return self._state is State.IDLE and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        """
        Send *request* and return its answer; the connection is `usable` afterwards, or lost.

        Raises StaleConnectionError, TransferInterrupted, and whatever *check* raises. Who cancels this must `abort`.
        """
        assert self._transport is not None  # noqa: S101 - the pool hands out connected ones
        waiter: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._reset(State.HEAD)
        self._request, self._waiter = request, waiter
        self._transport.write(request.head)
        self._unsent = request.body
        self._send()
        return await waiter

    def _send(self) -> None:
        """Hand over as much of the request's body as the socket takes."""
        while self._unsent and not self._paused and self._transport is not None:
            piece, self._unsent = self._unsent[:WRITE_SLICE_BYTES], self._unsent[WRITE_SLICE_BYTES:]
            self._ticks = 0
            self._transport.write(piece)

    def _all_sent(self) -> bool:
        """
        Whether the request has left the process's memory. After an early answer it may not have: the rest would go out
        later, from a buffer that is another job's by then, and before the next request.
        """
        return not self._unsent and self._transport is not None and not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once; forget the caller's views, those in the transport included."""
        self._reset(State.CLOSED)
        if self._transport is not None:
            self._transport.abort()

    def end(self, reason: str) -> None:
        """Close at once; a running request is interrupted by *reason*."""
        self._interrupt(reason)

    def tick(self, timeouts: TickTimeouts) -> None:
        """
        One tick has passed. Time is counted in ticks, so a loop that was held up blames nobody: what had arrived
        meanwhile is read before the next tick.
        """
        self._ticks += 1
        if self._state is State.IDLE:
            if self._ticks > timeouts.idle:
                self.abort()
        elif self._state is State.HEAD:
            if self._unsent and self._ticks > timeouts.stall:
                self._interrupt("the other side takes no more of the body")
            elif self._ticks > timeouts.response:
                self._interrupt("no answer in time")
        elif self._state is not State.CLOSED:
            self._check_body_progress(timeouts)

    def _check_body_progress(self, timeouts: TickTimeouts) -> None:
        if self._bytes_received != self._last_received:
            self._last_received, self._ticks = self._bytes_received, 0
        self._window_ticks += 1
        if self._ticks > timeouts.stall:
            self._interrupt("the body stalled")
        elif self._window_ticks > timeouts.window:
            if self._bytes_received - self._window_start_bytes < timeouts.window_bytes:
                self._interrupt("the body came too slowly")
            self._window_start_bytes, self._window_ticks = self._bytes_received, 0

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Not 0: asyncio's TLS transport pauses at `size >= high`, at an empty buffer, too: then nobody resumes it.
        self._transport.set_write_buffer_limits(high=1)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        # In a body never more than the body: what follows it is no business of the caller's views.
        return self._sink.free_space() if self._state is State.BODY else self._scratch_view[self._head_bytes :]

    def buffer_updated(self, count: int) -> None:
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
                self.abort()  # nobody asked: a late error, or an answer longer than it said
        except ProtocolError as error:
            self._sink.filled = 0  # such a server's word is worth nothing, its bytes neither
            self._interrupt(str(error))
        except Exception as error:  # noqa: BLE001 - raised by `check`; it belongs to the caller, not to the loop
            self._fail(error)

    def eof_received(self) -> None:
        if self._state is State.STREAM and self._chunks is None:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state is State.HEAD and self.responses and not self._bytes_received:
            self._fail(StaleConnectionError())
        elif self._waiter is not None:
            self._interrupt("connection closed" if exc is None else f"connection lost: {type(exc).__name__}")
        self._state = State.CLOSED
        self._transport = None
        self._on_lost(self)
        if not self.lost.done():
            self.lost.set_result(None)

    # How an answer is taken in

    def _read_head(self, count: int) -> None:
        while self._state is State.HEAD:
            end = self._scratch.find(b"\r\n\r\n", max(0, self._head_bytes - count - 3), self._head_bytes) + 4
            if end < 4:  # noqa: PLR2004 - find() said -1
                if self._head_bytes == MAX_HEAD:
                    raise ProtocolError("answer head too long")
                return
            head = parse_head(bytes(self._scratch_view[:end]))
            if head.status >= 200:  # noqa: PLR2004
                self._begin_body(head, self._scratch_view[end : self._head_bytes])
            elif head.status == 101:  # noqa: PLR2004
                raise ProtocolError("protocol switched unasked")
            else:  # an interim answer: the real one follows
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
                raise ProtocolError("a body of another length than was asked for")
        else:
            self._error_body = bytearray(min(length, MAX_ERROR_BODY) if length >= 0 else MAX_ERROR_BODY)
            sink = Sink((memoryview(self._error_body),))
        self._sink = sink
        self._ticks = self._window_ticks = 0
        if length >= 0:
            sink.put(rest[:length])
            self._body_complete = length == sink.capacity
            self._state = State.BODY
            if len(rest) > length:
                raise ProtocolError("body longer than promised")
            if sink.filled == sink.capacity:
                self._finish()
            return
        self._chunks = ChunkedDecoder() if length == CHUNKED else None
        self._state = State.STREAM
        self._stream(rest)

    def _stream(self, data: memoryview) -> None:
        for piece in (data,) if self._chunks is None else self._chunks.feed(data):
            if self._sink.put(piece) < len(piece):
                if self._error_body is None:
                    raise ProtocolError("body longer than was asked for")
                self._finish()  # enough of an error; the connection goes
                return
        if self._chunks is not None and self._chunks.done:
            self._finish()

    def _finish(self) -> None:
        head, waiter, sink = cast("Head", self._head), self._waiter, self._sink
        if self._error_body is None and sink.filled < sink.capacity:
            raise ProtocolError("body shorter than was asked for")
        body = b"" if self._error_body is None else bytes(self._error_body[: sink.filled])
        reusable = self._body_complete if self._chunks is None else self._chunks.done
        self.responses += 1
        if reusable and head.keep_alive and self._all_sent():
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
