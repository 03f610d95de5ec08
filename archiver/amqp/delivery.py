"""What the broker delivers, as a Message: its body, its headers as attributes, and how often it was received."""

import hashlib
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from archiver.ports import Attribute

if TYPE_CHECKING:
    from pamqp.commands import Basic

MAX_BODY_BYTES = 1024 * 1024
"""Of a request, the same as on SQS. Brokers deliver up to 128 MiB."""
MAX_HEADER_BYTES = 32 * 1024
"""Of names and values that are passed on: the headers of a message have to fit in one frame of 128 KiB."""

CORRELATION_ID = "Correlation-Id"
CODE_HEADER, REASON_HEADER, ORIGINAL_ID_HEADER = "ErrorCode", "ErrorMessage", "MessageId"
ERROR_HEADERS = (CODE_HEADER, REASON_HEADER, ORIGINAL_ID_HEADER)
MAX_REASON_BYTES = 1024
FRAME_BYTES = 32  # of a frame beside properties: its own 8, the body's size, the flags
MAX_NAME_BYTES = 128  # of a header, in what the client sends
MAX_SHORT_TEXT = 255  # bytes of a header's name, and of properties that are text

_PLAIN = ("", "utf-8", "identity")  # values of `content_encoding` that say nothing
_WHOLE_NUMBER = re.compile("-?[0-9]{1,18}")
DEATHS = "x-death"
_ROUTES = frozenset({"CC", "BCC"})
"""Of a sender's headers: RabbitMQ sends copies to the queues in them, also of what a worker publishes."""
_BROKERS_OWN = (DEATHS, "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a message as text. *problem*: why it is none; then *text* is empty."""

    text: str
    problem: str = ""


def read_body(body: bytes) -> Body:
    """Decode the body of a message."""
    if len(body) > MAX_BODY_BYTES:
        problem = f"the message has {len(body):,} bytes; a request may have {MAX_BODY_BYTES:,}: put its files into a"
        return Body("", f"{problem} manifest")
    try:
        return Body(body.decode())
    except UnicodeDecodeError as error:
        return Body("", f"the message is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}")


def read_message(properties: "Basic.Properties", body: bytes) -> Body:
    """The same of a message, which has a problem also where its `x-death` is forged."""
    if has_forged_deaths(properties):
        return Body("", f"the header {DEATHS} is not as RabbitMQ writes it: senders must not set it")
    read, encoding = read_body(body), properties.content_encoding or ""
    if read.problem and encoding.lower() not in _PLAIN:
        return Body("", f"{read.problem}; its content_encoding is {encoding[:40]!a}: send the JSON as it is")
    return read


def has_forged_deaths(properties: "Basic.Properties") -> bool:
    """
    Whether `x-death` could end the broker's process of the queue if the message was rejected to another queue (RabbitMQ
    3.10 expects a list of tables with counts). The message would be lost, and with it others that are not persistent.
    """
    deaths = (properties.headers or {}).get(DEATHS)
    return isinstance(deaths, list) and not all(
        isinstance(one, dict) and _is_count(one.get("count", 0)) for one in deaths
    )


def message_id(properties: "Basic.Properties", body: bytes) -> str:
    """Return the sender's id; if there is none, the hash of *body*: the same message has the same id."""
    return properties.message_id or hashlib.sha256(body).hexdigest()


def sent_at(properties: "Basic.Properties", now: datetime) -> datetime:
    """Return the sender's time, if there is one that can be true."""
    given = properties.timestamp
    if given is None:
        return now
    utc = given.replace(tzinfo=UTC) if given.tzinfo is None else given
    return min(utc, now)


def count_receives(properties: "Basic.Properties", queue: str) -> int:
    """
    Return the receives of a message, this one included, as far as the broker has counted them: rejections from *queue*
    to its dead-letter exchange, or the deliveries of a quorum queue.
    """
    headers = properties.headers or {}
    deaths = headers.get(DEATHS)
    rejections = [
        one.get("count")
        for one in (deaths if isinstance(deaths, list) else ())
        if isinstance(one, dict) and one.get("queue") == queue and one.get("reason") == "rejected"
    ]
    return 1 + max(_count(rejections[0] if rejections else 0), _count(headers.get("x-delivery-count", 0)))


def _count(value: Any) -> int:
    return max(value, 0) if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def read_attributes(properties: "Basic.Properties") -> dict[str, Attribute]:
    """
    Return the headers that answers pass on, and the correlation id as `Correlation-Id`. Headers that are lists or
    tables, and the broker's own, are left out.
    """
    found: dict[str, Attribute] = {}
    if properties.correlation_id:
        found[CORRELATION_ID] = Attribute("String", properties.correlation_id)
    for name, value in (properties.headers or {}).items():
        if name not in ERROR_HEADERS and not name.startswith(_BROKERS_OWN):
            attribute = _attribute(value)
            if attribute is not None:
                found[name] = attribute
    return within_limit(found)


def _attribute(value: Any) -> Attribute | None:
    if isinstance(value, bool):
        return Attribute("String", str(value).lower())
    if isinstance(value, int | float | Decimal):
        return Attribute("Number", str(value))
    if isinstance(value, str):
        return Attribute("String", value)
    if isinstance(value, bytes | bytearray):
        return Attribute("Binary", bytes(value))
    return None


def within_limit(attributes: Mapping[str, Attribute], limit: int = MAX_HEADER_BYTES) -> dict[str, Attribute]:
    """Return the first of *attributes* that have *limit* bytes in all."""
    kept, size = {}, 0
    for name, attribute in attributes.items():
        value = attribute.value.encode(errors="replace") if isinstance(attribute.value, str) else attribute.value
        size += len(name.encode(errors="replace")) + len(value)
        if size > limit:
            break
        kept[name] = attribute
    return kept


def to_headers(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Return *attributes* as headers: whole numbers of 64 bits as such, others as text, so that none is rounded."""
    return {
        name: _header_value(attribute)
        for name, attribute in within_limit(attributes).items()
        if 0 < len(name.encode(errors="replace")) <= MAX_SHORT_TEXT and name not in _ROUTES
    }


def _header_value(attribute: Attribute) -> str | bytearray | int:
    value = attribute.value
    if isinstance(value, bytes):
        return bytearray(value)  # the client encodes no bytes
    if attribute.type == "Number" and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value


def short_text(text: str) -> str:
    """Return the beginning of *text* that a property can hold."""
    return cut_text(text, MAX_SHORT_TEXT)


def within_frame(properties: "Basic.Properties", frame_max: int) -> "Basic.Properties":
    """
    Return *properties*, without the sender's headers if they do not fit in a frame of *frame_max* bytes: the broker
    ends a connection that sends a longer one. 4096 bytes, the least of the protocol, are enough for the rest.
    """
    if len(properties.marshal()) + FRAME_BYTES <= frame_max:
        return properties
    fitting = copy(properties)
    fitting.headers = {name: one for name, one in (properties.headers or {}).items() if name in ERROR_HEADERS} or None
    return fitting


def cut_text(text: str, limit: int) -> str:
    """Return the beginning of *text* that has *limit* bytes."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def encodable(value: Any) -> Any:
    """Return the value of a header that was decoded, as the client can encode it without a loss."""
    if isinstance(value, dict):
        return {cut_text(name, MAX_NAME_BYTES): encodable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [encodable(one) for one in value]
    if isinstance(value, bytes):
        return bytearray(value)
    return str(value) if isinstance(value, float) else value  # it would be rounded to 32 bits


def rejected_headers(properties: "Basic.Properties", code: str, reason: str, original_id: str) -> dict[str, Any]:
    """
    Return the headers of a message for its dead-letter queue: the sender's as they were, beside the *code* and the
    *reason* of the rejection. A sender must not choose by them where else it goes: to the worker's queue, it would
    come back for ever.
    """
    given = properties.headers or {}
    left_out = _ROUTES.union(ERROR_HEADERS)
    sender = encodable({n: value for n, value in given.items() if n not in left_out and not n.startswith(_BROKERS_OWN)})
    return {
        **sender,
        CODE_HEADER: code,
        REASON_HEADER: cut_text(reason, MAX_REASON_BYTES),
        ORIGINAL_ID_HEADER: cut_text(original_id, MAX_REASON_BYTES),
    }
