"""The other end of a TLS connection with its bytes in our hands: cut where we like, ended as we like."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import TypeVar

from certificates import shared_trust

from archiver.http.pool import Origin, tls_context
from archiver.http.stream import Stream, start_tls

T = TypeVar("T")
LOOP_PASSES = 4  # turns of the loop in which the client, in the same loop, reads what was written


class TlsPeer:
    """
    A server's end. What is to be sent goes out in pieces that end after *cuts* bytes, each read before the next. What
    comes in is taken *takes* bytes at a time.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.cuts: Iterable[int] = ()
        self.takes = 65536
        self.says_with_handshake = b""
        self.appended = b""

    async def accept(self) -> None:
        await self._do(self._end_handshake)

    def _end_handshake(self) -> None:
        self.tls.do_handshake()
        if self.says_with_handshake:
            self.tls.write(self.says_with_handshake)

    async def request(self) -> bytes:
        """The next request's head."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._do(self.tls.read)
        return head

    async def body(self, size: int) -> bytes:
        """The *size* bytes that follow a request's head."""
        body = b""
        while len(body) < size:
            body += await self._do(partial(self.tls.read, size - len(body)))
        return body

    async def say(self, data: bytes) -> None:
        self.tls.write(data)
        await self.send()

    async def notify(self) -> None:
        """Send close_notify, and no FIN."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.send()

    def send_fin(self) -> None:
        """Send FIN, without close_notify where it was not sent before."""
        self._writer.close()

    async def answer_to_notify(self) -> None:
        """Wait for the client's close_notify. Raises ConnectionResetError if there is none before its FIN."""
        await self._do(self.tls.unwrap)

    async def until_client_closes(self) -> None:
        await self._reader.read()

    async def send(self) -> None:
        data = self._outgoing.read() + self.appended
        ends = sorted({0, *(cut for cut in self.cuts if cut < len(data)), len(data)})
        for start, end in pairwise(ends):
            self._writer.write(data[start:end])
            await self._writer.drain()
            for _ in range(LOOP_PASSES):
                await asyncio.sleep(0)

    async def _do(self, act: Callable[[], T]) -> T:
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                await self.send()
                data = await self._reader.read(self.takes)
                if not data:
                    raise ConnectionResetError from None
                self._incoming.write(data)
            else:
                await self.send()
                return result


async def shake_hands(
    ours: socket.socket, theirs: socket.socket, context: ssl.SSLContext | None = None, says: bytes = b""
) -> tuple[Stream, TlsPeer]:
    """TLS between two connected sockets: the client's end, and a peer, which *says* something with its last message."""
    for end in (ours, theirs):
        end.setblocking(False)
    peer = TlsPeer(*await asyncio.open_connection(sock=theirs), shared_trust().server_context)
    peer.says_with_handshake = says
    accepting = asyncio.create_task(peer.accept())
    stream = await start_tls(Stream(ours), context or tls_context(shared_trust().bundle), "127.0.0.1")
    await accepting
    return stream, peer


@asynccontextmanager
async def serve_tls_peer(
    act: Callable[[TlsPeer], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[Origin]:
    """A server whose connections are *act*'s, from before the handshake on; they have ended at the end."""
    running: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        with suppress(OSError, ssl.SSLError):
            await act(TlsPeer(reader, writer, context or shared_trust().server_context))
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        running.discard(asyncio.current_task())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Origin(tls=True, host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        async with asyncio.timeout(10):
            while running:
                await asyncio.sleep(0.005)
