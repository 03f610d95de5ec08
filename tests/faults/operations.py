"""Identify the S3 (path-style) or SQS (JSON protocol) operation of a request, and its parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from .http_streams import Answer, Request, header

PUT_RECEIPT = "PutReceipt"
RECEIPT_OPERATIONS = {
    "PutObject": PUT_RECEIPT,
    "HeadObject": "HeadReceipt",
    "GetObject": "GetReceipt",
    "DeleteObject": "DeleteReceipt",
}
"""Calls for receipts have names of their own, so that faults of archives and sources do not hit them."""
PUT_RECORD = "PutRecord"
RECORD_OPERATIONS = {
    "PutObject": PUT_RECORD,
    "HeadObject": "HeadRecord",
    "GetObject": "GetRecord",
    "DeleteObject": "DeleteRecord",
}
"""So do those for records of unfinished uploads."""
NO_RECEIPT, NO_OBJECT = "AQEBnone", ".archiver-check"
QUERY_CODES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
}


@dataclass(frozen=True, slots=True)
class Call:
    """
    One operation. *fields* is the parsed body of an SQS request; *part* is a part's number, from 1; *span* is the
    Range header. *prefix*: of the keys that are listed. *receiver*: of an answer beside SQS: topic, bus or function.
    """

    op: str
    bucket: str | None = None
    key: str | None = None
    part: int | None = None
    upload: str | None = None
    queue: str | None = None
    span: str | None = None
    prefix: str | None = None
    receiver: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_look(self) -> bool:
        """Whether it is a permission probe of a worker, which affects no message and no object."""
        key = self.key or self.prefix or ""
        shows = key.startswith(f"{NO_OBJECT} ")  # what a store must show before it copies
        return self.looks_at_rights or shows or key.rpartition("/")[2] == NO_OBJECT

    @property
    def looks_at_rights(self) -> bool:
        """Whether it uses the probe's receipt, which belongs to no message."""
        return self.fields.get("ReceiptHandle") == NO_RECEIPT

    def __str__(self) -> str:
        where = self.queue or "/".join(name for name in (self.bucket, self.key) if name)
        return f"{self.op} {where}{f' #{self.part}' if self.part else ''}".strip()


def is_receipt(key: str) -> bool:
    return key.rpartition("/")[2].startswith("receipt-")


def is_record(key: str) -> bool:
    return key.rpartition("/")[2].startswith("build-")


def call_of(request: Request) -> Call:
    """Return the operation of *request*. SQS and SNS requests need their body; the body of S3 requests is ignored."""
    target = header(request.headers, "x-amz-target")
    if target is None and _is_form(request):
        form = dict(parse_qsl((request.body or b"").decode()))
        return Call(form.get("Action", "Unknown"), receiver="topic", fields=form)
    if target is None and request.target.startswith(_FUNCTIONS):
        return Call(_OF_A_FUNCTION.get(request.target.rpartition("/")[2], "Unknown"), receiver="function")
    if target is None:
        return _of_s3(request)
    if target.startswith("AWSEvents."):
        return Call(target.rpartition(".")[2], receiver="bus", fields=json.loads(request.body or b"{}"))
    parsed = json.loads(request.body or b"{}")
    fields = parsed if isinstance(parsed, dict) else {}
    queue = fields.get("QueueName") or str(fields.get("QueueUrl", "")).rpartition("/")[2]
    return Call(target.rpartition(".")[2], queue=queue or None, fields=fields)


def is_sqs(request: Request) -> bool:
    """Whether *request* is for SQS or the like, so that its body identifies the operation or the queue."""
    return header(request.headers, "x-amz-target") is not None or _is_form(request)


def _is_form(request: Request) -> bool:
    return (header(request.headers, "content-type") or "").startswith("application/x-www-form-urlencoded")


_FUNCTIONS = "/2015-03-31/functions/"
_OF_A_FUNCTION = {"invocations": "Invoke", "configuration": "GetFunctionConfiguration"}


_OF_A_SERVICE = {"GET": "ListBuckets"}
_OF_A_BUCKET = {"HEAD": "HeadBucket", "PUT": "CreateBucket", "GET": "ListObjects", "DELETE": "DeleteBucket"}
_OF_AN_OBJECT = {
    ("GET", False): "GetObject",
    ("HEAD", False): "HeadObject",
    ("PUT", False): "PutObject",
    ("DELETE", False): "DeleteObject",
    ("GET", True): "ListParts",
    ("PUT", True): "UploadPart",
    ("POST", True): "CompleteMultipartUpload",
    ("DELETE", True): "AbortMultipartUpload",
}


def _of_s3(request: Request) -> Call:
    path, _, query = request.target.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    bucket, _, key = path.lstrip("/").partition("/")
    bucket, key = unquote(bucket), unquote(key)
    upload = parameters.get("uploadId")
    if not bucket:
        op = _OF_A_SERVICE.get(request.method, "Unknown")
    elif not key:
        listing = request.method == "GET" and "uploads" in parameters
        op = "ListMultipartUploads" if listing else _OF_A_BUCKET.get(request.method, "Unknown")
    elif request.method == "POST" and "uploads" in parameters:
        op = "CreateMultipartUpload"
    elif request.method == "POST" and "restore" in parameters:
        op = "RestoreObject"
    else:
        op = _OF_AN_OBJECT.get((request.method, upload is not None), "Unknown")
        if op == "UploadPart" and header(request.headers, "x-amz-copy-source") is not None:
            op = "UploadPartCopy"
        if is_receipt(key):
            op = RECEIPT_OPERATIONS.get(op, op)
        elif is_record(key):
            op = RECORD_OPERATIONS.get(op, op)
    part = int(parameters["partNumber"]) if "partNumber" in parameters else None
    span = header(request.headers, "range")
    prefix = parameters.get("prefix") if not key else None
    return Call(op, bucket=bucket or None, key=key or None, part=part, upload=upload, span=span, prefix=prefix)


def refusal(call: Call, status: int, code: str, message: str = "a planned fault") -> Answer:
    """Return an error response of *call*'s service: XML for S3 (no body for HEAD) and SNS, JSON for the others."""
    if call.receiver == "topic":
        xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return Answer(status, [("Content-Type", "text/xml")], xml.encode())
    if call.receiver == "function":
        named = [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
        return Answer(status, named, json.dumps({"message": message}).encode())
    if call.queue is not None or call.fields:
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
        side = "Sender" if status < 500 else "Receiver"
        query_error = ("x-amzn-query-error", f"{QUERY_CODES.get(code, code)};{side}")
        return Answer(status, [("Content-Type", "application/x-amz-json-1.0"), query_error], body)
    if call.op.startswith("Head"):
        return Answer(status, [("Content-Type", "application/xml")])
    return Answer(status, [("Content-Type", "application/xml")], error_xml(code, message))


def error_xml(code: str, message: str) -> bytes:
    """Return S3's error document."""
    inner = f"<Code>{code}</Code><Message>{message}</Message><RequestId>0000000000000000</RequestId>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
