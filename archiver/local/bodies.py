"""
WSGI middleware that reads object bodies in blocks from moto's storage.

For a GET of a range, moto copies the whole object twice: 4 MB/s for a file of 2 GB. The middleware sends moto a HEAD
instead, which decides permissions, If-Match, range and headers, and reads the bytes itself. It passes requests that a
HEAD can't decide to moto. It also corrects moto's HEAD, which returns the composite checksum of an upload's parts as
the checksum of the whole object: a worker would compare it with the bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

BLOCK_SIZE = 1024 * 1024

# Requests with other query parameters (a version, a part, a response header) are passed to moto.
_SIGNATURES = frozenset({"AWSAccessKeyId", "Signature", "Expires", "x-id", "x-amz-security-token"})

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class StoredObject(Protocol):
    """The used attributes of moto's FakeKey."""

    lock: Any
    etag: str
    size: int
    checksum_algorithm: str | None
    checksum_type: str | None
    checksum_parts: int | None
    _value_buffer: Any


@dataclass(frozen=True, slots=True)
class HeadResponse:
    """moto's response to a HEAD."""

    status: int
    line: str
    headers: Headers

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class BodyMiddleware:
    """
    Wraps moto's *app*. *find_object* returns moto's stored object for a bucket and a key, None if there is none.
    """

    def __init__(self, app: App, find_object: Callable[[str, str], StoredObject | None]) -> None:
        self._app = app
        self._find_object = find_object

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        stored = self._stored(environ) if _is_plain(environ) else None
        if stored is None:
            return self._app(environ, start_response)
        response = self._head(environ, stored)
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response(response.line, response.headers)
            return []
        byte_range = _byte_range(response, stored)
        if byte_range is None:
            return self._app(environ, start_response)
        start_response(response.line, response.headers)
        return _read_blocks(stored, *byte_range)

    def _stored(self, environ: Environ) -> StoredObject | None:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")  # PEP 3333
        bucket, _, key = path.removeprefix("/").partition("/")
        return self._find_object(bucket, key) if key else None

    def _head(self, environ: Environ, stored: StoredObject) -> HeadResponse:
        responses: list[HeadResponse] = []

        def start_response(line: str, headers: Headers, _: object = None) -> Callable[[bytes], object]:
            responses.append(HeadResponse(int(line.partition(" ")[0]), line, _with_parts_checksum(headers, stored)))
            return lambda _: None

        body = self._app({**environ, "REQUEST_METHOD": "HEAD"}, start_response)
        for _ in body:
            pass
        if (close := getattr(body, "close", None)) is not None:
            close()
        return responses[0]


def _is_plain(environ: Mapping[str, Any]) -> bool:
    """Return whether the request is a GET or HEAD of an object's bytes, without other parameters."""
    names = {name for name, _ in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
    signed = {name for name in names if name in _SIGNATURES or name.startswith("X-Amz-")}
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and names == signed and "HTTP_ORIGIN" not in environ


def _with_parts_checksum(headers: Headers, stored: StoredObject) -> Headers:
    """Return *headers* with a composite checksum marked as one, as in a response to GET."""
    kind, name = stored.checksum_type, f"x-amz-checksum-{stored.checksum_algorithm}".lower()
    if kind is None or not any(key.lower() == name for key, _ in headers):
        return headers
    end = f"-{stored.checksum_parts}" if kind == "COMPOSITE" else ""
    fixed = [(key, value + end if key.lower() == name else value) for key, value in headers]
    return [*fixed, ("x-amz-checksum-type", kind)]


def _byte_range(response: HeadResponse, stored: StoredObject) -> tuple[int, int] | None:
    """Return first byte and count of the range in *response*; None for an error or another version than *stored*."""
    if response.header("etag") != stored.etag:
        return None  # the object was replaced meanwhile
    if response.status == HTTPStatus.OK:
        return 0, stored.size
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        first, _, last = response.header("content-range").removeprefix("bytes ").partition("/")[0].partition("-")
        return int(first), int(last) + 1 - int(first)
    return None


def _read_blocks(stored: StoredObject, start: int, count: int) -> Iterator[bytes]:
    """
    Yield *count* bytes from *start* on. If the object is overwritten meanwhile, moto closes it and the body ends early.
    """
    end = start + count
    while start < end:
        with stored.lock:
            stored._value_buffer.seek(start)  # noqa: SLF001 - `value` copies the whole body
            block = stored._value_buffer.read(min(BLOCK_SIZE, end - start))  # noqa: SLF001
        if not block:
            return
        yield block
        start += len(block)
