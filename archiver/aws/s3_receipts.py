"""The receipts of archives in S3: objects beside the archives, written, listed and deleted. One attempt per call."""

import re
from base64 import b64encode
from datetime import datetime
from html import unescape
from urllib.parse import quote, unquote_plus

from archiver.aws.s3_responses import error_code, write_error
from archiver.aws.s3_transport import S3Request, S3Transport
from archiver.core.locations import Location
from archiver.core.receipt import ListedObject
from archiver.errors import ConfigurationError, SourceUnavailable, TransientError
from archiver.http.exchange import HttpResponse
from archiver.http.parse import Head
from archiver.stages.checksums import crc32

PAGE_KEYS = 16
"""Keys of a page: a response has at most 64 KiB, and a key of 1,024 bytes takes three times that when it is encoded."""

_OBJECT = re.compile(
    r"<Contents>(?=.*?<Key>(?P<key>[^<]*)</Key>)(?=.*?<LastModified>(?P<modified>[^<]*)</LastModified>).*?</Contents>",
    re.DOTALL,
)
_NEXT_PAGE = re.compile(r"<NextContinuationToken>([^<]+)</NextContinuationToken>")


class S3Receipts:
    """The Receipts in *bucket*."""

    def __init__(self, transport: S3Transport, bucket: str) -> None:
        self._transport = transport
        self._bucket = bucket

    async def put(self, key: str, body: bytes) -> None:
        checksum = b64encode(crc32(body).to_bytes(4, "big")).decode()
        amz = (("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32"))
        lines = f"Content-Type: application/gzip\r\nContent-Length: {len(body)}\r\n"
        await self._send(
            S3Request("PUT", self._at(key), _accept_any, into=None, lines=lines, amz=amz, body=memoryview(body))
        )

    async def delete(self, key: str) -> None:
        await self._send(S3Request("DELETE", self._at(key), _accept_any, into=None))

    async def list(self, folder: str) -> list[ListedObject]:
        found, token = list[ListedObject](), ""
        while True:
            page = await self._page(folder, token)
            try:
                found += [
                    ListedObject(unquote_plus(unescape(one["key"])), datetime.fromisoformat(one["modified"]))
                    for one in _OBJECT.finditer(page)
                ]
            except ValueError as error:
                raise TransientError(f"the list of {folder} in {self._bucket} has an invalid date") from error
            more = _NEXT_PAGE.search(page)
            if more is None:
                return found
            token = unescape(more[1])

    async def _page(self, folder: str, token: str) -> str:
        continuation = f"continuation-token={quote(token, safe='-_.~')}&" if token else ""
        prefix = quote(folder, safe="-_.~")
        query = f"{continuation}encoding-type=url&list-type=2&max-keys={PAGE_KEYS}&prefix={prefix}"
        response = await self._send(S3Request("GET", self._at(""), _accept_any, into=None, query=query))
        page = response.body.decode(errors="replace")
        if not page.rstrip().endswith("</ListBucketResult>"):
            raise TransientError(f"the list of {folder} in {self._bucket} is incomplete")
        return page

    def _at(self, key: str) -> Location:
        return Location(self._bucket, key)

    async def _send(self, request: S3Request) -> HttpResponse:
        try:
            response = await self._transport.request(request)
        except SourceUnavailable as error:  # the bucket's name is invalid
            raise ConfigurationError(str(error)) from error
        if response.head.status >= 300 or error_code(response):  # noqa: PLR2004
            raise write_error(response)
        return response


def _accept_any(_: Head) -> None:
    """Accept any response head: the body is read afterwards."""
