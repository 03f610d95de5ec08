"""Names, addresses, and the race between them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from archiver.http.dns import Address, Dialer, DnsCache, Resolve
from archiver.http.pool import HttpPool, HttpTimeouts
from http_client.http_pair import SMALL, expect_interruption, open_files, request
from http_client.scripted_server import ServerAction, serve_scripts, wait_until

pytestmark = pytest.mark.usefixtures("plain_http")

V4, V6 = socket.AF_INET, socket.AF_INET6


def entries(*hosts: str, port: int = 80) -> list[tuple[Any, ...]]:
    """What a resolver says."""
    return [
        (V6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
        if ":" in host
        else (V4, socket.SOCK_STREAM, 6, "", (host, port))
        for host in hosts
    ]


class Resolver:
    """Says what is next in *answers*, the last one again and again; an exception is raised, None never ends."""

    def __init__(self, *answers: Sequence[tuple[Any, ...]] | Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[tuple[Any, ...]]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


async def hosts(names: DnsCache, host: str = "photos.example") -> list[str]:
    return [address.at[0] for address in await names.addresses(host, 80)]


async def test_addresses_are_kept_and_asked_for_once_by_all_who_wait() -> None:
    resolver = Resolver(entries("127.0.0.1"))
    names = DnsCache(keep=60, resolve=resolver)
    await asyncio.gather(*[hosts(names) for _ in range(5)])
    assert resolver.asked == 1


async def test_addresses_of_a_family_have_their_turn_and_the_families_keep_the_resolvers_order() -> None:
    names = DnsCache(keep=60, resolve=Resolver(entries("10.0.0.1", "10.0.0.2", "::1", "::2", "::3")))
    turns = [await hosts(names) for _ in range(6)]
    assert {turn[0] for turn in turns} == {"10.0.0.1", "10.0.0.2"}
    assert {turn[1] for turn in turns} == {"::1", "::2", "::3"}
    assert all([":" in host for host in turn] == [False, True, False, True, True] for turn in turns)


@pytest.mark.parametrize(
    ("remember", "order"), [(60, ["::1", "10.0.0.2", "10.0.0.1"]), (0, ["10.0.0.2", "::1", "10.0.0.1"])]
)
async def test_what_failed_is_tried_last_for_a_while(remember: float, order: list[str]) -> None:
    names = DnsCache(keep=60, remember=remember, resolve=Resolver(entries("10.0.0.1", "10.0.0.2", "::1")))
    for failed in ("10.0.0.2", "10.0.0.1"):
        names.failed(Address(V4, (failed, 80)))
    assert await hosts(names) == order


async def test_failures_that_are_remembered_are_bounded() -> None:
    names = DnsCache(keep=60, remember=0.0)
    for n in range(3000):
        names.failed(Address(V4, (f"10.0.{n >> 8}.{n & 255}", 80)))
    assert len(names._failures) <= 1025


@pytest.mark.parametrize("outage", [socket.gaierror("no"), None], ids=["fails", "says nothing"])
async def test_last_addresses_are_used_on_while_the_resolver_is_away(outage: Exception | None) -> None:
    resolver = Resolver(entries("10.0.0.1"), outage)
    names = DnsCache(keep=0.0, timeout=0.05, resolve=resolver)
    for _ in range(3):
        assert await hosts(names) == ["10.0.0.1"]
    assert resolver.asked == 3


async def test_new_addresses_replace_the_last_ones() -> None:
    names = DnsCache(keep=0.0, resolve=Resolver(entries("10.0.0.1"), socket.gaierror("no"), entries("10.0.0.2")))
    assert [await hosts(names) for _ in range(3)] == [["10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]]


async def test_name_that_was_never_known_has_no_last_addresses() -> None:
    names = DnsCache(keep=60, resolve=Resolver(socket.gaierror("no")))
    with pytest.raises(socket.gaierror):
        await hosts(names)


async def test_names_that_are_remembered_are_bounded() -> None:
    names = DnsCache(keep=60, resolve=Resolver(entries("10.0.0.1")))
    for n in range(600):
        await hosts(names, f"bucket-{n}.example")
    assert len(names._names) <= 256


@contextmanager
def silent(count: int, port: int) -> Iterator[list[str]]:
    """Addresses on this machine that drop whoever wants to connect to *port*, as a firewall does."""
    chosen = [f"127.0.0.{n + 11}" for n in range(count)]
    held: list[socket.socket] = []
    try:
        for host in chosen:
            listener = socket.socket()
            listener.bind((host, port))
            listener.listen(0)
            held.append(listener)
            for _ in range(2):  # more do not fit into its backlog
                waiting = socket.socket()
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
                held.append(waiting)
        yield chosen
    finally:
        for sock in held:
            sock.close()


@asynccontextmanager
async def pool_with(resolver: Resolve, **limits: float) -> AsyncIterator[tuple[HttpPool, DnsCache]]:
    names = DnsCache(keep=60, resolve=resolver)
    pool = HttpPool(HttpTimeouts(**limits), names=names)  # type: ignore[arg-type]
    try:
        yield pool, names
    finally:
        await pool.close()


async def test_one_good_address_behind_many_that_drop_everything_is_reached_and_found_first_from_then_on() -> None:
    before = open_files()
    async with serve_scripts([SMALL, ServerAction.CLOSE]) as server:
        with silent(3, server.port) as dead:
            resolver = Resolver(entries(*dead, "127.0.0.1", port=server.port))
            async with pool_with(resolver, connect=60.0) as (pool, names):
                for _ in range(4):
                    await pool.request(server.origin._replace(host="photos.example"), request(bytearray(10)))
                    assert await server.all_closed()
                assert (await hosts_of(names, server.port))[0] == "127.0.0.1"
    assert await wait_until(lambda: open_files() == before)


async def hosts_of(names: DnsCache, port: int) -> list[str]:
    return [address.at[0] for address in await names.addresses("photos.example", port)]


async def test_address_that_refuses_is_followed_by_the_next_at_once() -> None:
    async with serve_scripts([SMALL]) as server:
        refusing = [f"127.0.0.{n}" for n in range(31, 39)]
        resolver = Resolver(entries(*refusing, "127.0.0.1", port=server.port))
        names = DnsCache(keep=60, resolve=resolver)
        dialer = Dialer(names, timeout=60.0, stagger=60.0)  # nothing is tried for its turn alone
        sock, address = await dialer.dial(await names.addresses("photos.example", server.port))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # a head does not wait for its body
        sock.close()
        assert address.at[0] == "127.0.0.1"


async def test_family_without_a_route_does_not_hide_the_other() -> None:
    async with serve_scripts([SMALL]) as server:
        nowhere = [f"2001:db8::{n}" for n in range(1, 9)]  # for documentation: routed nowhere
        resolver = Resolver(entries(*nowhere, "127.0.0.1", port=server.port))
        async with pool_with(resolver) as (pool, _):
            await pool.request(server.origin._replace(host="photos.example"), request(bytearray(10)))
        assert server.connections == 1


async def test_all_that_fail_are_an_interruption_with_the_last_ones_reason() -> None:
    async with serve_scripts([SMALL]) as server:
        gone = server.port
    async with pool_with(Resolver(entries("127.0.0.1", "127.0.0.2", port=gone))) as (pool, _):
        error = await expect_interruption(
            pool.request(server.origin._replace(host="photos.example"), request(bytearray(10)))
        )
    assert str(error) == "no connection to photos.example: ConnectionRefusedError"


async def test_silence_of_all_is_not_waited_out() -> None:
    async with serve_scripts([SMALL]) as server:
        with silent(2, server.port) as dead:
            async with pool_with(Resolver(entries(*dead, port=server.port)), connect=0.3) as (pool, _):
                error = await expect_interruption(
                    pool.request(server.origin._replace(host="photos.example"), request(bytearray(10)))
                )
    assert str(error) == "no connection to photos.example: TimeoutError"


async def test_cancelled_race_leaves_no_socket() -> None:
    before = open_files()
    async with serve_scripts([SMALL]) as server:
        with silent(2, server.port) as dead:
            names = DnsCache(keep=60, resolve=Resolver(entries(*dead, port=server.port)))
            within = open_files()
            dialing = asyncio.create_task(
                Dialer(names, timeout=60.0, stagger=0.0).dial(await names.addresses("photos.example", server.port))
            )
            assert await wait_until(lambda: open_files() == within + 2)
            dialing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialing
            assert open_files() == within
    assert await wait_until(lambda: open_files() == before)


async def test_of_two_that_connect_in_one_moment_one_socket_is_kept() -> None:
    before = open_files()
    async with serve_scripts([SMALL]) as server:
        with silent(0, server.port):
            resolver = Resolver(entries("127.0.0.1", "127.0.0.1", port=server.port))
            names = DnsCache(keep=60, resolve=resolver)
            (address,) = await names.addresses("photos.example", server.port)
            for _ in range(20):
                sock, _ = await Dialer(names, timeout=60.0, stagger=0.0).dial([address, address, address])
                sock.close()
    assert await wait_until(lambda: open_files() == before)


async def test_no_address_at_all_is_an_error_like_the_others() -> None:
    with pytest.raises(OSError, match="no address"):
        await Dialer(DnsCache(keep=1), timeout=1.0).dial([])
