"""
What S3 does at UploadPartCopy and the emulator does not: it refuses another ETag than that of the condition, and ranges
of objects up to 5 MiB; it answers with the CRC-32 of the copied bytes.
"""

import base64
import contextlib
import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from . import http_streams
from .history import Exchange
from .http_streams import Answer, Request, header, replace_header
from .operations import refusal

if TYPE_CHECKING:
    from .proxy import FaultProxy

SCOPE = "look/20200101/us-east-1/s3/aws4_request"
SMALLEST_SOURCE = 5 * 1024 * 1024 + 1


async def refuse_copy(proxy: "FaultProxy", exchange: Exchange, request: Request) -> Answer | None:
    """Return S3's refusal; or None, and note the size and the CRC-32 of what is copied."""
    call = exchange.call
    path = (header(request.headers, "x-amz-copy-source") or "").partition("?")[0]
    span = (header(request.headers, "x-amz-copy-source-range") or "").replace("bytes=", "")
    headers = [
        ("Host", "127.0.0.1"),
        ("Authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE}, x"),
        ("Range", f"bytes={span}"),
    ]
    answer, body, writer = await proxy.forward(Request("GET", path, headers))
    with contextlib.closing(writer):
        copied = await http_streams.read_body(body)
    if answer.status == 404:
        return refusal(call, 404, "NoSuchKey")
    if header(answer.headers, "etag") != header(request.headers, "x-amz-copy-source-if-match"):
        return refusal(call, 412, "PreconditionFailed")
    whole = re.search(r"/(\d+)$", header(answer.headers, "content-range") or "")
    if whole is None or int(whole[1]) < SMALLEST_SOURCE:
        return refusal(call, 400, "InvalidRequest", "The specified copy source is not supported as a byte-range copy.")
    exchange.facts |= {"size": len(copied), "crc32": zlib.crc32(copied)}
    return None


def with_crc32(exchange: Exchange, answer: Answer) -> Answer:
    """Return the emulator's answer with the CRC-32."""
    crc32 = base64.b64encode(exchange.facts["crc32"].to_bytes(4, "big"))
    end = b"</CopyPartResult>"
    body = answer.body.replace(end, b"<ChecksumCRC32>" + crc32 + b"</ChecksumCRC32>" + end)
    headers = replace_header(answer.headers, "Content-Length", str(len(body)))
    return replace(answer, headers=headers, body=body)
