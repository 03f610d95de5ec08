"""Resolve host names and connect: alternating address families (RFC 8305), failed addresses last."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STAGGER = 0.25
"""Seconds between the starts of two concurrent connection attempts (RFC 8305, section 5)."""

FAILURE_MEMORY_SECONDS = 60.0
_MAX_NAMES = 256
_MAX_FAILURES = 1024
_MAX_ATTEMPTS = 16

Resolve = Callable[[str, int], Awaitable[Sequence[tuple[Any, ...]]]]
"""As `getaddrinfo`: returns (family, type, protocol, canonical name, socket address) for each address."""


class Address(NamedTuple):
    """An address to connect to. *at*: the socket address, in the format of the socket module."""

    family: int
    at: tuple[Any, ...]


@dataclass(slots=True)
class _DnsEntry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    addresses: list[Address] = field(default_factory=list)
    expires: float = 0.0
    turn: int = 0


async def getaddrinfo(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The resolver of the system, in a thread."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class DnsCache:
    """
    Caches the addresses of hosts for *keep* seconds. Concurrent callers share one lookup. While the resolver fails, or
    does not answer for *timeout* seconds, the last known addresses stay in use. An address that failed is tried last
    for *remember* seconds.
    """

    def __init__(
        self,
        keep: float,
        timeout: float = 2.0,
        resolve: Resolve = getaddrinfo,
        remember: float = FAILURE_MEMORY_SECONDS,
    ) -> None:
        self._ttl = keep
        self._timeout = timeout
        self._resolve = resolve
        self._failure_memory = remember
        self._names: dict[tuple[str, int], _DnsEntry] = {}
        self._failures: dict[Address, float] = {}

    async def addresses(self, host: str, port: int) -> list[Address]:
        """
        Return at least one address, in the order in which to try them. The families alternate, starting with the
        resolver's first (RFC 8305, section 4). Within a family the addresses rotate with each call. Addresses that
        failed recently come last.

        Raises OSError, UnicodeError.
        """
        if len(self._names) >= _MAX_NAMES:
            self._names = {at: name for at, name in self._names.items() if name.lock.locked()}
        name = self._names.setdefault((host, port), _DnsEntry())
        async with name.lock:
            if asyncio.get_running_loop().time() >= name.expires:
                await self._refresh(name, host, port)
        name.turn += 1
        return self._sort_by_failure(_interleave_families(name.addresses, name.turn))

    async def _refresh(self, name: _DnsEntry, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(self._timeout if name.addresses else None):
                found = await self._resolve(host, port)
            name.addresses = list(dict.fromkeys(Address(entry[0], entry[4]) for entry in found))
        except OSError:
            if not name.addresses:  # else the last known addresses are used
                raise
        name.expires = asyncio.get_running_loop().time() + self._ttl

    def failed(self, address: Address) -> None:
        """Record a failure of *address*: it is tried last for a while."""
        now = asyncio.get_running_loop().time()
        self._failures.pop(address, None)  # so that the dict is ordered by the latest failure
        if len(self._failures) >= _MAX_FAILURES:
            self._failures = {at: until for at, until in self._failures.items() if until > now}
        self._failures[address] = now + self._failure_memory

    def _sort_by_failure(self, addresses: Sequence[Address]) -> list[Address]:
        """Return those that did not fail recently, then those that did, the earliest failure first."""
        now = asyncio.get_running_loop().time()
        return sorted(addresses, key=lambda at: until if (until := self._failures.get(at, 0.0)) > now else 0.0)


def _interleave_families(addresses: Iterable[Address], turn: int) -> list[Address]:
    """Return *addresses* with alternating families, each family rotated by *turn*."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    turned = [family[turn % len(family) :] + family[: turn % len(family)] for family in families.values()]
    longest = max(map(len, turned), default=0)
    return [family[n] for n in range(longest) for family in turned if n < len(family)]


class Dialer:
    """Connects to the first of several addresses that accepts. Each attempt has *timeout* seconds."""

    def __init__(self, names: DnsCache, timeout: float, stagger: float = STAGGER) -> None:
        self._names = names
        self._timeout = timeout
        self._stagger = stagger

    async def dial(self, addresses: Sequence[Address]) -> tuple[socket.socket, Address]:
        """
        Return a connected socket and its address. The next address is tried whenever one fails, and after each
        *stagger* seconds. The first to connect is used. Earlier attempts without a result count as failed.

        Raises OSError (the last failure) if no address connects.
        """
        pending = list(addresses[:_MAX_ATTEMPTS])
        running: dict[asyncio.Task[socket.socket], Address] = {}  # in order of start
        problem: BaseException = ConnectionError("no address")
        try:
            while pending or running:
                if pending:
                    task = asyncio.create_task(self._connect(pending[0]), name="connect")
                    running[task] = pending.pop(0)
                timeout = self._stagger if pending else None
                await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                for task, address in [(task, at) for task, at in running.items() if task.done()]:
                    error = task.exception()
                    if error is None:
                        self._mark_silent_as_failed(running, task)
                    del running[task]
                    if error is None:
                        return task.result(), address
                    self._names.failed(address)
                    problem = error
        finally:
            await _cancel_attempts(running)
        raise problem

    def _mark_silent_as_failed(self, running: Mapping["asyncio.Task[socket.socket]", Address], winner: object) -> None:
        """Record a failure of each address whose attempt began before *winner* and has no result yet."""
        for task, address in running.items():
            if task is winner:
                return
            if not task.done():
                self._names.failed(address)

    async def _connect(self, address: Address) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().sock_connect(sock, address.at)
        except BaseException:
            sock.close()
            raise
        return sock


async def _cancel_attempts(running: Iterable["asyncio.Task[socket.socket]"]) -> None:
    """Cancel all attempts. Close the sockets of those that succeeded in the same moment."""
    tasks = list(running)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()
