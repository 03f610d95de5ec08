"""A server that says exactly what a test tells it to, byte by byte, and keeps what it was asked."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from certificates import shared_trust

from archiver.http.pool import Origin

TLS = True
"""What servers speak that are not told; the fixture `either_scheme` has both tried."""


class ServerAction(Enum):
    """What a script does besides sending."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    PAUSE = "breathe"  # long enough for the client to read what was sent so far


Script = Sequence[bytes | ServerAction | asyncio.Event]
"""What follows one request: bytes to send, acts, events to wait for. Then the connection is open for the next one."""


@dataclass
class ScriptedServer:
    """Each request takes the next script; the last one serves all that follow."""

    scripts: Sequence[Script]
    tls: bool
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def origin(self) -> Origin:
        return Origin(tls=self.tls, host="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        return f"http{'s' * self.tls}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                for step in script:
                    await self._do(step, reader, writer)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _do(
        self, step: bytes | ServerAction | asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, asyncio.Event):
            await step.wait()
        elif step is ServerAction.PAUSE:
            await asyncio.sleep(0.02)
        elif step is ServerAction.STALL:
            await reader.read()  # until the client has had enough
            raise asyncio.IncompleteReadError(b"", None)
        else:
            if step is ServerAction.RESET:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise asyncio.IncompleteReadError(b"", None)

    async def all_closed(self) -> bool:
        """Whether every client is gone, or is within a few seconds."""
        return await wait_until(lambda: not self.open)


async def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether *condition* holds, or does within a few seconds."""
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


@asynccontextmanager
async def serve_scripts(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    """Serve *scripts* on a port of our own; without *tls* by what `TLS` says, the certificate of the tests' own."""
    if tls is None and TLS:
        tls = shared_trust().server_context
    served = ScriptedServer(scripts, tls is not None)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        assert await served.all_closed(), "a client left its connection open"
        await server.wait_closed()


def make_response(
    status: str = "206 Partial Content", body: bytes = b"", *fields: str, length: int | None = None
) -> bytes:
    """An answer with its Content-Length; *length* lies about it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def byte_by_byte(data: bytes) -> list[bytes | ServerAction]:
    """*data*, one byte at a time."""
    return [step for byte in data for step in (bytes([byte]), ServerAction.PAUSE)]
