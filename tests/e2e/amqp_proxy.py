"""A proxy that knows where AMQP's frames end, and cuts its connections after one of them."""

import asyncio
from types import TracebackType
from typing import Self

HEADER = b"AMQP"
FRAME_HEAD, FRAME_END = 7, 1  # bytes before a frame's payload, and behind it


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame, or the protocol header. Raises IncompleteReadError at the end."""
    head = await reader.readexactly(FRAME_HEAD)
    if head.startswith(HEADER):
        return head + await reader.readexactly(1)
    return head + await reader.readexactly(int.from_bytes(head[3:7], "big") + FRAME_END)


class CuttingProxy:
    """
    `async with CuttingProxy(port, cut_after)`: listens on `port` of 127.0.0.1. Frames of both directions and all
    connections are counted; after that many, all connections are cut, once. None: never.
    """

    def __init__(self, broker_port: int, cut_after: int | None) -> None:
        self._broker_port = broker_port
        self._cut_after = cut_after
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.frames = 0
        self.port = 0
        self._silent: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def silence(self) -> None:
        """Swallow all further frames of the connections that are open now; nobody is told."""
        self._silent |= self._writers

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self._broker_port)
        self._writers |= {writer, to_there}
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._copy(reader, to_there), name="to the broker")
                ways.create_task(self._copy(there, writer), name="from the broker")
        except asyncio.CancelledError:
            pass  # the loop ends
        finally:
            for end in (writer, to_there):
                self._writers.discard(end)
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await read_frame(reader)
                if self.frames == self._cut_after:
                    self.frames += 1
                    self.cut()
                    return
                self.frames += 1
                if writer in self._silent:
                    continue
                writer.write(frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()
