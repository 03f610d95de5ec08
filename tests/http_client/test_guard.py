"""Only public addresses are connected to, whatever names them and however often they change."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from archiver.errors import TransferInterrupted
from archiver.http.dns import Address, DnsCache
from archiver.http.exchange import HttpRequest
from archiver.http.guard import AddressRefused, is_public, public_only
from archiver.http.pool import HttpPool, HttpTimeouts, Origin

REFUSED = [
    "127.0.0.1",  # loopback
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",  # private
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # shared: carrier-grade NAT, and some clouds' metadata
    "169.254.169.254",  # link-local: the metadata service
    "169.254.170.2",  # of ECS: the credentials of the task
    "192.0.0.192",  # metadata of another cloud
    "198.18.0.1",  # benchmarks
    "203.0.113.1",  # documentation
    "224.0.0.1",  # multicast
    "255.255.255.255",  # broadcast
    "::1",  # loopback
    "::",
    "fd00:ec2::254",  # unique local: the metadata service
    "fe80::1",  # link-local
    "ff02::1",  # multicast
    "fec0::1",  # site-local
    "::ffff:169.254.169.254",  # IPv4 mapped
    "::127.0.0.1",  # IPv4 compatible
    "64:ff9b::a9fe:a9fe",  # NAT64 of the metadata service
    "2002:a9fe:a9fe::1",  # 6to4 of it
    "2002:808:808::1",  # 6to4 of a public one: nobody relays it any more (RFC 7526)
    "2001:0:a9fe:a9fe::1",  # Teredo
    "64:ff9b:1::a9fe:a9fe",  # NAT64 of a local prefix
    "2606:4700::5efe:a9fe:a9fe",  # ISATAP of it
    "2001:db8::1",  # documentation
]
PUBLIC = ["8.8.8.8", "52.95.110.1", "2606:4700:4700::1111", "64:ff9b::808:808"]
CONNECTED: list[Any] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        CONNECTED.append(arguments[1][0])


sys.addaudithook(_watch)  # the interpreter's own word for every connect of this process


def entry(address: str, port: int = 443) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    at = (address, port, 0, 0) if ":" in address else (address, port)
    return (family, socket.SOCK_STREAM, 6, "", at)


class Resolver:
    """Answers one list of addresses after another; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    async def __call__(self, _host: str, port: int) -> Sequence[tuple[Any, ...]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [entry(address, port) for address in answer]


async def post(host: str, names: DnsCache) -> None:
    pool = HttpPool(HttpTimeouts(), names=names)
    try:
        request = HttpRequest("POST", b"POST / HTTP/1.1\r\n\r\n", None, lambda _: None)
        await pool.request(Origin(tls=True, host=host, port=443), request)
    finally:
        await pool.close()


def test_addresses_of_the_internet_are_public_and_no_others_are() -> None:
    assert len(REFUSED) >= 24
    assert [address for address in REFUSED if is_public(address)] == []
    assert [address for address in PUBLIC if not is_public(address)] == []
    assert not is_public("fe80::1%eth0")
    assert not is_public("nothing")


@pytest.mark.parametrize("address", REFUSED)
async def test_a_literal_address_that_is_not_public_is_refused_before_a_byte_is_sent(address: str) -> None:
    """F12: as all of these rows, proved by the interpreter's own record of connects."""
    CONNECTED.clear()
    with pytest.raises((AddressRefused, TransferInterrupted)) as caught:
        await post(address, DnsCache(5, resolve=public_only()))

    assert isinstance(caught.value, AddressRefused) or "no address" in str(caught.value)
    assert CONNECTED == []


@pytest.mark.parametrize("address", REFUSED)
async def test_a_name_with_such_an_address_is_refused_even_beside_a_public_one(address: str) -> None:
    """F12: one public address does not make a host public."""
    CONNECTED.clear()
    for answer in ([address], ["8.8.8.8", address]):
        with pytest.raises(AddressRefused, match="not public"):
            await post("hooks.example.com", DnsCache(5, resolve=public_only(Resolver(answer))))

    assert CONNECTED == []


@pytest.mark.parametrize("address", REFUSED)
async def test_a_name_that_changes_to_such_an_address_is_refused_and_what_it_was_is_not_used(address: str) -> None:
    """F12: rebinding: the address that was looked at is the one that is connected to, in every request anew."""
    names = DnsCache(0, resolve=public_only(Resolver(["8.8.8.8"], [address])))

    assert await names.addresses("hooks.example.com", 443) == [Address(socket.AF_INET, ("8.8.8.8", 443))]
    CONNECTED.clear()
    with pytest.raises(AddressRefused):
        await post("hooks.example.com", names)

    assert CONNECTED == []


async def test_other_spellings_of_an_address_are_what_the_system_takes_them_for() -> None:
    CONNECTED.clear()
    for host in ("127.1", "0x7f.0.0.1", "2130706433", "017700000001", "localhost"):
        with pytest.raises((AddressRefused, TransferInterrupted)):
            await post(host, DnsCache(5, resolve=public_only()))

    assert CONNECTED == []


async def test_the_watch_sees_connects() -> None:
    """Else the tests above would hold for anything."""
    CONNECTED.clear()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", 1)
    assert CONNECTED == ["127.0.0.1"]
