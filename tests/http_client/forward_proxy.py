"""A proxy on 127.0.0.1 that tunnels and forwards, refuses what it is told to, and keeps what it was asked."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from http_client.scripted_server import wait_until


@dataclass
class ForwardProxy:
    """
    *credentials*: `user:password` that it asks for; *answers*: what it says instead of connecting to a host; *leads*:
    where hosts that exist here alone are.
    """

    credentials: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    leads: dict[str, int] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)
    open: int = 0

    def url(self, credentials: str | None = None, scheme: str = "http", host: str = "127.0.0.1") -> str:
        given = self.credentials if credentials is None else credentials
        return f"{scheme}://{given}@{host}:{self.port}" if given else f"{scheme}://{host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(asyncio.IncompleteReadError, OSError, ssl.SSLError):
            await self._serve(reader, writer)
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        self.open -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        self.asked.append(f"{method} {target}")
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if tunnel else target)
        host, port = str(parts.hostname), parts.port or 80
        wanted = f"Proxy-Authorization: Basic {b64encode(self.credentials.encode()).decode()}"
        if self.credentials and wanted not in head.decode():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        if host in self.answers:
            writer.write(self.answers[host])
            await writer.drain()
            await reader.read()
            return
        upstream, sink = await asyncio.open_connection("127.0.0.1", self.leads.get(host, port))
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
        else:
            kept = [line for line in head.decode().split("\r\n")[1:] if not line.startswith("Proxy-")]
            path = target.removeprefix(f"http://{parts.netloc}")
            sink.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode())
        try:
            await asyncio.gather(_pipe(reader, sink), _pipe(upstream, writer))
        finally:
            sink.close()
            with suppress(OSError, ssl.SSLError):
                await sink.wait_closed()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
    sink.close()


@asynccontextmanager
async def serve_proxy(credentials: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy(credentials)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        assert await wait_until(lambda: not proxy.open), "a client left its connection open"
        await server.wait_closed()
