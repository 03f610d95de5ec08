"""One connected socket, plain or TLS, on the event loop: bytes go between the caller's views and the kernel."""

import asyncio
import contextlib
import ssl
import threading
from typing import Protocol

from archiver.http.stream import Stream
from archiver.http.tls import AT_ONCE, TlsRecords

WRITE_SLICE_BYTES = 1024 * 1024
"""Bytes of one write: the most that the kernel copies in one call."""

RECEIVED_AT_ONCE = SENT_AT_ONCE = 128 * 1024
"""Encrypted bytes that one system call receives, or sends."""


class SocketOwner(Protocol):
    """What a `HttpSocket` calls. It may close the socket in each of these calls."""

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
    """

    __slots__ = ("_fd", "_loop", "_sock", "_unsent", "_watches_writable", "closed", "owner")

    def __init__(self, stream: Stream, owner: SocketOwner) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = stream.sock
        self.owner = owner
        self._fd = stream.sock.fileno()
        self._unsent: list[bytes | memoryview] = []
        self._watches_writable = False
        self.closed = False
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
        self._sock.close()

    def _lose(self, error: Exception | None) -> None:
        self.close()
        self.owner.lost(error)

    def _write(self) -> None:
        """Send until the kernel is full."""
        while self._unsent:
            data = self._unsent[0]
            piece = data if len(data) <= WRITE_SLICE_BYTES else memoryview(data)[:WRITE_SLICE_BYTES]
            try:
                count = self._sock.send(piece)
            except BlockingIOError:
                break
            except OSError as error:
                self._lose(error)
                return
            self._drop_sent(data, count)
            if count < len(piece):  # the kernel is full
                break
        self._watch_writable(bool(self._unsent))

    def _drop_sent(self, data: bytes | memoryview, count: int) -> None:
        if count == len(data):
            del self._unsent[0]
        else:
            self._unsent[0] = memoryview(data)[count:]

    def _on_writable(self) -> None:
        self.owner.sent()  # the kernel has space again only because the peer acknowledged bytes
        if not self.closed:
            self._write()

    def _watch_writable(self, watch: bool) -> None:
        """Watch for space in the kernel only while something waits for it: a socket is writable most of the time."""
        if watch is not self._watches_writable:
            self._watches_writable = watch
            if watch:
                self._loop.add_writer(self._fd, self._on_writable)
            else:
                self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        """Read once; the event loop calls again while there is more."""
        try:
            count = self._sock.recv_into(self.owner.free_space())
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if count:
            self.owner.received(count)
        else:
            self._lose(None)


class _Buffer(threading.local):
    """Where encrypted bytes are received: one for each event loop, since none is in use between two callbacks."""

    def __init__(self) -> None:
        self.received = memoryview(bytearray(RECEIVED_AT_ONCE))


_buffer = _Buffer()
_NOTHING = memoryview(b"")


class TlsSocket(HttpSocket):
    """The same through TLS. Bytes that the kernel does not accept are encrypted already, up to `SENT_AT_ONCE`."""

    __slots__ = ("_encrypted", "_received", "_tls", "_write_wants_read")

    def __init__(self, stream: Stream, tls: TlsRecords, owner: SocketOwner) -> None:
        super().__init__(stream, owner)
        self._tls = tls
        self._received = _buffer.received
        self._encrypted: bytes | memoryview = b""
        self._write_wants_read = False  # a renegotiation
        if tls.has_unread:  # arrived with the end of the handshake
            self._loop.call_soon(self._read_records)

    @property
    def all_sent(self) -> bool:
        """Whether the kernel accepted every byte."""
        return not self._unsent and not self._encrypted

    def close(self) -> None:
        """As of a plain one. What is encrypted and unsent is dropped, too."""
        self._encrypted = b""
        super().close()

    def _lose(self, error: Exception | None) -> None:
        if self.all_sent:
            with contextlib.suppress(OSError):  # best effort: the peer may be gone
                if error is None:
                    self._tls.end()  # answers the peer's close_notify
                self._sock.send(self._tls.take_outgoing())  # on an error, an alert tells the peer
        super()._lose(error)

    def _write(self) -> None:
        self._write_wants_read = False
        try:
            while self._encrypted or self._encrypt():
                count = self._sock.send(self._encrypted)
                if count < len(self._encrypted):  # the kernel is full
                    self._encrypted = memoryview(self._encrypted)[count:]
                    break
                self._encrypted = b""
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)
            return
        self._watch_writable(not self.all_sent and not (self._write_wants_read and not self._encrypted))

    def _encrypt(self) -> bool:
        """Encrypt some bytes, now that all others are sent. Return whether there is something to send."""
        tls, size, records = self._tls, 0, list[bytes]()
        try:
            if tls.has_outgoing:
                records.append(tls.take_outgoing())
                self._write_wants_read = tls.has_outgoing  # the proxy's TLS must read
            while self._unsent and size < SENT_AT_ONCE and not self._write_wants_read:
                data = self._unsent[0]
                count = tls.encrypt(data)
                self._drop_sent(data, count)
                records.append(tls.take_outgoing())
                size += count
                self._write_wants_read = tls.has_outgoing
        except ssl.SSLWantReadError:
            records.append(tls.take_outgoing())
            self._write_wants_read = True
        self._encrypted = b"".join(records)
        return bool(self._encrypted)

    def _on_readable(self) -> None:
        """Receive once, and decrypt all of it: the event loop does not know of what was received."""
        try:
            count = self._sock.recv_into(self._received)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        for start in range(0, count, AT_ONCE):
            self._read_records(self._received[start : min(start + AT_ONCE, count)])
            if self.closed:
                return
        if not count:
            self._lose(None)

    def _read_records(self, received: memoryview = _NOTHING) -> None:
        """Decrypt what was *received*, and what is left of the handshake."""
        tls = self._tls
        try:
            tls.feed(received)
            while not self.closed:
                space = self.owner.free_space()
                count = tls.read_into(space)
                if count:
                    self.owner.received(count)
                if count < len(space) and not tls.failed:
                    break
        except OSError as error:
            self._lose(error)
            return
        if self.closed:
            return
        if tls.ended:
            self._lose(None)
        elif self._write_wants_read or tls.has_outgoing:
            self._write()


def open_socket(stream: Stream, owner: SocketOwner) -> HttpSocket:
    """Return the socket of *stream*, with its TLS."""
    return HttpSocket(stream, owner) if stream.tls is None else TlsSocket(stream, stream.tls, owner)
