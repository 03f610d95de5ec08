"""Extract from requests and responses what the checker needs: ids, receipts, sizes, digests, message bodies."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from .http_streams import Answer, Request, decode_aws_chunks, header
from .operations import PUT_RECEIPT, PUT_RECORD, Call

WRITES = frozenset({"PutObject", PUT_RECEIPT, PUT_RECORD, "UploadPart"})
META = "x-amz-meta-"


def request_fields(call: Call, request: Request) -> dict[str, Any]:
    """Return the fields of a request: sizes in bytes, *crc32* as a number, *receipt* and *body* unchanged."""
    named = ("range", "if-match", "if-none-match")
    facts: dict[str, Any] = {
        name.replace("-", "_"): value for name in named if (value := header(request.headers, name)) is not None
    }
    if call.op in WRITES:
        body = content(request)
        facts |= {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "crc32": zlib.crc32(body)}
    if call.op in ("PutObject", "CreateMultipartUpload"):
        facts["metadata"] = {
            name.lower().removeprefix(META): value for name, value in request.headers if name.lower().startswith(META)
        }
    asked = (
        ("receipt", "ReceiptHandle"),
        ("visibility", "VisibilityTimeout"),
        ("body", "MessageBody"),
        ("limit", "MaxNumberOfMessages"),
        ("deduplication_id", "MessageDeduplicationId"),
        ("group", "MessageGroupId"),
    )
    facts |= {name: call.fields[field] for name, field in asked if field in call.fields}
    if call.op == "SendMessage":
        facts["attributes"] = attribute_values(call.fields.get("MessageAttributes") or {})
    return facts


def response_fields(call: Call, answer: Answer) -> dict[str, Any]:
    """Return the fields of a response. The body of a GetObject is ignored."""
    if call.op in ("HeadObject", "GetObject"):
        return {"etag": header(answer.headers, "etag"), "length": header(answer.headers, "content-length")}
    if call.op in WRITES:
        return {"etag": header(answer.headers, "etag")}
    reading = _IN_THE_BODY.get(call.op)
    return reading(answer.body) if reading and answer.status < 300 else {}


_IN_THE_BODY: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "CreateMultipartUpload": lambda body: {"upload": element_text(body, "UploadId")},
    "CompleteMultipartUpload": lambda body: {"etag": element_text(body, "ETag")},
    "ListObjects": lambda body: {"listed": _listed(body)},
    "ReceiveMessage": lambda body: {"messages": [_received(m) for m in json.loads(body).get("Messages") or []]},
    "SendMessage": lambda body: {"message": json.loads(body)["MessageId"]},
}


def _listed(body: bytes) -> list[tuple[str, str]]:
    """Return the key and the ETag of each object of a page."""
    found = re.findall(r"<Key>([^<]*)</Key>.*?<ETag>([^<]*)</ETag>", body.decode(), re.DOTALL)
    return [(unquote_plus(unescape(key)), unescape(etag)) for key, etag in found]


def _received(message: dict[str, Any]) -> dict[str, Any]:
    system = message.get("Attributes") or {}
    count = system.get("ApproximateReceiveCount")
    return {
        "id": message["MessageId"],
        "receipt": message["ReceiptHandle"],
        "count": None if count is None else int(count),
    }


def content(request: Request) -> bytes:
    """Return the body as S3 stores it: without the `aws-chunked` coding of signed or checksummed streams."""
    if "aws-chunked" in (header(request.headers, "content-encoding") or ""):
        return decode_aws_chunks(request.body)
    return request.body


def checksum(request: Request) -> int | None:
    """Return the CRC-32 that the request gives for its content, in a header or a trailer."""
    claimed = header(request.headers, "x-amz-checksum-crc32")
    if claimed is None and header(request.headers, "x-amz-trailer") == "x-amz-checksum-crc32":
        found = re.search(rb"x-amz-checksum-crc32:\s*([A-Za-z0-9+/=]+)", request.body[-200:])
        claimed = found[1].decode() if found else None
    return None if claimed is None else int.from_bytes(base64.b64decode(claimed), "big")


def attribute_values(attributes: dict[str, Any]) -> dict[str, str]:
    """Return message attributes as text, by name."""
    return {name: str(value.get("StringValue", value.get("BinaryValue", ""))) for name, value in attributes.items()}


def element_text(document: bytes, tag: str) -> str | None:
    """Return the text of the first element named *tag*, in any namespace."""
    return next((element.text for element in ET.fromstring(document).iter() if _local(element.tag) == tag), None)


def listed_parts(document: bytes) -> list[tuple[int, str]]:
    """Return the numbers and ETags (without quotes) listed by a CompleteMultipartUpload."""
    found = [element for element in ET.fromstring(document).iter() if _local(element.tag) == "Part"]
    rows = ({_local(child.tag): (child.text or "") for child in part} for part in found)
    return [(int(row["PartNumber"]), row["ETag"].strip('"')) for row in rows]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
