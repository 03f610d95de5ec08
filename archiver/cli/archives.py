"""Sources of an archive for `archiver verify`: an S3 object, a file, or an HTTP link."""

import asyncio
import os
import stat
import urllib.error
import urllib.request
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from archiver.cli.console import EXIT_FAILED, EXIT_RETRY_LATER, EXIT_USAGE, CommandError

if TYPE_CHECKING:
    from archiver.core.plan import ObjectVersion
    from archiver.stages.fetch import Fetcher

DOWNLOAD_HINT = "download the archive and verify the file"
LINK_TIMEOUT = 60.0  # seconds; connect and each read of a link


def link_to_location(link: str, base_url: str | None, bucket: str | None) -> str | None:
    """Return the `s3://` URI behind a *link* of this service, signed or not; None for any other link."""
    if base_url is None or bucket is None or not link.startswith(f"{base_url.rstrip('/')}/"):
        return None
    path = link.removeprefix(base_url.rstrip("/") + "/").partition("?")[0].partition("#")[0]
    return f"s3://{bucket}/{unquote(path)}"


class ObjectArchive:
    """An archive in S3. Every read requires the ETag *version*."""

    def __init__(self, fetcher: "Fetcher", version: "ObjectVersion", size: int) -> None:
        self._fetcher = fetcher
        self._version = version
        self.size = size

    async def read(self, start: int, into: memoryview) -> None:
        await self._fetcher.read(self._version, start, [into])


class FileArchive:
    """An archive in a file. Raises CommandError if the file can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # O_NONBLOCK: opening a named pipe must not wait for its writer.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            info = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            raise CommandError(f"{path}: can't be read: {getattr(error, 'strerror', error)}", code=EXIT_USAGE) from None
        self.size = info.st_size
        if not stat.S_ISREG(info.st_mode):
            os.close(self._fd)
            raise CommandError(f"{path}: is not a regular file; name a file", code=EXIT_USAGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    async def read(self, start: int, into: memoryview) -> None:
        received = 0
        while received < len(into):
            try:
                count = await asyncio.to_thread(os.preadv, self._fd, [into[received:]], start + received)
            except OSError as error:
                raise CommandError(f"{self._path}: can't be read: {error.strerror}", code=EXIT_USAGE) from None
            if not count:
                raise CommandError(f"{self._path}: was truncated while it was read; try again", code=EXIT_FAILED)
            received += count


class LinkArchive:
    """An archive behind an HTTP link, read by range requests. Every read requires the ETag of the first response."""

    def __init__(self, link: str, size: int, etag: str | None) -> None:
        self._link = link
        self._etag = etag
        self.size = size

    @classmethod
    async def open(cls, link: str) -> Self:
        """Read the first byte to learn the size from Content-Range. Raises CommandError."""
        _, headers = await asyncio.to_thread(_read_range, link, 0, 1, None)
        size = headers.get("Content-Range", "").rpartition("/")[2]
        if not size.isdecimal():
            raise CommandError(f"{link}: the server does not report the size; {DOWNLOAD_HINT}", code=EXIT_USAGE)
        return cls(link, int(size), headers.get("ETag"))

    async def read(self, start: int, into: memoryview) -> None:
        body, _ = await asyncio.to_thread(_read_range, self._link, start, len(into), self._etag)
        if len(body) != len(into):
            raise CommandError(
                f"{self._link}: the server sent a wrong number of bytes; try again", code=EXIT_RETRY_LATER
            )
        into[:] = body


def _read_range(link: str, start: int, length: int, etag: str | None) -> tuple[bytes, Message]:
    """Return *length* bytes from *start* and the response headers; one byte more if the response is too long."""
    headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(link, headers=headers | ({"If-Match": etag} if etag else {}))  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=LINK_TIMEOUT) as response:  # noqa: S310
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                raise CommandError(
                    f"{link}: the server does not support range requests; {DOWNLOAD_HINT}", code=EXIT_USAGE
                )
            return response.read(length + 1), response.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.PRECONDITION_FAILED:
            raise CommandError(f"{link}: changed while it was read; try again", code=EXIT_FAILED) from None
        raise CommandError(f"{link}: can't be read: HTTP {error.code} {error.reason}", code=EXIT_USAGE) from None
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(f"{link}: can't be read: {getattr(error, 'reason', error)}", code=EXIT_RETRY_LATER) from None
