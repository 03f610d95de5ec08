"""The receipts of archives in S3: objects beside the archives, written, listed and deleted."""

import zlib
from datetime import datetime
from urllib.parse import quote

from archiver.aws.s3_attributes import write_with_attributes
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import is_failure, write_error
from archiver.aws.s3_transport import S3Request
from archiver.aws.s3_xml import read_xml
from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.locations import Location
from archiver.core.receipt import ListedObject
from archiver.errors import TransientError
from archiver.http.exchange import HttpResponse

MAX_PAGE_BYTES = 8 * 1024 * 1024  # 1,000 keys of 1,024 bytes, each percent-encoded, and what else is told of them


class S3Receipts:
    """The Receipts in *bucket*."""

    def __init__(self, calls: S3Calls, bucket: str) -> None:
        self._calls = calls
        self._bucket = bucket

    async def put(self, key: str, body: bytes, attributes: Attributes = NO_ATTRIBUTES) -> None:
        kind = "gzip" if key.endswith(".gz") else "json"
        lines = f"Content-Type: application/{kind}\r\n"

        async def write(headers: Attributes) -> None:
            request = S3Request("PUT", self._at(key), lines=lines, amz=headers.headers, body=memoryview(body))
            await self._calls.send_body(f"PutObject {key}", request, zlib.crc32(body))

        await write_with_attributes(self._calls, self._bucket, attributes, write)

    async def delete(self, key: str) -> None:
        await self._call(f"DeleteObject {key}", S3Request("DELETE", self._at(key)))

    async def list(self, folder: str) -> list[ListedObject]:
        found, token = list[ListedObject](), ""
        while True:
            continuation = f"continuation-token={quote(token, safe='-_.~')}&" if token else ""
            query = f"{continuation}encoding-type=url&list-type=2&prefix={quote(folder, safe='-_.~')}"
            request = S3Request("GET", self._at(""), query=query, body_limit=MAX_PAGE_BYTES)
            page = read_xml((await self._call(f"ListObjectsV2 {folder}", request)).body, "ListBucketResult")
            for one in page.elements("Contents"):
                found.append(ListedObject(page.decode(one.required("Key")), _time(one.required("LastModified"))))
            token = page.text("NextContinuationToken")
            if not token:
                return found

    async def _call(self, operation: str, request: S3Request) -> HttpResponse:
        response = await self._calls.control(request)
        if is_failure(response):
            raise write_error(operation, response)
        return response

    def _at(self, key: str) -> Location:
        return Location(self._bucket, key)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise TransientError("the list of receipts has an invalid date") from error
