"""Request and response of one HTTP exchange."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archiver.http.parse import Head

MAX_ERROR_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class TickTimeouts:
    """Maximum ticks of the pool's clock in each state. *window_bytes*: minimum bytes of a body in each window."""

    response: int
    stall: int
    window: int
    window_bytes: int
    idle: int


class HttpRequest(NamedTuple):
    """
    *head*: the complete request line and headers. *body* must not change before the response. *into*: the body of a
    successful response must fill it exactly (it is empty for HEAD); None: the body is returned, as an error's is, and
    cut after *body_limit* bytes (0: it is not waited for).
    *check* gets the response head before any byte of the body is placed; it raises an error of this service to refuse.
    """

    method: str
    head: bytes
    into: Sequence[memoryview] | None
    check: Callable[[Head], None]
    body: memoryview = memoryview(b"")
    body_limit: int = MAX_ERROR_BODY


@dataclass(slots=True)
class HttpResponse:
    """*body*: of an error the first 64 KiB; if the request's *into* is None, the first *body_limit* bytes."""

    head: Head
    body: bytes = b""


class StaleConnectionError(Exception):
    """The server closed a kept connection before the first byte of the response."""
