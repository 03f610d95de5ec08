"""
Rules of S3 and SQS that the emulator does not enforce.

S3: a wrong CRC-32 of an object, a part or a multipart upload; a wrong `x-amz-mp-object-size`; parts out of order; a
part for an upload that was completed or aborted. SQS: a receipt that is unknown, expired or not the message's latest;
more than ten message attributes, empty ones, characters that XML does not allow.
"""

import re
import time
from dataclasses import dataclass, field
from functools import reduce

from isal.isal_zlib import crc32_combine

from .fields import WRITES, attribute_values, checksum, listed_parts
from .history import Exchange
from .http_streams import Answer, Request, header
from .operations import Call, refusal

REFUSED_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_ATTRIBUTES = 10


@dataclass
class _UploadState:
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: (size, crc32)
    ended: bool = False


@dataclass
class _ReceiptState:
    receipt: str
    until: float
    deleted: bool = False


class AwsRules:
    """Records receipts and parts, and refuses what AWS would refuse."""

    def __init__(self) -> None:
        self._uploads: dict[str, _UploadState] = {}
        self._leases: dict[str, _ReceiptState] = {}
        self._messages: dict[str, str] = {}  # receipt: message id

    def identify_receipt(self, exchange: Exchange) -> None:
        """Add the id of the message that the exchange's receipt belongs to; unknown receipts get none."""
        receipt = exchange.facts.get("receipt")
        if receipt in self._messages:
            exchange.facts["message"] = self._messages[receipt]

    def refuse(self, exchange: Exchange, request: Request) -> Answer | None:
        """Return the error response of AWS, or None if AWS would carry out the request."""
        call = exchange.call
        if call.op == "Unknown" or call.op.endswith("Batch"):
            return refusal(call, 501, "NotImplemented", "the proxy doesn't know this operation")
        if call.op in WRITES or call.op == "UploadPartCopy":
            return self._refuse_write(exchange, request)
        if call.op == "CompleteMultipartUpload":
            return self._refuse_complete(call, request)
        if call.op in ("ChangeMessageVisibility", "DeleteMessage"):
            return self._refuse_receipt(exchange)
        if call.op == "SendMessage":
            return _refuse_message(call)
        return None

    def learn(self, exchange: Exchange) -> None:
        """Record the effect of a call that was carried out."""
        call, facts = exchange.call, exchange.facts
        if call.op in ("UploadPart", "UploadPartCopy") and call.upload and call.part:
            self._uploads.setdefault(call.upload, _UploadState()).parts[call.part] = (facts["size"], facts["crc32"])
        elif call.op in ("CompleteMultipartUpload", "AbortMultipartUpload") and call.upload:
            self._uploads.setdefault(call.upload, _UploadState()).ended = True
        elif call.op == "ReceiveMessage":
            self._learn_receipts(exchange)
        elif call.op == "ChangeMessageVisibility" and facts.get("message"):
            self._leases[facts["message"]].until = time.monotonic() + facts["visibility"]
        elif call.op == "DeleteMessage" and facts.get("message"):
            self._leases[facts["message"]].deleted = True

    def _learn_receipts(self, exchange: Exchange) -> None:
        # Without VisibilityTimeout in the request the queue's value applies. It is unknown here: no expiry.
        until = time.monotonic() + exchange.facts.get("visibility", float("inf"))
        for message in exchange.facts["messages"]:
            self._messages[message["receipt"]] = message["id"]
            self._leases[message["id"]] = _ReceiptState(message["receipt"], until)

    def _refuse_write(self, exchange: Exchange, request: Request) -> Answer | None:
        call, claimed = exchange.call, checksum(request)
        if claimed is not None and claimed != exchange.facts["crc32"]:
            return refusal(call, 400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
        if call.upload and self._uploads.get(call.upload, _UploadState()).ended:
            return refusal(call, 404, "NoSuchUpload", "The specified multipart upload does not exist.")
        return None

    def _refuse_complete(self, call: Call, request: Request) -> Answer | None:
        sent = self._uploads.get(call.upload or "", _UploadState()).parts
        numbers = [number for number, _ in listed_parts(request.body)]
        if numbers != sorted(set(numbers)):
            return refusal(call, 400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        if not all(number in sent for number in numbers):
            return None  # the emulator refuses missing parts
        size = header(request.headers, "x-amz-mp-object-size")
        if size is not None and int(size) != sum(sent[number][0] for number in numbers):
            return refusal(call, 400, "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match.")
        claimed = checksum(request)
        whole = reduce(lambda crc, part: int(crc32_combine(crc, part[1], part[0])), (sent[n] for n in numbers), 0)
        if claimed is not None and claimed != whole:
            return refusal(call, 400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
        return None

    def _refuse_receipt(self, exchange: Exchange) -> Answer | None:
        call, message = exchange.call, exchange.facts.get("message")
        if message is None:
            return refusal(call, 400, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        lease = self._leases[message]
        stale = lease.receipt != exchange.facts["receipt"] or lease.deleted
        if call.op == "DeleteMessage":
            # "If the receipt handle is stale the request succeeds, but the message might not be deleted."
            exchange.facts["stale"] = stale
            return Answer(200, [("Content-Type", "application/x-amz-json-1.0")], b"{}") if stale else None
        if stale:
            reason = "Message does not exist or is not available for visibility timeout change."
            return refusal(
                call, 400, "InvalidParameterValue", f"Value for parameter ReceiptHandle is invalid. {reason}"
            )
        if lease.until < time.monotonic():
            return refusal(call, 400, "MessageNotInflight", "The message referred to isn't in flight.")
        return None


def _refuse_message(call: Call) -> Answer | None:
    attributes = attribute_values(call.fields.get("MessageAttributes") or {})
    if len(attributes) > MAX_ATTRIBUTES:
        reason = f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        return refusal(call, 400, "InvalidParameterValue", reason)
    empty = next((name for name, value in attributes.items() if not value), None)
    if empty is not None:
        reason = f"Message (user) attribute '{empty}' must contain a non-empty value."
        return refusal(call, 400, "InvalidParameterValue", reason)
    texts = (str(call.fields.get("MessageBody", "")), *attributes, *attributes.values())
    if any(REFUSED_CHARACTER.search(text) for text in texts):
        return refusal(call, 400, "InvalidMessageContents", "The message contains characters outside the allowed set.")
    return None
