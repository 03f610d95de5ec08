"""
One connection to a broker: opened when it is needed, and anew after a loss.

The client's own reconnecting is not used: it would reopen channels whose messages belong to others by then.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import gethostname
from typing import TYPE_CHECKING

import aio_pika
from aio_pika.exceptions import AMQPError

from archiver.amqp.decoding import install
from archiver.amqp.faults import connecting_error, map_errors
from archiver.errors import TransientError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel
    from aio_pika.connection import Connection as OpenConnection
    from aiormq.abc import AbstractChannel as WireChannel
    from aiormq.abc import AbstractConnection as WireConnection

CONNECT_TIMEOUT = 15.0  # seconds, TLS and login included
CALL_TIMEOUT = 10.0  # seconds
PATIENCE = 30.0  # seconds; longer than a lease, so that a broker that is slow costs no job its message
HEARTBEAT = 60
"""Seconds, RabbitMQ's default: it redelivers the messages of a silent connection no sooner. Leases are shorter."""

MAX_CHANNELS = 65_535  # of the protocol
MAX_FRAME = 131_072  # bytes, RabbitMQ's default
_CONTROL, _FIRST = 1, 2
"""Numbers of channels. The first is kept for round trips: jobs that have all others must not lose their connection."""

install()


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's address. *tls*: None for a plain connection."""

    host: str
    port: int
    vhost: str
    username: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Channel:
    """An open channel: *wire* is the client's lower half, which leaves properties as they were sent."""

    upper: "AbstractChannel"
    wire: "WireChannel"

    @property
    def is_closed(self) -> bool:
        return self.wire.is_closed

    async def confirm(self, seconds: float = CALL_TIMEOUT) -> None:
        """Return once the broker has processed all that was sent on this channel. Raises the client's errors."""
        await self.wire.basic_qos(prefetch_count=0, timeout=seconds)

    async def close(self) -> None:
        """Close it; what it has brought and is not settled is redelivered. Raises the client's errors."""
        async with asyncio.timeout(CALL_TIMEOUT):
            await self.upper.close()


class Connection:
    """
    *purpose* is part of the name that the broker shows. *patience*: seconds without an answer after which the
    connection is given up.
    """

    def __init__(self, address: Address, purpose: str, patience: float = PATIENCE) -> None:
        self.address = address
        self._patience = patience
        self._name = f"archiver {purpose} {gethostname()}"
        self._open: OpenConnection | None = None
        self._lock = asyncio.Lock()
        self._control: Channel | None = None
        self._round_trip: asyncio.Task[None] | None = None

    async def connect(self) -> str:
        """Connect, unless connected. Return the broker's version. Raises TransientError, ConfigurationError."""
        async with self._lock:
            if self._open is None or not self._open.connected.is_set():
                await self._drop()
                self._open = await self._connect()
            return str(self._wire().server_properties.get("version", "of an unknown version"))

    async def channel(self, on_close: Callable[[], None] = lambda: None, *, confirms: bool = False) -> Channel:
        """
        Open a channel. *on_close* is called when it is closed, by whomever. *confirms*: publishing waits for the
        broker's confirmation, and returned messages are errors. Raises TransientError, ConfigurationError.
        """
        return await self._channel(_FIRST, CALL_TIMEOUT, on_close, confirms=confirms)

    async def _channel(
        self, first: int, seconds: float, on_close: Callable[[], None] = lambda: None, *, confirms: bool = False
    ) -> Channel:
        await self.connect()
        async with self._lock:
            number = self._free_number(first)
            if self._open is None:
                raise TransientError("the connection was closed")
            with map_errors("opening a channel"):
                async with asyncio.timeout(seconds):
                    upper = self._open.channel(number, confirms, on_return_raises=confirms)
                    await upper.initialize()
                    wire = await upper.get_underlay_channel()
            upper.close_callbacks.add(lambda *_: on_close())
        if wire.is_closed:  # before the callback was there
            on_close()
        return Channel(upper, wire)

    @property
    def frame_max(self) -> int:
        """Bytes of a frame, at most, while connected."""
        return self._wire().connection_tune.frame_max or MAX_FRAME

    async def prove(self) -> None:
        """
        Return once the broker has answered on this connection; one that does not answer is given up. Calls share a
        round trip, and cancelling one does not end it. Raises TransientError, ConfigurationError.
        """
        await asyncio.shield(self.doubt())

    def doubt(self) -> "asyncio.Task[None]":
        """Begin to find out whether the broker answers, unless that is under way."""
        if self._round_trip is None or self._round_trip.done():
            self._round_trip = asyncio.create_task(self._prove(), name="amqp.prove")
            self._round_trip.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._round_trip

    async def is_blocked(self) -> bool:
        """Whether the broker has told that it takes no messages from this connection."""
        if self._open is None or self._open.transport is None or not self._open.connected.is_set():
            return False
        try:
            async with asyncio.timeout(0.01):
                await self._open.transport.ready()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """Close it; the broker redelivers the messages that it brought and that were not settled."""
        if self._round_trip is not None:
            self._round_trip.cancel()
            await asyncio.wait([self._round_trip])
        async with self._lock:
            await self._drop()

    async def _prove(self) -> None:
        try:
            if self._control is None or self._control.is_closed:
                self._control = await self._channel(_CONTROL, self._patience)
            with map_errors("the broker's answer"):
                await self._control.confirm(self._patience)
        except TransientError:
            # The client itself would wait for three minutes.
            async with self._lock:
                await self._drop()
            raise

    async def _connect(self) -> "OpenConnection":
        there = self.address
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await aio_pika.connect(
                    host=there.host,
                    port=there.port,
                    login=there.username,
                    password=there.password,
                    virtualhost=there.vhost,
                    ssl=there.tls is not None,
                    ssl_context=there.tls,
                    heartbeat=HEARTBEAT,
                    client_properties={"connection_name": self._name},
                )
        except (AMQPError, OSError, RuntimeError, ValueError) as error:
            raise connecting_error(error, str(there), there.username, there.vhost) from error

    async def _drop(self) -> None:
        """Forget the connection; one that does not close in time is left to its heartbeat."""
        gone, self._open, self._control = self._open, None, None
        if gone is not None:
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    await gone.close()
            except (AMQPError, OSError, RuntimeError):
                pass

    def _wire(self) -> "WireConnection":
        if self._open is None or self._open.transport is None:
            raise TransientError("the connection was closed")
        return self._open.transport.connection

    def _free_number(self, first: int) -> int:
        """Return the number of the next channel: those that the client chooses grow beyond what the broker allows."""
        wire = self._wire()
        most = wire.connection_tune.channel_max or MAX_CHANNELS
        number = next((number for number in range(first, most + 1) if number not in wire.channels), None)
        if number is None:
            advice = "raise the broker's channel_max, or lower MAX_CONCURRENT_JOBS and MAX_PARKED_JOBS"
            raise TransientError(f"all {most} channels of the connection are in use: {advice}")
        return number
