"""A connected socket with its TLS, while the connection is being made."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass

from archiver.http.tls import AT_ONCE, TlsRecords


@dataclass(frozen=True, slots=True)
class Stream:
    """A non-blocking socket, and the TLS through it, if there is one."""

    sock: socket.socket
    tls: TlsRecords | None = None

    async def send(self, data: bytes) -> None:
        """Send *data*. Raises OSError."""
        unsent = memoryview(data)
        while self.tls is not None and unsent:
            unsent = unsent[self.tls.encrypt(unsent) :]
        await self._send(self.tls.take_outgoing() if self.tls else data)

    async def receive(self) -> bytes:
        """Return the next bytes; b"": nothing follows. Raises OSError."""
        while True:
            received = b"" if self.tls and self.tls.ended else await self._receive()
            if self.tls is None or not received:
                return received
            self.tls.feed(memoryview(received))
            if (data := self.tls.read()) or self.tls.ended:
                return data

    async def handshake(self) -> None:
        """Let TLS begin. Raises OSError; SSLCertVerificationError is one."""
        tls = self.tls
        if tls is None:
            raise TypeError("there is no TLS")
        try:
            while not tls.handshake():
                await self._send(tls.take_outgoing())
                received = b"" if tls.ended else await self._receive()
                if not received:
                    raise ConnectionResetError("the server closed the connection during the TLS handshake")
                tls.feed(memoryview(received))
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # best effort: the peer may be gone
                await self._send(tls.take_outgoing())  # what is wrong with its messages
            raise
        await self._send(tls.take_outgoing())

    def close(self) -> None:
        """Close at once."""
        self.sock.close()

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, AT_ONCE)


async def start_tls(stream: Stream, context: ssl.SSLContext, host: str) -> Stream:
    """
    Return TLS to *host* through *stream*, after the handshake. *stream* belongs to the result; it is closed on errors.

    Raises OSError; SSLCertVerificationError is one.
    """
    try:
        secured = Stream(stream.sock, TlsRecords(context, host, stream.tls))
        await secured.handshake()
    except BaseException:
        stream.close()
        raise
    return secured
