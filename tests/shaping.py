"""A long, narrow way to a server: its bytes come late, and only so many a second. TLS passes through it end to end."""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

BLOCK = 16 * 1024  # bytes that travel together
IN_FLIGHT = 64  # blocks of one connection that have left and not arrived: a window of 1 MiB
BURST = 0.005  # seconds of the rate that may be caught up with, since timers ring late
MBIT = 1_000_000 / 8  # bytes


class Link:
    """
    One direction of the way, for all connections together: a token bucket of *rate* (bytes a second), and *delay*
    (seconds) from leaving to arriving.
    """

    def __init__(self, rate: float, delay: float) -> None:
        self.delay = delay
        self.carried = 0  # bytes so far
        self._rate = rate
        self._free = 0.0

    def leave(self, size: int, now: float) -> float:
        """*size* bytes queue up at *now*; when the last of them has left."""
        self.carried += size
        self._free = max(self._free, now - BURST) + size / self._rate
        return self._free


class Shaper:
    """
    `with Shaper(url) as shaper`: what connects to `shaper.endpoint` is connected to the server of *url* (of the same
    scheme). *round_trip* (seconds) is added to every call, a half each way: to each TLS handshake, too, but not to the
    TCP handshake, which ends here. *rate* (bytes a second) is each direction's, for all connections together.
    """

    def __init__(self, url: str, *, round_trip: float = 0.03, rate: float = 100 * MBIT) -> None:
        parts = urlsplit(url)
        self._scheme, self._upstream = parts.scheme, (parts.hostname, parts.port)
        self.up, self.down = Link(rate, round_trip / 2), Link(rate, round_trip / 2)
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shaper", daemon=True)
        self._running: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=BLOCK)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.endpoint = f"{self._scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self.connections += 1
        # A cancelled handler ends quietly: the shaper is closing, and asyncio would report the cancellation.
        with suppress(OSError, asyncio.CancelledError, ExceptionGroup):
            there, back = await asyncio.open_connection(*self._upstream, limit=BLOCK)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_forward(reader, back, self.up), name="up")
                    both.create_task(_forward(there, writer, self.down), name="down")
            finally:
                back.transport.abort()
        writer.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
    """Carry all bytes, and the end after them; an OSError of either side is raised."""
    clock = asyncio.get_running_loop().time
    flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)

    async def arrive() -> None:
        while True:
            due, block = await flying.get()
            await asyncio.sleep(due - clock())
            if not block:
                writer.write_eof()
                return
            writer.write(block)
            await writer.drain()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(arrive(), name="arrive")
        block = b"-"
        while block:
            block = await reader.read(BLOCK)
            left = link.leave(len(block), clock())
            await flying.put((left + link.delay, block))
            await asyncio.sleep(left - clock())
