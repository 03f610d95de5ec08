"""A small HTTP/1.1 client for reads: kept connections, bodies received into their final place, one clock for all."""

import asyncio
import math
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

from archiver.errors import ConfigurationError, TransferInterrupted
from archiver.http.connection import Connection
from archiver.http.dns import Dialer, DnsCache
from archiver.http.exchange import HttpRequest, HttpResponse, StaleConnectionError, TickTimeouts
from archiver.http.proxy import Proxies, Proxy
from archiver.http.tls import certificate_error

_MAX_CONNECT_ATTEMPTS = 3


class Origin(NamedTuple):
    """Where connections go; those to one origin are interchangeable."""

    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """
    Seconds, where nothing else is said. *connect*: looking up a name, connecting to each of its addresses, and again
    TLS (at most three times); *tunnel*: a proxy's answer and TLS behind it; *response*: from the request to the end of
    the answer's head; *stall*: a body without a byte; every *window* of a body must bring *window_bytes*; *idle*: what
    is kept for later; *connections*: how many there are, in use or kept, unless more are in use; *dns_ttl*: how long
    addresses are kept.
    """

    connect: float = 4.0
    tunnel: float = 10.0
    response: float = 30.0
    stall: float = 20.0
    window: float = 20.0
    window_bytes: int = 16 * 1024
    idle: float = 15.0
    connections: int = 128
    dns_ttl: float = 5.0

    @property
    def tick(self) -> float:
        """The period of the clock: a quarter of the shortest time that it measures, at most a second."""
        return min(1.0, min(self.response, self.stall, self.window, self.idle) / 4)

    def in_ticks(self) -> TickTimeouts:
        """The same in ticks."""
        response, stall, window, idle = (
            math.ceil(seconds / self.tick) for seconds in (self.response, self.stall, self.window, self.idle)
        )
        return TickTimeouts(response, stall, window, self.window_bytes, idle)


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """
    What TLS servers are held against: the certificates in the file *ca_bundle*, or the system's. Raises OSError.

    Authorities of companies' own seldom keep to all of RFC 5280: Python 3.13 insists on it, the SDK does not.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _Route(NamedTuple):
    """Where a connection is opened to, the origin's host or a proxy's; *tls*: spoken there; *context*: for all TLS."""

    proxy: Proxy | None
    host: str
    port: int
    tls: bool
    context: ssl.SSLContext | None

    def __str__(self) -> str:
        return str(self.proxy or self.host)


class HttpPool:
    """
    Kept connections by origin, the latest used first, through *proxies* where these say so. How many requests run at
    once is the caller's affair.

    Memory: about 50 KiB for each connection, 370 KiB with TLS, of which asyncio reads into 256; 64 KiB for each error's
    body. Bodies are in the caller's views.
    """

    def __init__(
        self,
        limits: HttpTimeouts,
        ca_bundle: str | None = None,
        proxies: Proxies | None = None,
        names: DnsCache | None = None,
    ) -> None:
        self._limits = limits
        self._tick_timeouts = limits.in_ticks()
        self._ca_bundle = ca_bundle
        self._proxies = proxies
        self._dns_cache = names or DnsCache(limits.dns_ttl)
        self._dialer = Dialer(self._dns_cache, limits.connect)
        self._connections: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._active_requests = 0  # requests under way, each with a connection of its own or on its way to one
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(self, origin: Origin, request: HttpRequest) -> HttpResponse:
        """
        One attempt; only a kept connection that turns out to be closed is replaced by a fresh one, once.

        Raises TransferInterrupted, ConfigurationError (the CA bundle can't be read, a certificate is refused, a proxy
        refuses us), and what the request's *check* raises.
        """
        proxy = self._proxy(origin)
        if proxy is None or origin.tls:
            return await self._attempt(origin, request)
        head = proxy.to_absolute_form(request.head, origin.host, origin.port)
        response = await self._attempt(origin, request._replace(head=head))
        refusal = proxy.proxy_refusal(response.head, response.body, request.method, origin.host)
        if refusal is not None:
            raise refusal
        return response

    async def _attempt(self, origin: Origin, request: HttpRequest) -> HttpResponse:
        connection = self._acquire(origin)
        self._active_requests += 1
        try:
            if connection is not None:
                try:
                    return await self._exchange(connection, request)
                except StaleConnectionError:
                    pass
            self._evict_idle()
            connection = await self._connect(origin)
            return await self._exchange(connection, request)
        finally:
            self._active_requests -= 1
            if connection is not None and connection.usable:
                self._idle.setdefault(origin, []).append(connection)
                self._evict_idle()

    def _evict_idle(self) -> None:
        """End kept connections, the longest kept of each origin first, until there are as few as may be."""
        excess = self._active_requests + sum(map(len, self._idle.values())) - self._limits.connections
        for pooled in self._idle.values():
            while pooled and excess > 0:
                pooled.pop(0).abort()
                excess -= 1

    def _proxy(self, origin: Origin) -> Proxy | None:
        if self._proxies is None:
            return None
        return self._proxies.for_origin("https" if origin.tls else "http", origin.host, origin.port)

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

    async def _exchange(self, connection: Connection, request: HttpRequest) -> HttpResponse:
        try:
            return await connection.exchange(request)
        except BaseException:  # cancelled, too
            connection.abort()
            raise

    def _acquire(self, origin: Origin) -> Connection | None:
        pooled = self._idle.get(origin)
        while pooled:
            connection = pooled.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, origin: Origin) -> Connection:
        route = self._route(origin)
        via = f" through {route.proxy}" if route.proxy else ""
        problem = "closed on our side"
        if not self._closed:
            try:
                async with asyncio.timeout(self._limits.connect):
                    addresses = await self._dns_cache.addresses(route.host, route.port)
            except (OSError, UnicodeError) as error:
                raise TransferInterrupted(f"no address for {route}: {type(error).__name__}") from error
            for _ in range(min(_MAX_CONNECT_ATTEMPTS, len(addresses))):
                try:
                    sock, address = await self._dialer.dial(addresses)
                except OSError as error:
                    problem = type(error).__name__
                    break  # none is left that was not tried
                try:
                    async with asyncio.timeout(self._limits.tunnel if route.proxy else self._limits.connect):
                        return await self._open(origin, sock, route)
                except ssl.SSLCertVerificationError as error:
                    raise certificate_error(f"{origin.host}{via}", error) from error
                except OSError as error:
                    problem = type(error).__name__
                self._dns_cache.failed(address)
                addresses.remove(address)
        raise TransferInterrupted(f"no connection to {origin.host}{via}: {problem}")

    def _route(self, origin: Origin) -> "_Route":
        proxy = self._proxy(origin)
        if proxy is None:
            return _Route(None, origin.host, origin.port, origin.tls, self._context() if origin.tls else None)
        tls = origin.tls or proxy.tls
        return _Route(proxy, proxy.host, proxy.port, proxy.tls, self._context() if tls else None)

    async def _open(self, origin: Origin, sock: socket.socket, route: "_Route") -> Connection:
        connection, loop = Connection(self._connections.discard), asyncio.get_running_loop()
        if route.proxy and route.context and origin.tls:
            tunnel = await route.proxy.tunnel(sock, (origin.host, origin.port), route.context)
            try:
                inner = await loop.start_tls(tunnel, connection, route.context, server_hostname=origin.host)
            except BaseException:
                tunnel.abort()
                raise
            connection.connection_made(cast("asyncio.Transport", inner))
        else:
            context, name = (route.context, route.host) if route.tls else (None, None)
            await loop.create_connection(lambda: connection, sock=sock, ssl=context, server_hostname=name)
        if self._closed or not connection.usable:  # already hung up on
            connection.abort()
            raise ConnectionAbortedError
        self._connections.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._limits.tick, self._on_tick)
        return connection

    def _context(self) -> ssl.SSLContext:
        try:
            return tls_context(self._ca_bundle)
        except OSError as error:
            raise ConfigurationError(f"no certificates in {self._ca_bundle}: {type(error).__name__}") from error

    def _on_tick(self) -> None:
        for connection in list(self._connections):
            connection.tick(self._tick_timeouts)
        for origin, pooled in list(self._idle.items()):
            pooled[:] = [connection for connection in pooled if connection.usable]
            if not pooled:
                del self._idle[origin]
        self._timer = None
        if self._connections:
            self._timer = asyncio.get_running_loop().call_later(self._limits.tick, self._on_tick)
