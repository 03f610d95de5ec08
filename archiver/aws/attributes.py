"""Message attributes within SQS's rules: at most ten, part of the message's size, no character that SQS refuses."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archiver.ports import Attribute

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import MessageAttributeValueTypeDef

MOST = 10
REASON_LIMIT = 1024
CODE = "ErrorCode"
REASON = "ErrorMessage"
FIRST_ID = "MessageId"  # what SQS called the message when it was sent: in the dead-letter queue it has another id

# The characters of XML 1.0, which is what SQS takes in bodies and values.
_REFUSED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"(?!(?i:aws\.|amazon\.)|\.|.*\.\.|.*\.$)[A-Za-z0-9_.-]{1,256}")
_TYPE = re.compile(r"(String|Number|Binary)(\.[^\x00-\x1f]+)?")


def escaped(text: str, limit: int = REASON_LIMIT) -> str:
    r"""*text* with what SQS refuses written as `\x00` or `\ud800`, cut to *limit* bytes of UTF-8 between characters."""
    safe = _REFUSED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return safe.encode()[: max(limit, 0)].decode(errors="ignore")


def sendable(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The first ten of *attributes* that SQS accepts: an answer is not lost over an attribute that it would refuse."""
    good = [(name, attribute) for name, attribute in attributes.items() if _accepted(name, attribute)]
    return dict(good[:MOST])


def size_of(attributes: Mapping[str, Attribute]) -> int:
    """Bytes that *attributes* take of the message's size: names, types and values."""
    return sum(_size(name, attribute) for name, attribute in attributes.items())


def with_reason(
    attributes: Mapping[str, Attribute], code: str, message: str, room: int, message_id: str = ""
) -> dict[str, Attribute]:
    """
    *attributes* of a message with the reason of its rejection and its own id, in at most *room* bytes.

    These displace others beyond ten. Where *room* is short, the others go first, then the reason is shortened,
    then left out, then the code: the body has priority over them all.
    """
    reason = {CODE: escaped(code), REASON: escaped(message), FIRST_ID: message_id}
    ours = {name: Attribute("String", text) for name, text in reason.items() if text}
    others = {name: attribute for name, attribute in attributes.items() if name not in reason}
    theirs = dict(list(sendable(others).items())[: MOST - len(ours)])
    if size_of(theirs) + size_of(ours) <= room:
        return theirs | ours
    return _shortened(ours, message, room)


def _shortened(ours: dict[str, Attribute], message: str, room: int) -> dict[str, Attribute]:
    kept = {name: attribute for name, attribute in ours.items() if name == CODE and _size(name, attribute) <= room}
    left = room - size_of(kept) - _size(REASON, Attribute("String", ""))
    text = escaped(message, min(left, REASON_LIMIT))
    if CODE in kept and text:
        kept[REASON] = Attribute("String", text)
    return kept


def wire(attributes: Mapping[str, Attribute]) -> "dict[str, MessageAttributeValueTypeDef]":
    """*attributes* as SendMessage takes them."""
    return {name: _wired(attribute) for name, attribute in attributes.items()}


def unwired(attributes: "Mapping[str, Any]") -> dict[str, Attribute]:
    """What ReceiveMessage brought, without what an earlier rejection added: it is not this try's."""
    return {
        name: Attribute(told["DataType"], told["StringValue"] if "StringValue" in told else told["BinaryValue"])
        for name, told in attributes.items()
        if name not in (CODE, REASON, FIRST_ID) and ("StringValue" in told or "BinaryValue" in told)
    }


def _wired(attribute: Attribute) -> "MessageAttributeValueTypeDef":
    if isinstance(attribute.value, bytes):
        return {"DataType": attribute.type, "BinaryValue": attribute.value}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _accepted(name: str, attribute: Attribute) -> bool:
    value = attribute.value
    clean = not isinstance(value, str) or _REFUSED.search(value) is None
    fits = isinstance(value, bytes) == attribute.type.startswith("Binary")
    return bool(value and clean and fits and _NAME.fullmatch(name) and _TYPE.fullmatch(attribute.type))


def _size(name: str, attribute: Attribute) -> int:
    value = attribute.value
    return len(name) + len(attribute.type.encode()) + len(value if isinstance(value, bytes) else value.encode())
