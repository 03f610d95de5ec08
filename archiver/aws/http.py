"""A small HTTP/1.1 client for reads: kept connections, bodies received into their final place, one clock for all."""

import asyncio
import math
import socket
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.aws.http_connection import Connection
from archiver.aws.http_exchange import Answer, Patience, Request, StaleError
from archiver.errors import ConfigurationFault, Interrupted

_TRIED_ADDRESSES = 3
_MAX_NAMES = 256


class Origin(NamedTuple):
    """Where connections go; those to one origin are interchangeable."""

    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Seconds, where nothing else is said. *connect*: looking up a name, and again for each of at most three addresses,
    TLS included; *answer*: from the request to the end of the answer's head; *stall*: a body without a byte;
    every *window* of a body must bring *window_bytes*; *idle*, *idle_connections*: what is kept for later.
    """

    connect: float = 4.0
    answer: float = 30.0
    stall: float = 20.0
    window: float = 20.0
    window_bytes: int = 16 * 1024
    idle: float = 15.0
    idle_connections: int = 128
    names: float = 5.0

    @property
    def tick(self) -> float:
        """The period of the clock: a quarter of the shortest time that it measures, at most a second."""
        return min(1.0, min(self.answer, self.stall, self.window, self.idle) / 4)

    def patience(self) -> Patience:
        """The same in ticks."""
        answer, stall, window, idle = (
            math.ceil(seconds / self.tick) for seconds in (self.answer, self.stall, self.window, self.idle)
        )
        return Patience(answer, stall, window, self.window_bytes, idle)


@dataclass(slots=True)
class _Name:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    addresses: list[str] = field(default_factory=list)
    expires: float = 0.0
    turn: int = 0


class Names:
    """Addresses of hosts: asked for once for all who wait, kept for *keep* seconds, used in turn."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._names: dict[tuple[str, int], _Name] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """At least one address, the one whose turn it is first. Raises OSError, UnicodeError."""
        if len(self._names) >= _MAX_NAMES:
            self._names = {at: name for at, name in self._names.items() if name.lock.locked()}
        name = self._names.setdefault((host, port), _Name())
        loop = asyncio.get_running_loop()
        async with name.lock:
            if loop.time() >= name.expires:
                try:
                    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                    name.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
                except OSError:
                    if not name.addresses:  # else yesterday's truth is better than none
                        raise
                name.expires = loop.time() + self._keep
        name.turn += 1
        first = name.turn % len(name.addresses)
        return name.addresses[first:] + name.addresses[:first]


class HttpPool:
    """
    Kept connections by origin, the latest used first. How many requests run at once is the caller's affair.

    Memory: 32 KiB for each connection, 64 KiB for each error's body; bodies are in the caller's views.
    """

    def __init__(self, limits: Limits, ca_bundle: str | None = None) -> None:
        self._limits = limits
        self._patience = limits.patience()
        self._ca_bundle = ca_bundle
        self._tls: ssl.SSLContext | None = None
        self._names = Names(limits.names)
        self._connections: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(self, origin: Origin, request: Request) -> Answer:
        """
        One attempt; only a kept connection that turns out to be closed is replaced by a fresh one, once.

        Raises Interrupted, ConfigurationFault (the CA bundle can't be read), and what the request's *check* raises.
        """
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._exchange(origin, connection, request)
            except StaleError:
                pass
        return await self._exchange(origin, await self._connect(origin), request)

    async def close(self) -> None:
        """End every connection, running requests included, and wait until their sockets are closed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.end("closed on our side")
        await asyncio.gather(*[connection.lost for connection in connections])

    async def _exchange(self, origin: Origin, connection: Connection, request: Request) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:  # cancelled, too
            connection.abort()
            raise
        if connection.usable:
            if sum(map(len, self._idle.values())) < self._limits.idle_connections:
                self._idle.setdefault(origin, []).append(connection)
            else:
                connection.abort()
        return answer

    def _take(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, origin: Origin) -> Connection:
        limits = self._limits
        problem = "closed on our side"
        if not self._closed:
            try:
                async with asyncio.timeout(limits.connect):
                    addresses = await self._names.addresses(origin.host, origin.port)
            except (OSError, UnicodeError) as error:
                raise Interrupted(f"no address for {origin.host}: {type(error).__name__}") from error
            for address in addresses[:_TRIED_ADDRESSES]:
                try:
                    async with asyncio.timeout(limits.connect):
                        return await self._open(origin, address)
                except ssl.SSLCertVerificationError as error:
                    problem = f"certificate refused: {error.verify_message}"
                except OSError as error:
                    problem = type(error).__name__
        raise Interrupted(f"no connection to {origin.host}: {problem}")

    async def _open(self, origin: Origin, address: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._connections.discard),
            address,
            origin.port,
            ssl=self._context() if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        if self._closed or not connection.usable:  # already hung up on
            connection.abort()
            raise ConnectionAbortedError
        self._connections.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.tick, self._tick)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            try:
                self._tls = ssl.create_default_context(cafile=self._ca_bundle)
            except OSError as error:
                raise ConfigurationFault(f"no certificates in {self._ca_bundle}: {type(error).__name__}") from error
        return self._tls

    def _tick(self) -> None:
        for connection in list(self._connections):
            connection.tick(self._patience)
        for origin, kept in list(self._idle.items()):
            kept[:] = [connection for connection in kept if connection.usable]
            if not kept:
                del self._idle[origin]
        self._timer = None
        if self._connections:
            self._timer = asyncio.get_running_loop().call_later(self._limits.tick, self._tick)
