"""Where `archiver verify` reads an archive from: S3, a file, or a link that anyone may follow."""

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

from archiver.cli.console import LATER, NO, USAGE, Problem

if TYPE_CHECKING:
    from archiver.core.plan import Pinned
    from archiver.stages.fetch import Fetcher

DOWNLOAD = "download it, and verify the file"
PATIENCE = 60.0  # seconds until a link answers


def location_of(link: str, base_url: str | None, bucket: str | None) -> str | None:
    """The `s3://` name behind a *link* of this service, signed or not; None for what is none."""
    if base_url is None or bucket is None or not link.startswith(f"{base_url.rstrip('/')}/"):
        return None
    path = link.removeprefix(base_url.rstrip("/") + "/").partition("?")[0].partition("#")[0]
    return f"s3://{bucket}/{unquote(path)}"


class ObjectArchive:
    """An archive in S3, held to the version that was seen first."""

    def __init__(self, fetcher: "Fetcher", pinned: "Pinned", size: int) -> None:
        self._fetcher = fetcher
        self._pinned = pinned
        self.size = size

    async def read(self, start: int, into: memoryview) -> None:
        await self._fetcher.read(self._pinned, start, [into])


class FileArchive:
    """An archive on the disk. Raises Problem where it can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # What is no file (a pipe, say) is not waited for.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            told = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            raise Problem(f"{path}: can't be read: {getattr(error, 'strerror', error)}", code=USAGE) from None
        self.size = told.st_size
        if not stat.S_ISREG(told.st_mode):
            os.close(self._fd)
            raise Problem(f"{path}: is no file: an archive is read from its end", code=USAGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    async def read(self, start: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            try:
                count = await asyncio.to_thread(os.preadv, self._fd, [into[done:]], start + done)
            except OSError as error:
                raise Problem(f"{self._path}: can't be read: {error.strerror}", code=USAGE) from None
            if not count:
                raise Problem(f"{self._path}: became shorter while it was read", code=NO)
            done += count


class LinkArchive:
    """An archive behind a link, read by ranges, and held to the version that was seen first."""

    def __init__(self, link: str, size: int, etag: str | None) -> None:
        self._link = link
        self._etag = etag
        self.size = size

    @classmethod
    async def opened(cls, link: str) -> Self:
        """Ask for the first byte: the answer says how many there are. Raises Problem."""
        _, headers = await asyncio.to_thread(_part, link, 0, 1, None)
        size = headers.get("Content-Range", "").rpartition("/")[2]
        if not size.isdecimal():
            raise Problem(f"{link}: its server does not say how large it is: {DOWNLOAD}", code=USAGE)
        return cls(link, int(size), headers.get("ETag"))

    async def read(self, start: int, into: memoryview) -> None:
        body, _ = await asyncio.to_thread(_part, self._link, start, len(into), self._etag)
        if len(body) != len(into):
            raise Problem(f"{self._link}: its server sent another length than was asked for", code=LATER)
        into[:] = body


def _part(link: str, start: int, length: int, etag: str | None) -> tuple[bytes, Message]:
    """*length* bytes from *start* on (one more shows that there were too many), and the answer's headers."""
    headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(link, headers=headers | ({"If-Match": etag} if etag else {}))  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            if answer.status != HTTPStatus.PARTIAL_CONTENT:
                raise Problem(f"{link}: its server sends no ranges: {DOWNLOAD}", code=USAGE)
            return answer.read(length + 1), answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.PRECONDITION_FAILED:
            raise Problem(f"{link}: became another one while it was read", code=NO) from None
        raise Problem(f"{link}: can't be read: HTTP {error.code} {error.reason}", code=USAGE) from None
    except (OSError, HTTPException, ValueError) as error:
        raise Problem(f"{link}: can't be read: {getattr(error, 'reason', error)}", code=LATER) from None
