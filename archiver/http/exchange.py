"""What goes over a connection: a request, and its answer or none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archiver.http.parse import Head


@dataclass(frozen=True, slots=True)
class TickTimeouts:
    """How many ticks of the pool's clock each state may last, and how many bytes a window of a body must bring."""

    response: int
    stall: int
    window: int
    window_bytes: int
    idle: int


class HttpRequest(NamedTuple):
    """
    *head*: request line and headers, whole; *body* follows it, and must not change before the answer. A success's
    body must fill *into* exactly (nothing, for HEAD); None: it is kept like an error's. *check* sees its head before a
    byte of its body is placed, and refuses it by raising an error of this service.
    """

    method: str
    head: bytes
    into: Sequence[memoryview] | None
    check: Callable[[Head], None]
    body: memoryview = memoryview(b"")


@dataclass(slots=True)
class HttpResponse:
    """The *head*, and the *body* of an error (its first 64 KiB); of a success where it was not wanted elsewhere."""

    head: Head
    body: bytes = b""


class StaleConnectionError(Exception):
    """A kept connection was closed by the other side before the answer's first byte."""
