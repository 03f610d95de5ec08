"""
Requests in wrappers: AWS may wrap a message on its way to the queue, and a sender may encode it twice. What is wrapped
counts as if it had come alone, where that is unambiguous:

    byte order mark       the text after it
    JSON string           its text
    base64                the text that it encodes
    SNS envelope          `Message` of a notification
    EventBridge event     `detail`, unless an AWS service sent the event

Everything else, `archiver.core.mistakes` names.
"""

import json
import re
from base64 import b64decode
from typing import Any

from archiver.core import strict_json
from archiver.errors import Rejected

MAX_LAYERS = 4
"""Wrappers in each other: an EventBridge event in an SNS envelope, encoded twice, has three."""

_REQUEST_FIELDS = ("files", "manifest", "cancel", "command")  # what has one is a request, whatever else it has
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{8,}+=*\s*", re.ASCII)
_PROBE = 64  # characters: what a text begins with, after blanks
_MAX_BLANKS = 4096


def unwrap(body: str) -> str:
    """Return the JSON object in *body*, if wrappers alone surround it; else *body*. Never raises."""
    inner = body
    for _ in range(MAX_LAYERS):
        opened = _from_envelope(inner) if _first(inner) == "{" else _from_text(inner)
        if opened is None:
            break
        inner = opened
    return inner if _first(inner) == "{" else body


def _first(text: str) -> str:
    return text[:_MAX_BLANKS].lstrip(" \t\r\n")[:1]


def _from_text(text: str) -> str | None:
    """Return the text that *text*, which is no object, holds; None: it holds none."""
    if text.startswith("\ufeff"):
        return text[1:]
    if _first(text) == '"':
        value = strict_json.load_lenient(text)
        return value if isinstance(value, str) else None
    return _from_base64(text)


def _from_base64(text: str) -> str | None:
    if not _decodes_to_json(text[:_MAX_BLANKS].lstrip()[:_PROBE]) or not _BASE64.fullmatch(text):
        return None
    dense = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    if len(dense) % 4 == 1:
        return None
    try:
        return b64decode(dense + "=" * (-len(dense) % 4)).decode()
    except UnicodeDecodeError:
        return None


def _decodes_to_json(start: str) -> bool:
    """Whether the base64 *start* encodes the beginning of an object or of a string."""
    dense = "".join(start.split()).translate(str.maketrans("-_", "+/"))
    if not re.fullmatch(r"[A-Za-z0-9+/]{4,}=*", dense):
        return False
    begin = b64decode(dense[: len(dense.rstrip("=")) // 4 * 4])
    return begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b'"'}


def _from_envelope(text: str) -> str | None:
    """Return what the object *text* wraps; None: it is no envelope."""
    if '"TopicArn"' not in text and '"detail-type"' not in text:  # most are none: they are not parsed for it
        return None
    try:
        data = strict_json.load(text)
    except Rejected:
        return None
    if not isinstance(data, dict) or any(field in data for field in _REQUEST_FIELDS):
        return None
    return _event_detail(data) if "detail-type" in data else _sns_message(data)


def _sns_message(data: dict[str, Any]) -> str | None:
    message = data.get("Message")
    is_notification = data.get("Type") == "Notification" and "TopicArn" in data
    return message if is_notification and isinstance(message, str) else None


def _event_detail(data: dict[str, Any]) -> str | None:
    detail, source = data.get("detail"), data.get("source")
    if isinstance(source, str) and source.startswith("aws."):
        return None
    return json.dumps(detail) if isinstance(detail, dict) else detail if isinstance(detail, str) else None
