"""
Bodies of objects, read in blocks from where moto keeps them.

For a GET of a range moto copies the whole object, twice: 4 MB/s of a file of 2 GB. Here moto is asked with HEAD, and
says all that is to be said (who may read, If-Match, which range, the headers); only the bytes come from us. Whatever
HEAD does not answer for, moto answers itself. Its HEAD tells the checksum of an upload's parts as that of the whole,
which a worker would hold against the bytes: that is mended, too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

BLOCK_SIZE = 1024 * 1024

# What else a query holds (a version, a part, another header) is moto's to answer.
_SIGNATURES = frozenset({"AWSAccessKeyId", "Signature", "Expires", "x-id", "x-amz-security-token"})

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class StoredObject(Protocol):
    """moto's FakeKey, as far as it is looked at."""

    lock: Any
    etag: str
    size: int
    checksum_algorithm: str | None
    checksum_type: str | None
    checksum_parts: int | None
    _value_buffer: Any


@dataclass(frozen=True, slots=True)
class HeadResponse:
    """What moto said to HEAD."""

    status: int
    line: str
    headers: Headers

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class BodyMiddleware:
    """
    *app*, with the bodies of objects read from *find_object*, which has what moto stores under a bucket and a key.
    """

    def __init__(self, app: App, find_object: Callable[[str, str], StoredObject | None]) -> None:
        self._app = app
        self._find_object = find_object

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        stored = self._stored(environ) if _is_plain(environ) else None
        if stored is None:
            return self._app(environ, start_response)
        answer = self._head(environ, stored)
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response(answer.line, answer.headers)
            return []
        byte_range = _byte_range(answer, stored)
        if byte_range is None:
            return self._app(environ, start_response)
        start_response(answer.line, answer.headers)
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
    """A GET or HEAD of what may be an object of S3, of nothing beside its bytes."""
    names = {name for name, _ in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
    signed = {name for name in names if name in _SIGNATURES or name.startswith("X-Amz-")}
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and names == signed and "HTTP_ORIGIN" not in environ


def _with_parts_checksum(headers: Headers, stored: StoredObject) -> Headers:
    """*headers* with a checksum of parts told as one, as GET does."""
    kind, name = stored.checksum_type, f"x-amz-checksum-{stored.checksum_algorithm}".lower()
    if kind is None or not any(key.lower() == name for key, _ in headers):
        return headers
    end = f"-{stored.checksum_parts}" if kind == "COMPOSITE" else ""
    fixed = [(key, value + end if key.lower() == name else value) for key, value in headers]
    return [*fixed, ("x-amz-checksum-type", kind)]


def _byte_range(answer: HeadResponse, stored: StoredObject) -> tuple[int, int] | None:
    """First byte and count of what *answer* promises of *stored*; None where it is of something else."""
    if answer.header("etag") != stored.etag:
        return None  # it was replaced meanwhile
    if answer.status == HTTPStatus.OK:
        return 0, stored.size
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        first, _, last = answer.header("content-range").removeprefix("bytes ").partition("/")[0].partition("-")
        return int(first), int(last) + 1 - int(first)
    return None


def _read_blocks(stored: StoredObject, start: int, count: int) -> Iterator[bytes]:
    """
    *count* bytes from *start* on. One that is overwritten meanwhile is closed by moto: the answer is cut short then.
    """
    end = start + count
    while start < end:
        with stored.lock:
            stored._value_buffer.seek(start)  # noqa: SLF001 - its `value` is a copy of the whole
            block = stored._value_buffer.read(min(BLOCK_SIZE, end - start))  # noqa: SLF001
        if not block:
            return
        yield block
        start += len(block)
