"""A reader and a server with hand-made answers of S3's, and those answers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from certificates import ours
from http_client.scripted_server import Canned, Script, answer, canned

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import WireConfig
from archiver.core.locations import Location
from archiver.errors import ArchiverError
from archiver.http.pool import Limits

ETAG = '"0123456789abcdef"'
BODY = bytes(range(100)) * 1000
PHOTO = Location("photos", "album/a b.jpg")


@dataclass(frozen=True)
class Frozen:
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "SECRETKEY"
    token: str | None = "SECRETTOKEN"


class Session:
    """Credentials that change each time they are asked for, up to the last."""

    def __init__(self, *keys: Frozen | Exception | None) -> None:
        self._keys = list(keys) or [Frozen()]

    async def get_credentials(self) -> "Session | None":
        return self if self._keys[0] is not None else None

    async def get_frozen_credentials(self) -> Frozen:
        given = self._keys[0] if len(self._keys) == 1 else self._keys.pop(0)
        if isinstance(given, Exception):
            raise given
        assert given is not None
        return given


@asynccontextmanager
async def reading(
    *scripts: Script, session: Session | None = None, limits: Limits | None = None
) -> AsyncIterator[tuple[Canned, S3Reader]]:
    async with canned(*scripts) as server:
        config = WireConfig(limits or Limits(), ours().bundle)
        reader = S3Reader(session or Session(), Endpoint(server.url, "us-east-1"), config)
        try:
            yield server, reader
        finally:
            await reader.close()


def part(start: int = 10, count: int = 20, *, etag: str = ETAG, total: int = len(BODY)) -> bytes:
    """The right answer to a range."""
    content_range = f"Content-Range: bytes {start}-{start + count - 1}/{total}"
    return answer("206 Partial Content", BODY[start : start + count], f"ETag: {etag}", content_range)


def error(status: str, code: str, message: str = "") -> bytes:
    xml = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return answer(status, xml.encode(), "Content-Type: application/xml")


def head(*fields: str, status: str = "200 OK", length: int = 5) -> bytes:
    return answer(status, b"", *fields, length=length)


FACTS = (f"ETag: {ETAG}", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: image/jpeg")


async def failed(reader: S3Reader, into: Sequence[memoryview] | None = None, start: int = 10) -> ArchiverError:
    with pytest.raises(ArchiverError) as caught:
        await reader.read(PHOTO, ETAG, start, into or [memoryview(bytearray(20))])
    assert "SECRET" not in str(caught.value).replace(
        "AWS_SECRET_ACCESS_KEY", ""
    )  # the name may be told, the value never
    return caught.value


async def unavailable(reader: S3Reader) -> ArchiverError:
    with pytest.raises(ArchiverError) as caught:
        await reader.head(PHOTO)
    assert "SECRET" not in str(caught.value)
    return caught.value
