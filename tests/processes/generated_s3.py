"""
A small S3 for data that no memory holds: objects are made up as they are read, archives are kept in a file.

It is as strict as S3 about parts, checksums and sizes, and nothing else is asked of it than what a worker asks.
"""

import asyncio
import base64
import hashlib
import io
import itertools
import os
import random
import re
import tempfile
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from certificates import shared_trust
from faults.http_streams import BLOCK, Answer, ProtocolError, Request, blocks, header, read_request, response_head
from faults.operations import PUT_RECEIPT, PUT_RECORD, Call, call_of, error_xml
from isal import isal_zlib

from .stored_upload import JoinedParts, StoredPart, StoredUpload

PATTERN = random.Random(4711).randbytes(1024 * 1024 - 3)  # no power of two: bytes that are out of place show
MODIFIED, LISTED_MODIFIED = "Sun, 06 Nov 2022 08:49:37 GMT", "2022-11-06T08:49:37.000Z"
PAGE_KEYS = 1000


def content(key: str, size: int, start: int = 0) -> list[memoryview]:
    """*size* bytes of an object from *start* on: the pattern again and again, from another place for each key."""
    at = (int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) + start) % len(PATTERN)
    pieces = []
    while size:
        piece = memoryview(PATTERN)[at : at + size]
        pieces.append(piece)
        size, at = size - len(piece), 0
    return pieces


class GeneratedS3:
    """
    `with GeneratedS3({key: size}) as s3`: an S3 at `s3.endpoint`, in a thread of its own, of any buckets at all.
    Objects are answered after *delay* seconds. *max_connections*: the connections that there were at one time,
    *connections* those that are open now.
    """

    def __init__(self, sizes: Mapping[str, int], *, delay: float = 0.0) -> None:
        self.max_connections = 0
        self._delay = delay
        self.connections = 0
        self._held_op, self._held_after = "", 0
        self._released = asyncio.Event()
        self.held = 0
        """Calls that wait for `release`, or whose client went away before it."""
        self.archives: dict[str, StoredUpload] = {}
        self.uploads: dict[str, StoredUpload] = {}
        self.records: dict[str, bytes] = {}
        self.read_bytes = 0
        """Of ranges of objects: a large one that is asked for as a whole is given up at its head."""
        self.sent: Counter[int] = Counter()
        """How often each part was stored."""
        self._sizes = sizes
        self._keys = sorted(sizes)
        self.calls: Counter[str] = Counter()
        """How often each operation was asked for."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._end = 0
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="big-objects", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=4 * BLOCK, ssl=shared_trust().server_context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.endpoint = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._file.close()

    async def _end_all(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self, op: str, after: int) -> None:
        """Let calls of *op* for objects or parts hang until `release`, all but the first *after* of them."""
        self.held, self._held_op, self._held_after = 0, op, after

    def release(self) -> None:
        """Let all calls go on."""
        self._held_op = ""
        self._loop.call_soon_threadsafe(self._released.set)

    async def _wait_while_held(self, call: Call) -> None:
        if call.op != self._held_op or (call.key not in self._sizes and call.part is None):
            return
        self._held_after -= 1
        if self._held_after < 0:
            self.held += 1
            self._released.clear()
            await self._released.wait()

    def archive(self, key: str) -> io.BufferedReader:
        """The archive at *key*, to be read."""
        return io.BufferedReader(JoinedParts(self._file.fileno(), self.archives[key].in_order), 1024 * 1024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.max_connections = max(self.max_connections, self.connections)
        with suppress(ConnectionError, ProtocolError):
            while (request := await read_request(reader)) is not None:
                await self._reply(call_of(request), request, reader, writer)
        self.connections -= 1
        writer.close()

    async def _reply(
        self, call: Call, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if call.key in self._sizes:
            await asyncio.sleep(self._delay)
        await self._wait_while_held(call)
        if call.op == "GetObject":
            await self._get(call, request, writer)
            return
        answer = await (self._record if call.op.endswith("Record") else self._answer)(call, request, reader)
        length = [] if call.op in {"HeadObject", "HeadRecord"} else [("Content-Length", str(len(answer.body)))]
        writer.write(response_head(Answer(answer.status, [*answer.headers, *length])) + answer.body)
        await writer.drain()

    async def _get(self, call: Call, request: Request, writer: asyncio.StreamWriter) -> None:
        key = call.key or ""
        self.calls["GetObject"] += 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", header(request.headers, "range") or "")
        start, end = (int(asked[1]), int(asked[2])) if asked else (0, self._sizes[key] - 1)
        headers = _object_headers(key, self._sizes[key])
        if asked:
            span = f"bytes {start}-{end}/{self._sizes[key]}"
            headers = [("Content-Length", str(end + 1 - start)), ("Content-Range", span), ("ETag", _etag(key))]
        writer.write(response_head(Answer(206 if asked else 200, headers)))
        for piece in content(key, end + 1 - start, start):
            writer.write(piece)
            await writer.drain()
            self.read_bytes += len(piece) if asked else 0

    async def _answer(self, call: Call, request: Request, reader: asyncio.StreamReader) -> Answer:
        self.calls[call.op] += 1
        if call.op in {"PutObject", "UploadPart", PUT_RECEIPT}:
            return await self._put(call, request, reader)
        body = b"".join([block async for block in blocks(reader, request.headers)])
        answer = Answer(501, body=error_xml("NotImplemented", call.op))
        match call.op:
            case "HeadBucket":
                answer = Answer(200)
            case "HeadObject":
                answer = self._head(call.key or "")
            case "CreateMultipartUpload":
                upload_id = f"upload-{next(self._numbers)}"
                self.uploads[upload_id] = StoredUpload(call.key or "", dict(request.headers))
                answer = _xml(f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId>")
            case "CompleteMultipartUpload":
                answer = self._complete(call, request, body)
            case "ListMultipartUploads":
                ids = (
                    f"<Upload><Key>{u.key}</Key><UploadId>{i}</UploadId><Initiated>{LISTED_MODIFIED}</Initiated></Upload>"
                    for i, u in self.uploads.items()
                )
                answer = _xml(f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{''.join(ids)}")
            case "ListParts":
                answer = self._list_parts(call)
            case "ListObjects":
                answer = self._list(request)
            case "AbortMultipartUpload":
                self.uploads.pop(call.upload or "", None)
                answer = Answer(204)
        return answer

    def _list(self, request: Request) -> Answer:
        asked = dict(parse_qsl(request.target.partition("?")[2]))
        prefix, after = asked.get("prefix", ""), asked.get("continuation-token", "")
        first = bisect_right(self._keys, after) if after else bisect_left(self._keys, prefix)
        page = list(takewhile(lambda key: key.startswith(prefix), self._keys[first : first + PAGE_KEYS]))
        following = self._keys[first + PAGE_KEYS : first + PAGE_KEYS + 1]
        more = len(page) == PAGE_KEYS and all(key.startswith(prefix) for key in following) and bool(following)
        kept = (
            f"<Contents><Key>{key}</Key><LastModified>{LISTED_MODIFIED}</LastModified></Contents>"
            for key in self.records
            if key.startswith(prefix)
        )
        entries = (
            f"<Contents><Key>{key}</Key><LastModified>{LISTED_MODIFIED}</LastModified>"
            f"<ETag>{escape(_etag(key))}</ETag><Size>{self._sizes[key]}</Size></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        return _xml(f"<ListBucketResult>{truncated}{token}{''.join(entries)}{''.join(kept)}")

    def _list_parts(self, call: Call) -> Answer:
        """All on one page, each with its CRC-32, as S3 tells it."""
        upload = self.uploads.get(call.upload or "")
        if upload is None:
            return Answer(404, body=error_xml("NoSuchUpload", "it is gone"))
        parts = (
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(_etag(f'{call.key}{number}'))}</ETag>"
            f"<Size>{part.size}</Size><ChecksumCRC32>{_encoded(part.crc32)}</ChecksumCRC32></Part>"
            for number, part in sorted(upload.parts.items())
        )
        return _xml(f"<ListPartsResult><IsTruncated>false</IsTruncated>{''.join(parts)}")

    async def _record(self, call: Call, request: Request, reader: asyncio.StreamReader) -> Answer:
        key, body = call.key or "", b"".join([block async for block in blocks(reader, request.headers)])
        if call.op == PUT_RECORD:
            self.records[key] = body
            return Answer(200, [("ETag", _etag(key))])
        if call.op == "DeleteRecord":
            self.records.pop(key, None)
            return Answer(204)
        if key not in self.records:
            return Answer(404)
        record = self.records[key]
        headers = [("ETag", _etag(key)), ("Last-Modified", MODIFIED)]
        if call.op == "HeadRecord":
            return Answer(200, [*headers, ("Content-Length", str(len(record)))])
        return Answer(206, [*headers, ("Content-Range", f"bytes 0-{len(record) - 1}/{len(record)}")], record)

    def _head(self, key: str) -> Answer:
        if key in self._sizes:
            return Answer(200, [*_object_headers(key, self._sizes[key]), ("Content-Type", "image/jpeg")])
        return Answer(200, _object_headers(key, self.archives[key].size)) if key in self.archives else Answer(404)

    async def _put(self, call: Call, request: Request, reader: asyncio.StreamReader) -> Answer:
        size = int(header(request.headers, "content-length") or "")
        offset, self._end = self._end, self._end + size
        at, crc32 = offset, 0
        async for block in blocks(reader, request.headers):
            crc32 = isal_zlib.crc32(block, crc32)
            at += os.pwrite(self._file.fileno(), block, at)
        if crc32 != _claimed_crc32(request):
            return Answer(400, body=error_xml("BadDigest", "another CRC-32"))
        upload = self.uploads[call.upload] if call.upload else StoredUpload(call.key or "", dict(request.headers))
        upload.parts[call.part or 1] = StoredPart(offset, size, crc32)
        self.sent[call.part or 0] += 1
        if not call.upload:
            self.archives[upload.key] = upload
        told = header(request.headers, "x-amz-checksum-crc32") or ""
        return Answer(200, [("ETag", _etag(f"{call.key}{call.part}")), ("x-amz-checksum-crc32", told)])

    def _complete(self, call: Call, request: Request, body: bytes) -> Answer:
        upload = self.uploads[call.upload or ""]
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        size = int(header(request.headers, "x-amz-mp-object-size") or "-1")
        problem = upload.problem(size, _claimed_crc32(request), numbers)
        if upload.key in self.archives or header(request.headers, "if-none-match") != "*":
            problem = "PreconditionFailed"
        if problem:
            return Answer(400, body=error_xml(problem, "the archive is not what it should be"))
        self.archives[upload.key] = self.uploads.pop(call.upload or "")
        return _xml(f"<CompleteMultipartUploadResult><ETag>{_etag(upload.key)}</ETag>")


def _object_headers(key: str, size: int) -> list[tuple[str, str]]:
    return [("Content-Length", str(size)), ("ETag", _etag(key)), ("Last-Modified", MODIFIED)]


def _etag(text: str) -> str:
    return f'"{hashlib.md5(text.encode()).hexdigest()}"'


def _claimed_crc32(request: Request) -> int | None:
    told = header(request.headers, "x-amz-checksum-crc32")
    return int.from_bytes(base64.b64decode(told)) if told else None


def _encoded(crc32: int) -> str:
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _xml(opened: str) -> Answer:
    """A document of one element, which is closed here."""
    name = opened[1 : opened.index(">")]
    return Answer(200, [("Content-Type", "application/xml")], f"{opened}</{name}>".encode())
