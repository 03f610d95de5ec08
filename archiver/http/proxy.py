"""HTTP proxies from the environment: a tunnel (CONNECT) to https origins, absolute-form requests to http ones."""

import os
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from archiver.errors import ArchiverError, ConfigurationError, TransferInterrupted
from archiver.http.parse import Head, ProtocolError, parse_head
from archiver.http.stream import Stream, start_tls

DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_HEAD = 32 * 1024
_MAX_CACHED = 4096
_AUTH_REQUIRED = 407  # Proxy Authentication Required
_GATEWAY_ERRORS = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    One proxy. *variable*: the environment variable that contains its URL. *tls*: whether the proxy itself uses TLS.
    *authorization*: the value of Proxy-Authorization. `str()` returns a name without user and password.
    """

    variable: str
    tls: bool
    host: str
    port: int
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port} ({self.variable})"

    def refusal(self, status: int, host: str) -> ArchiverError:
        """Return the error for *status*, with which the proxy itself refused a request to *host*."""
        if status == _AUTH_REQUIRED:
            given = "refuses the user and password" if self.authorization else "requires a user and a password"
            remedy = f"put both into {self.variable}, percent-encoded: http://USER:PASSWORD@{self.host}:{self.port}"
            return ConfigurationError(f"{self} {given} (status {status}): {remedy}")
        remedy = f"allow {host} in the proxy, or add it to NO_PROXY if it can be reached directly"
        return TransferInterrupted(f"{self} does not connect to {host} (status {status}): {remedy}")

    @property
    def _authorization_line(self) -> str:
        return f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""

    def to_absolute_form(self, head: bytes, host: str, port: int) -> bytes:
        """Return *head*, of a request to an http origin, with its target in absolute form (RFC 9112, 3.2.2)."""
        method, rest = head.split(b" ", 1)
        line, fields = rest.split(b"\r\n", 1)
        origin = f"http://{authority(host, port, DEFAULT_PORTS['http'])}"
        return b"%s %s%s\r\n%s%s" % (method, origin.encode(), line, self._authorization_line.encode(), fields)

    def proxy_refusal(self, head: Head, body: bytes, method: str, host: str) -> ArchiverError | None:
        """Return the error if the proxy itself sent the response to a forwarded request; None if the origin did."""
        if head.status == _AUTH_REQUIRED or (head.status in _GATEWAY_ERRORS and b"x-amz-request-id" not in head.fields):
            return self.refusal(head.status, host)
        if head.status == 403 and method != "HEAD" and b"<Error" not in body:  # noqa: PLR2004 - not S3's
            return self.refusal(head.status, host)
        return None

    async def tunnel(self, stream: Stream, to: tuple[str, int], context: ssl.SSLContext) -> Stream:
        """
        Open a tunnel to *to* (host and port) through *stream*, which is connected to the proxy. Return the stream to
        use from then on. *context*: for a proxy that uses TLS. *stream* is closed on errors.

        Raises ConfigurationError or TransferInterrupted if the proxy refuses; OSError.
        """
        target = authority(*to)
        request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{self._authorization_line}\r\n"
        if self.tls:
            stream = await start_tls(stream, context, self.host)
        try:
            self._check_connected(await _exchange(stream, request.encode()), target)
        except BaseException:
            stream.close()
            raise
        return stream

    def _check_connected(self, block: bytes, target: str) -> None:
        """Check *block*, the response head to CONNECT *target*. Raises the error that it represents."""
        try:
            head = parse_head(block)
        except ProtocolError as error:
            raise TransferInterrupted(f"{self} does not speak HTTP: {error}") from error
        if not 200 <= head.status < 300:  # noqa: PLR2004
            raise self.refusal(head.status, target)


async def _exchange(stream: Stream, request: bytes) -> bytes:
    """Send *request* and return the response head, at most 32 KiB of it."""
    received = bytearray()
    await stream.send(request)
    while b"\r\n\r\n" not in received and len(received) <= _MAX_HEAD:
        data = await stream.receive()
        if not data:
            raise ConnectionResetError("the proxy closed the connection")
        received += data
    return bytes(received[: received.find(b"\r\n\r\n") + 4])


class Proxies:
    """
    The proxies of the environment, by the same rules as the SDK: HTTPS_PROXY for https origins, HTTP_PROXY for http
    ones, NO_PROXY for hosts that are reached directly. A lower-case name has precedence over the same in capitals.
    """

    def __init__(self) -> None:
        self._urls = getproxies()
        self._known: dict[tuple[str, str, int], Proxy | None] = {}

    def for_origin(self, scheme: str, host: str, port: int) -> Proxy | None:
        """
        Return the proxy for an origin; None if there is none. Raises ConfigurationError if the proxy's URL is invalid.
        """
        known = (scheme, host, port)
        if known not in self._known:
            if len(self._known) >= _MAX_CACHED:  # hosts contain bucket names, which come from requests
                self._known.clear()
            url = self._urls.get(scheme)
            bypassed = not url or proxy_bypass(authority(host, port, DEFAULT_PORTS[scheme]), self._urls)
            self._known[known] = None if bypassed else read_proxy(environment_variable(scheme), str(url))
        return self._known[known]


def proxy_error_from_sdk(message: str, status: int, host: str) -> ArchiverError | None:
    """
    Return the error behind an SDK error whose *message* contains a proxy's URL, or that has the *status* of a response
    to a forwarded request. *status* 0: the proxy was not reached. None if the environment has no such proxy.
    """
    known = [
        read_proxy(environment_variable(scheme), url) for scheme, url in getproxies().items() if scheme in DEFAULT_PORTS
    ]
    named = [proxy for proxy in known if f"{proxy.host}:{proxy.port}" in message] or known
    if not named:
        return None
    return named[0].refusal(status, host) if status else TransferInterrupted(f"no connection to {named[0]}")


def environment_variable(scheme: str) -> str:
    """Return the name of the environment variable with the proxy for *scheme*."""
    name = f"{scheme}_proxy"
    if os.environ.get(name):
        return name
    return next((given for given in os.environ if given.lower() == name), name.upper())


def read_proxy(variable: str, url: str) -> Proxy:
    """Parse *url*, the value of *variable*. Raises ConfigurationError, which does not contain the value."""
    scheme, _, rest = url.partition("://") if "://" in url else ("http", "", url.removeprefix("//"))
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port or DEFAULT_PORTS.get(scheme.lower(), 0)
    except ValueError:
        raise ConfigurationError(f"{variable}: it has no valid port: write http://HOST:PORT") from None
    if scheme.lower() not in DEFAULT_PORTS:
        message = (
            f"{variable}: proxies of the kind {scheme[:20]!a} are not supported: write http://HOST:PORT, or unset it"
        )
        raise ConfigurationError(message)
    if not parts.hostname:
        raise ConfigurationError(f"{variable}: it has no host: write http://HOST:PORT")
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(variable, scheme.lower() == "https", parts.hostname, port, authorization)


def authority(host: str, port: int, default: int | None = None) -> str:
    """Return *host* and *port* as written in a URL. A *default* port is omitted."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == default else f"{shown}:{port}"
