"""
Recognize messages that are sent to the source queue by mistake: AWS events, wrapped requests, and text that is encoded
twice. Each gets a sentence that says what it is and how to fix it.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from archiver.errors import Rejected

MAX_INSPECTED = 4096
"""Maximum characters of a text, and members of an object, that are inspected: the beginning is enough."""

_POINTER_CLASSES = (  # class names before an S3 pointer of Amazon's SQS extended clients, old and new
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
    "software.amazon.payloadoffloading.PayloadS3Pointer",
)
_SNS_TYPES = {"Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"}
_LAMBDA = "is the event that Lambda gets from {}, not a message: send the request itself to the queue"
_WRAPPED = "is a request wrapped in {}: send its content, without the wrapper"

JsonObject = dict[str, Any]


def reject_mistakes(data: object) -> None:
    """Raise Rejected `invalid_request`, with a description of *data*, if it is not a request."""
    if not isinstance(data, dict):
        raise Rejected("invalid_request", f"$ {_describe_value(data)}")
    is_request = "files" in data or "manifest" in data or ("command" in data and "status" not in data)
    if not is_request and (sentence := _describe_object(data)):
        raise Rejected("invalid_request", f"$ {sentence}")


def _describe_object(data: JsonObject) -> str | None:
    return next((sentence for known in _SHAPES if (sentence := known(data)) is not None), None)


def _describe_value(data: object) -> str:
    """Describe *data*, which is valid JSON but not an object."""
    if isinstance(data, list):
        return _describe_list(data)
    if isinstance(data, str):
        start = data[:MAX_INSPECTED].lstrip()
        if start.startswith(("{", "[", '"')):
            return "is JSON inside a JSON string: it was encoded twice; send the object itself"
        return (
            f"should be an object, and is text; {description}"
            if (description := describe_text(data))
            else _should_be("text")
        )
    return _should_be("null" if data is None else "true or false" if isinstance(data, bool) else "a number")


def _should_be(what: str) -> str:
    return f"should be an object, and is {what}"


def _describe_list(data: list[Any]) -> str:
    first = data[0] if data else None
    if isinstance(first, str) and (first in _POINTER_CLASSES or first.endswith("S3Pointer")):
        return (
            "is a pointer of an SQS extended client: the request is stored in S3, and pointers are not followed; "
            "send the request itself, in a message of up to 1 MiB"
        )
    if isinstance(first, dict) and "files" in first:
        return "is a list of requests: send each in its own message"
    return _should_be("a list")


def _s3_event(data: JsonObject) -> str | None:
    if data.get("Event") == "s3:TestEvent":
        return (
            "is the s3:TestEvent that S3 sends when a bucket's notifications are turned on: "
            "the bucket sends its events to the source queue; send them to another queue"
        )
    return None


def _records(data: JsonObject) -> str | None:
    records = data.get("Records")
    record = records[0] if isinstance(records, list) and records else None
    if not isinstance(record, dict):
        return None
    if "s3" in record:
        return (
            "is an S3 event notification: the bucket sends its events to the source queue; "
            "send them to another queue, or send a request for the objects that they name"
        )
    if "Sns" in record:
        return _LAMBDA.format("SNS")
    if "body" in record:
        return _LAMBDA.format("SQS")
    source = record.get("eventSource")
    return _LAMBDA.format(source) if isinstance(source, str) and re.fullmatch("[a-z0-9:]{1,40}", source) else None


def _sns(data: JsonObject) -> str | None:
    if "TopicArn" not in data or data.get("Type") not in _SNS_TYPES:
        return None
    return (
        f"is an SNS envelope (Type {data['Type']}): turn on raw message delivery in the topic's subscription, "
        "so that the request arrives without the envelope"
    )


def _eventbridge(data: JsonObject) -> str | None:
    if "detail-type" not in data or "detail" not in data:
        return None
    if data["detail-type"] == "Scheduled Event":
        return "is the event of a schedule without input: give the schedule the request as its input"
    return "is an EventBridge event: let the rule's target send `$.detail` alone (its input path), if that is a request"


def _gateway(data: JsonObject) -> str | None:
    if "requestContext" not in data and "httpMethod" not in data:
        return None
    return "is the event that API Gateway or a load balancer sends: send its `body` alone, if that is a request"


def _sqs_call(data: JsonObject) -> str | None:
    if "MessageBody" in data or "ReceiptHandle" in data or "Messages" in data:
        return "is the input or output of an SQS API call: send only the text of the message's body"
    return None


def _answer(data: JsonObject) -> str | None:
    is_answer = "substitutions" in data or (
        "status" in data and not data.keys().isdisjoint(("error", "progress", "command"))
    )
    if not is_answer or "metadata" not in data:
        return None
    return "is an answer of this service, not a request: an answer queue must not be the source queue"


def _other_dialect(data: JsonObject) -> str | None:
    """Describe what is nearly a message of another dialect (`archiver.core.dialects`)."""
    if isinstance(data.get("parameters"), list):
        return "has `parameters`, as orders of Media Cloud AI have, and no whole number as `job_id`: write one"
    if "service" in data:
        return "has a `service`, as messages of lanlytics have, and no `command`: write one, or `test`: true"
    return None


def _misspelt(data: JsonObject) -> str | None:
    for key in list(data)[:MAX_INSPECTED]:
        if key.lower() in {"files", "file"}:
            return f"has {key!a} and no `files`: write `files`, in lower case, with a list of objects"
    if "source" in data or "Source" in data:
        return 'has a `source` and no `files`: write {"files": [{"source": "…"}]}'
    return None


def _wrapper(data: JsonObject) -> str | None:
    for key, value in list(data.items())[:MAX_INSPECTED]:
        wraps_request = (isinstance(value, dict) and isinstance(value.get("files"), list)) or (
            isinstance(value, str)
            and value[:MAX_INSPECTED].lstrip().startswith("{")
            and '"files"' in value[:MAX_INSPECTED]
        )
        if wraps_request:
            return _WRAPPED.format(f"`$.{key}`" if re.fullmatch("[A-Za-z0-9_-]{1,40}", key) else "another object")
    return None


_SHAPES: tuple[Callable[[JsonObject], str | None], ...] = (
    _s3_event,
    _records,
    _sns,
    _eventbridge,
    _gateway,
    _sqs_call,
    _answer,
    _other_dialect,
    _misspelt,
    _wrapper,
)


_TEXT_SHAPES = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        ("\ufeff", "it begins with a byte order mark: send it without (in Python, read the file as utf-8-sig)"),
        (r"\Z", "it is blank"),
        (r"\{\s*u?'|\[\s*\{\s*u?'", "it has single quotes, as Python prints a dict: use json.dumps"),
        ("<", "it is XML or HTML"),
        ("data:", "it is a data: URL: send its content without encoding"),
        ("%7B|%5B|%22", "it is URL-encoded: send it without encoding"),
        (r"[a-z_][\w.\[\]%-]*=(?!=*\Z)", "it is a form (name=value): send a JSON object"),
    )
)


def describe_text(text: str) -> str | None:
    """Describe *text*, which is not JSON; None if it is not recognized."""
    begin = text[:MAX_INSPECTED].strip()
    known = (sentence for pattern, sentence in _TEXT_SHAPES if pattern.match(begin))
    return next(known, None) or _describe_base64(begin)


def _describe_base64(begin: str) -> str | None:
    dense = "".join(begin.split()).replace("-", "+").replace("_", "/").rstrip("=")
    if not re.fullmatch("[A-Za-z0-9+/]{8,}", dense):
        return None
    data = b64decode(dense[: len(dense) // 4 * 4])
    if data.startswith((b"\x1f\x8b", b"BZh", b"(\xb5/\xfd")) or data[:2] in {b"x\x01", b"x\x9c", b"x\xda"}:
        return "it is base64 of compressed data: send the JSON itself, without either"
    if data.lstrip()[:1] in {b"{", b"[", b'"'}:
        return "it is base64 of JSON: send the JSON itself"
    return None
