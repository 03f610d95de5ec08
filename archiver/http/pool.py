"""HTTP/1.1 connection pool: keep-alive, bodies received directly into the caller's buffers, one clock for timeouts."""

import asyncio
import math
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from archiver.errors import ConfigurationError, TransferInterrupted
from archiver.http.connection import Borrower, Connection
from archiver.http.dns import Dialer, DnsCache
from archiver.http.exchange import HttpRequest, HttpResponse, StaleConnectionError, TickTimeouts
from archiver.http.proxy import Proxies, Proxy
from archiver.http.stream import Stream, start_tls
from archiver.http.tls import certificate_error, error_name

_MAX_CONNECT_ATTEMPTS = 3


class Origin(NamedTuple):
    """Scheme, host and port of a server. Connections to the same origin are interchangeable."""

    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """
    Timeouts in seconds, and limits.

    - *connect*: for the name lookup, for the connection to each address, and for TLS (at most three attempts).
    - *tunnel*: for a proxy's response to CONNECT, and TLS through it.
    - *response*: from the request to the end of the response head.
    - *stall*: without a byte of the body. Each *window* of a body must also bring *window_bytes* bytes.
    - *idle*: for a kept connection.
    - *connections*: maximum of kept and used connections together; kept ones are closed to stay within it.
    - *dns_ttl*: for which addresses are cached.
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
        """The period of the clock in seconds: a quarter of the shortest timeout, at most 1."""
        return min(1.0, min(self.response, self.stall, self.window, self.idle) / 4)

    def in_ticks(self) -> TickTimeouts:
        """Convert to ticks."""
        response, stall, window, idle = (
            math.ceil(seconds / self.tick) for seconds in (self.response, self.stall, self.window, self.idle)
        )
        return TickTimeouts(response, stall, window, self.window_bytes, idle)


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """
    Create a TLS context that trusts the certificates in the file *ca_bundle*, or the system's. Raises OSError.

    Private certificate authorities often violate RFC 5280. Python 3.13 checks it strictly by default, the SDK does not;
    so the strict check is off.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _Route(NamedTuple):
    """The host to connect to: the origin's, or a proxy's. *tls*: whether it uses TLS. *context*: for all TLS."""

    proxy: Proxy | None
    host: str
    port: int
    tls: bool
    context: ssl.SSLContext | None

    def __str__(self) -> str:
        return str(self.proxy or self.host)


class HttpPool:
    """
    Keeps connections for each origin and reuses the most recently used one first. *proxies* decides which requests go
    through a proxy. The caller limits the number of concurrent requests.

    Memory: about 50 KiB for each connection, 140 KiB with TLS; 64 KiB for each error's body. Other bodies are in the
    caller's views.
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
        self._active_requests = 0  # each has its own connection, or is opening one
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(self, origin: Origin, request: HttpRequest) -> HttpResponse:
        """
        Send *request* once. Only if a kept connection turns out to be closed, it is sent again on a new one; not a
        POST, which the server may have acted on (RFC 9110, section 9.2.2).

        Raises TransferInterrupted, ConfigurationError (the CA bundle can't be read, a certificate is refused, a proxy
        refuses access), and the errors of the request's *check*.
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
                except StaleConnectionError as error:
                    if request.method == "POST":
                        raise TransferInterrupted("connection lost before the response") from error
            self._evict_idle()
            connection = await self._connect(origin)
            return await self._exchange(connection, request)
        finally:
            self._active_requests -= 1
            if connection is not None:
                self._keep(origin, connection)

    def reaches_directly(self, origin: Origin) -> bool:
        """Whether requests to *origin* need no other form, as they do where a proxy forwards them."""
        return origin.tls or self._proxy(origin) is None

    async def lend(self, origin: Origin, borrower: Borrower) -> None:
        """Lend a connection to *origin*, kept or new. Raises TransferInterrupted, ConfigurationError."""
        connection = self._acquire(origin)
        self._active_requests += 1
        try:
            if connection is None:
                self._evict_idle()
                connection = await self._connect(origin)
            await connection.lend(borrower)
        finally:
            self._active_requests -= 1
            if connection is not None:
                self._keep(origin, connection)

    def _keep(self, origin: Origin, connection: Connection) -> None:
        """Keep *connection* if it can take another request; one that is still in use was cancelled."""
        if connection.usable:
            self._idle.setdefault(origin, []).append(connection)
            self._evict_idle()
        else:
            connection.abort()

    def _evict_idle(self) -> None:
        """Close kept connections, the longest kept of each origin first, until the limit is met."""
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
        """Close all connections, also those of running requests."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle.clear()
        for connection in list(self._connections):
            connection.end("the pool was closed")

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
        problem = "the pool was closed"
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
                    break  # all addresses were tried
                try:
                    async with asyncio.timeout(self._limits.tunnel if route.proxy else self._limits.connect):
                        return await self._open(origin, sock, route)
                except ssl.SSLCertVerificationError as error:
                    raise certificate_error(f"{origin.host}{via}", error) from error
                except OSError as error:
                    problem = error_name(error)
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
        stream = Stream(sock)  # closed by what fails below
        if route.proxy and route.context and origin.tls:
            stream = await route.proxy.tunnel(stream, (origin.host, origin.port), route.context)
            stream = await start_tls(stream, route.context, origin.host)
        elif route.tls and route.context:
            stream = await start_tls(stream, route.context, route.host)
        if self._closed:
            stream.close()
            raise ConnectionAbortedError
        connection = Connection(stream, self._connections.discard)
        self._connections.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.tick, self._on_tick)
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
