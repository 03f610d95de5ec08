"""
A lane: one request after another over one connection, without a task or a future for each.

    next_request ─▶ send ─▶ head arrives ─▶ read_head ─▶ body arrives ─▶ the next request is sent ─▶ take

It knows one kind of response: complete, of known length, on a connection that stays open. Whatever else comes ends the
lane and its connection; somebody with more patience asks again.
"""

import asyncio
from abc import ABC, abstractmethod
from enum import Enum

from archiver.http.body_watch import BodyWatch
from archiver.http.connection import MAX_HEAD
from archiver.http.exchange import TickTimeouts
from archiver.http.parse import ProtocolError
from archiver.http.socket import HttpSocket
from archiver.http.tls import error_name

SCRATCH_BYTES = 256 * 1024
"""Most bytes that one system call receives. One such buffer serves all lanes: none is in use between two callbacks."""

NOT_PLAIN = -1


class Ended(Enum):
    """Why a lane ended. After NO_REQUEST alone, its connection can be used again."""

    NO_REQUEST = "no request"
    UNWANTED_BODY = "unwanted body"  # `take` had it, without its body
    UNUSUAL = "unusual"  # the request is not answered


class Lane(ABC):
    """
    A `Borrower` of connections, for any number of runs. Subclasses make the requests and take the responses.

    `ended` tells how the last run ended, and *reason* why, where it was unusual.
    """

    __slots__ = (
        "_body",
        "_done",
        "_error",
        "_filled",
        "_part",
        "_raw",
        "_scratch",
        "_socket",
        "_ticks",
        "_watch",
        "ended",
        "reason",
    )

    def __init__(self, scratch: bytearray) -> None:
        self._raw = scratch
        self._scratch = memoryview(scratch)
        self._part = b""  # the beginning of a head whose end has not arrived
        self._body: memoryview | None = None  # of a body that did not arrive at once
        self._filled = 0
        self._ticks = 0
        self._watch = BodyWatch()
        self._socket: HttpSocket | None = None
        self._done: asyncio.Future[bool] | None = None
        self._error: Exception | None = None
        self.ended = Ended.NO_REQUEST
        self.reason = ""

    @abstractmethod
    def next_request(self) -> bytes | None:
        """Return the next request for this connection; None: there is none."""

    @abstractmethod
    def read_head(self, head: bytes) -> int:
        """Return the length of the body after *head*, which ends with an empty line; NOT_PLAIN: ask some other way."""

    @abstractmethod
    def space(self, length: int) -> memoryview | None:
        """Return where a body of *length* bytes can be received that did not arrive at once; None: it is unwanted."""

    @abstractmethod
    def take(self, body: memoryview | None) -> None:
        """Take the response whose head was read last. *body* is valid during the call; None: it was unwanted."""

    async def run(self, socket: HttpSocket) -> bool:
        """Send requests over *socket* until there are none, or a response is not plain. Return whether it is clean."""
        self._socket, self._done = socket, asyncio.get_running_loop().create_future()
        self._part, self._body, self._error = b"", None, None
        try:
            self._ask()
            clean = await self._done
            if self._error is not None:
                raise self._error
        finally:
            self._socket = self._done = self._body = None
        return clean

    def _ask(self) -> None:
        request = self.next_request()
        if request is None:
            self._end(Ended.NO_REQUEST)
        elif self._socket is not None:
            self._ticks = 0
            self._socket.send(request)

    def _end(self, how: Ended, reason: str = "") -> None:
        """End the run. The connection is closed unless all is well; also if something comes after the end."""
        if how is not Ended.NO_REQUEST and self._socket is not None:
            self._socket.close()
        if self._done is not None and not self._done.done():
            self.ended, self.reason = how, reason
            self._done.set_result(how is Ended.NO_REQUEST)

    def tick(self, timeouts: TickTimeouts) -> None:
        """Count one tick of the pool's clock, and check the timeouts."""
        if self._body is not None:
            reason = self._watch.tick(self._filled, timeouts)
            if reason is not None:
                self._end(Ended.UNUSUAL, reason)
            return
        self._ticks += 1
        if self._ticks > timeouts.response:
            self._end(Ended.UNUSUAL, "no response in time")

    # Callbacks of the socket

    def free_space(self) -> memoryview:
        # In a body, never more than its length: bytes that follow it must not reach the caller's memory.
        if self._body is not None:
            return self._body[self._filled :]
        return self._scratch[len(self._part) :] if self._part else self._scratch

    def sent(self) -> None:
        self._ticks = 0

    def lost(self, error: Exception | None) -> None:
        why = "connection closed" if error is None else f"connection lost: {error_name(error)}"
        self._end(Ended.UNUSUAL, why)

    def received(self, count: int) -> None:
        try:
            if self._body is None:
                self._read_response(count)
            else:
                self._filled += count
                if self._filled == len(self._body):
                    body, self._body = self._body, None
                    self._complete(body)
        except ProtocolError as error:
            self._end(Ended.UNUSUAL, str(error))
        except Exception as error:  # noqa: BLE001 - raised by a subclass: for the caller of `run`, not for the event loop
            self._error = error
            self._end(Ended.UNUSUAL)

    def _read_response(self, count: int) -> None:
        if self._done is None or self._done.done():
            raise ProtocolError("bytes without a request")
        if self._part:
            self._raw[: len(self._part)] = self._part
            count, self._part = count + len(self._part), b""
        end = self._raw.find(b"\r\n\r\n", 0, min(count, MAX_HEAD)) + 4
        if end < 4:  # noqa: PLR2004 - find() returned -1
            if count >= MAX_HEAD:
                raise ProtocolError("response head too long")
            self._part = bytes(self._scratch[:count])
            return
        length, arrived = self.read_head(bytes(self._scratch[:end])), count - end
        if length == NOT_PLAIN:
            raise ProtocolError("not a plain response")
        if arrived > length:
            raise ProtocolError("body longer than declared")
        if arrived == length:
            self._complete(self._scratch[end:count])
        else:
            self._begin_body(length, self._scratch[end:count])

    def _begin_body(self, length: int, arrived: memoryview) -> None:
        body = self.space(length)
        if body is None:
            self.take(None)
            self._end(Ended.UNWANTED_BODY)
            return
        body[: len(arrived)] = arrived
        self._body, self._filled = body, len(arrived)
        self._watch.restart()

    def _complete(self, body: memoryview) -> None:
        self._ask()  # first: the server works while this one is placed
        self.take(body)
