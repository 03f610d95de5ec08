"""
Only public addresses: for requests to hosts that somebody else has named (server-side request forgery).

The guard stands where names are resolved, and nothing connects to an address that was not resolved here: also literal
addresses pass through it, and what a name resolves to is what is connected to, whatever it resolved to before.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from archiver.errors import RequestRefused
from archiver.http.dns import Resolve, getaddrinfo

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291; all else of IPv6 is special, or nobody's
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214: before the last 32 bits
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        # What `is_global` of some Python version counts as global: relays, documentation, benchmarks, Teredo, 6to4.
        ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)


class AddressRefused(RequestRefused):
    """A host has an address that is not public. Nothing was sent."""


def is_public(text: str) -> bool:
    """Whether the address *text* is one of the public Internet, and so is every IPv4 address inside it."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    outside = () if address in _NAT64 else (address,)
    return all(map(_is_public_itself, (*outside, *_inside(address))))


def _is_public_itself(address: _Ip) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    special = address.is_multicast or address.is_reserved or any(address in net for net in _NOT_PUBLIC)
    return address.is_global and not special


def _inside(address: _Ip) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that a gateway could take out of *address*."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)


def public_only(resolve: Resolve = getaddrinfo) -> Resolve:
    """Return *resolve*, which raises AddressRefused if any address of a host is not public."""

    async def resolve_public(host: str, port: int) -> Sequence[tuple[Any, ...]]:
        found = await resolve(host, port)
        refused = [str(entry[4][0]) for entry in found if not is_public(str(entry[4][0]))]
        if refused:
            raise AddressRefused(f"{host} has an address that is not public ({refused[0]}): nothing is sent to it")
        return found

    return resolve_public
