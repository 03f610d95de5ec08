"""A reader and a server with hand-made answers of S3's, and those answers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from certificates import shared_trust
from http_client.scripted_server import Script, ScriptedServer, make_response, serve_scripts

from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.core.locations import Location
from archiver.errors import ArchiverError
from archiver.http.pool import HttpTimeouts

ETAG = '"0123456789abcdef"'
BODY = bytes(range(100)) * 1000
PHOTO = Location("photos", "album/a b.jpg")


@dataclass(frozen=True)
class FakeCredentials:
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "SECRETKEY"
    token: str | None = "SECRETTOKEN"


class FakeSession:
    """Credentials that change each time they are asked for, up to the last."""

    def __init__(self, *keys: FakeCredentials | Exception | None) -> None:
        self._keys = list(keys) or [FakeCredentials()]

    async def get_credentials(self) -> "FakeSession | None":
        return self if self._keys[0] is not None else None

    async def get_frozen_credentials(self) -> FakeCredentials:
        given = self._keys[0] if len(self._keys) == 1 else self._keys.pop(0)
        if isinstance(given, Exception):
            raise given
        assert given is not None
        return given


@asynccontextmanager
async def open_s3_reader(
    *scripts: Script, session: FakeSession | None = None, limits: HttpTimeouts | None = None
) -> AsyncIterator[tuple[ScriptedServer, S3Reader]]:
    async with serve_scripts(*scripts) as server:
        config = TransportConfig(limits or HttpTimeouts(), shared_trust().bundle)
        reader = S3Reader(session or FakeSession(), Endpoint(server.url, "us-east-1"), config)
        try:
            yield server, reader
        finally:
            await reader.close()


def range_response(start: int = 10, count: int = 20, *, etag: str = ETAG, total: int = len(BODY)) -> bytes:
    """The right answer to a range."""
    content_range = f"Content-Range: bytes {start}-{start + count - 1}/{total}"
    return make_response("206 Partial Content", BODY[start : start + count], f"ETag: {etag}", content_range)


def error_response(status: str, code: str, message: str = "") -> bytes:
    xml = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return make_response(status, xml.encode(), "Content-Type: application/xml")


def head(*fields: str, status: str = "200 OK", length: int = 5) -> bytes:
    return make_response(status, b"", *fields, length=length)


OBJECT_HEADERS = (f"ETag: {ETAG}", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: image/jpeg")


async def expect_read_error(
    reader: S3Reader, into: Sequence[memoryview] | None = None, start: int = 10
) -> ArchiverError:
    with pytest.raises(ArchiverError) as caught:
        await reader.read(PHOTO, ETAG, start, into or [memoryview(bytearray(20))])
    assert "SECRET" not in str(caught.value).replace(
        "AWS_SECRET_ACCESS_KEY", ""
    )  # the name may be told, the value never
    return caught.value


async def expect_head_error(reader: S3Reader) -> ArchiverError:
    with pytest.raises(ArchiverError) as caught:
        await reader.head(PHOTO)
    assert "SECRET" not in str(caught.value)
    return caught.value
