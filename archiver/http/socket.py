"""One connected socket, plain or TLS, on the event loop: bytes go between the caller's views and the kernel."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol, TypeVar

from archiver.http.tls import TlsInTls

T = TypeVar("T")

WRITE_SLICE_BYTES = 1024 * 1024
"""Bytes of one write: the most that the kernel copies, or OpenSSL encrypts, in one call."""

READ_TURN_BYTES = 1024 * 1024
"""Bytes that are decrypted before other connections get their turn. The rest of a TLS record may exceed it."""

RECORD_BYTES = 16 * 1024
"""Most bytes in one TLS record."""

TlsStream = ssl.SSLSocket | TlsInTls
Stream = socket.socket | TlsInTls
"""Non-blocking. `ssl.SSLSocket` is a subclass of `socket.socket`."""


class SocketOwner(Protocol):
    """What a `HttpSocket` calls. It may close the socket in each of these calls."""

    @property
    def in_response(self) -> bool:
        """Whether a response has begun and not ended: its rest has probably arrived, too."""

    def free_space(self) -> memoryview:
        """Return where the next bytes go; never empty."""

    def received(self, count: int) -> None:
        """*count* bytes were written there."""

    def sent(self) -> None:
        """The peer accepted bytes."""

    def lost(self, error: Exception | None) -> None:
        """The peer closed the connection (None), or it failed. The socket is closed."""


class HttpSocket:
    """
    Sends and receives for its *owner*. Data that the kernel does not accept yet stays where it is, in the caller's
    memory, and is not copied; `close` drops it.

    TLS may need to read before it can write, and to write before it can read (a renegotiation, a key update). The
    event loop then watches for that direction only, so that no callback runs without work.
    """

    __slots__ = (
        "_fd",
        "_loop",
        "_on_readable",
        "_read_wants_write",
        "_stream",
        "_unsent",
        "_watches_writable",
        "_write_wants_read",
        "closed",
        "owner",
    )

    def __init__(self, stream: Stream, owner: SocketOwner) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self.owner = owner
        self._fd = stream.fileno()
        self._unsent: list[bytes | memoryview] = []
        self._watches_writable = self._read_wants_write = self._write_wants_read = False
        self.closed = False
        self._on_readable: Callable[[], None] = (
            partial(self._read_records, stream) if isinstance(stream, TlsStream) else partial(self._read, stream)
        )
        self._loop.add_reader(self._fd, self._on_readable)

    @property
    def all_sent(self) -> bool:
        """Whether the kernel accepted every byte."""
        return not self._unsent

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send *pieces*, which must not change until `all_sent`, or until the socket is closed."""
        self._unsent += filter(len, pieces)
        self._write()

    def close(self) -> None:
        """Close at once, without close_notify. What is unsent is dropped."""
        if self.closed:
            return
        self.closed = True
        self._unsent.clear()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._stream.close()

    def _lose(self, error: Exception | None) -> None:
        if error is None and self.all_sent and isinstance(self._stream, TlsStream):
            with contextlib.suppress(OSError):  # best effort: the peer may be gone
                self._stream.unwrap()  # answers the peer's close_notify
        self.close()
        self.owner.lost(error)

    # Sending

    def _write(self) -> None:
        """Send until the kernel is full. OpenSSL wants a write that had to wait repeated with the same bytes."""
        while self._unsent:
            data = self._unsent[0]
            piece = data if len(data) <= WRITE_SLICE_BYTES else memoryview(data)[:WRITE_SLICE_BYTES]
            try:
                count = self._stream.send(piece)
            except (BlockingIOError, ssl.SSLWantWriteError):
                break
            except ssl.SSLWantReadError:
                self._write_wants_read = True
                break
            except OSError as error:
                self._lose(error)
                return
            if count == len(data):
                del self._unsent[0]
                continue
            self._unsent[0] = memoryview(data)[count:]
            if count < len(piece):  # the kernel is full
                break
        if self._unsent or self._watches_writable:
            self._watch_writable()

    def _on_writable(self) -> None:
        self.owner.sent()  # the kernel has space again only because the peer acknowledged bytes
        if self._read_wants_write:
            self._read_wants_write = False
            self._loop.add_reader(self._fd, self._on_readable)
            self._on_readable()
        if not self.closed and not self._read_wants_write:
            self._write()

    def _watch_writable(self) -> None:
        """Watch for space in the kernel only while something waits for it: a socket is writable most of the time."""
        watch = self._read_wants_write or (bool(self._unsent) and not self._write_wants_read)
        if watch is not self._watches_writable:
            self._watches_writable = watch
            if watch:
                self._loop.add_writer(self._fd, self._on_writable)
            else:
                self._loop.remove_writer(self._fd)

    # Receiving

    def _read(self, sock: socket.socket) -> None:
        """Read once; the event loop calls again while there is more."""
        try:
            count = sock.recv_into(self.owner.free_space())
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if count:
            self.owner.received(count)
        else:
            self._lose(None)

    def _read_records(self, tls: TlsStream) -> None:
        """
        Read until there is no whole record, or `READ_TURN_BYTES`, or until a response ends: to find out that nothing
        follows costs as much as a record. What OpenSSL has decrypted must be read at once: the event loop does not
        know of it.
        """
        left = READ_TURN_BYTES
        while (limit := left if left > 0 else tls.pending()) > 0:
            filled, stopped = _fill(self.owner.free_space()[:limit], tls)
            left -= filled
            if filled:
                self.owner.received(filled)
            if self.closed:
                return
            if stopped is _Stop.NO_RECORD or (stopped is None and not self.owner.in_response and not tls.pending()):
                break
            if stopped is _Stop.WANTS_WRITE:
                self._read_wants_write = True
                self._loop.remove_reader(self._fd)
                self._watch_writable()
                return
            if stopped is not None:
                self._lose(None if stopped is _Stop.END else stopped)
                return
        if self._write_wants_read:
            self._write_wants_read = False
            self._write()


class _Stop(Enum):
    """Why no more is read now. Not the error that told it: it would keep itself alive, by its traceback."""

    NO_RECORD = "no whole record has arrived"
    WANTS_WRITE = "TLS has to write before it can read"
    END = "the peer closed the connection"


def _fill(space: memoryview, tls: TlsStream) -> tuple[int, "_Stop | OSError | None"]:
    """
    Read records until *space* is full, or until one is shorter than it may be: with it, a response usually ends. Return
    the number of bytes, and what prevented more.
    """
    filled, size = 0, len(space)
    try:
        while filled < size:
            count = tls.recv_into(space[filled:], size - filled)
            filled += count
            if count < RECORD_BYTES:
                return filled, None if count else _Stop.END
    except ssl.SSLWantReadError:
        return filled, _Stop.NO_RECORD
    except ssl.SSLWantWriteError:
        return filled, _Stop.WANTS_WRITE
    except OSError as error:
        return filled, error
    return filled, None


async def start_tls(stream: socket.socket, context: ssl.SSLContext, host: str) -> TlsStream:
    """
    Return TLS to *host* through *stream*, after the handshake. *stream* belongs to the result; it is closed on errors.

    Raises OSError; SSLCertVerificationError is one.
    """
    tls: TlsStream
    try:
        if isinstance(stream, ssl.SSLSocket):
            tls = TlsInTls(stream, context, host)
        else:
            tls = context.wrap_socket(stream, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        stream.close()
        raise
    try:
        await when_ready(tls, tls.do_handshake)
    except ssl.SSLEOFError as error:
        tls.close()
        raise ConnectionResetError("the server closed the connection during the TLS handshake") from error
    except BaseException:
        tls.close()
        raise
    return tls


async def when_ready(stream: Stream, operation: Callable[[], T], *, writes: bool = False) -> T:
    """Return the result of *operation*, which reads from *stream* or *writes* to it. Repeat it while it has to wait."""
    loop, fd = asyncio.get_running_loop(), stream.fileno()
    while True:
        try:
            return operation()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            writable = writes if isinstance(error, BlockingIOError) else isinstance(error, ssl.SSLWantWriteError)
        ready = loop.create_future()
        (loop.add_writer if writable else loop.add_reader)(fd, _resolve, ready)
        try:
            await ready
        finally:
            (loop.remove_writer if writable else loop.remove_reader)(fd)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():  # it may be cancelled, and its task not yet
        ready.set_result(None)
