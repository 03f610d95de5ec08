"""
Message attributes that SQS accepts: at most ten, counted in the message's size, without characters that SQS refuses.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archiver.ports import Attribute

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import MessageAttributeValueTypeDef

MAX_ATTRIBUTES = 10
MAX_REASON_BYTES = 1024
CODE_ATTRIBUTE = "ErrorCode"
REASON_ATTRIBUTE = "ErrorMessage"
ORIGINAL_ID_ATTRIBUTE = "MessageId"  # the message's id in the source queue; it gets a new id in the dead-letter queue

# Characters outside XML 1.0, which SQS refuses in bodies and values.
_INVALID_CHARACTERS = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME_PATTERN = re.compile(r"(?!(?i:aws\.|amazon\.)|\.|.*\.\.|.*\.$)[A-Za-z0-9_.-]{1,256}")
_TYPE_PATTERN = re.compile(r"(String|Number|Binary)(\.[^\x00-\x1f]+)?")


def escape(text: str, limit: int = MAX_REASON_BYTES) -> str:
    r"""
    Escape the characters that SQS refuses as `\x00` or `\ud800`.

    The result has at most *limit* bytes of UTF-8; it is cut between characters.
    """
    safe = _INVALID_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return safe.encode()[: max(limit, 0)].decode(errors="ignore")


def valid_attributes(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return the first ten of *attributes* that SQS accepts: an invalid attribute must not prevent an answer."""
    valid = [(name, attribute) for name, attribute in attributes.items() if _is_valid(name, attribute)]
    return dict(valid[:MAX_ATTRIBUTES])


def attributes_size(attributes: Mapping[str, Attribute]) -> int:
    """Return the size of *attributes* in bytes, as SQS counts it: names, types and values."""
    return sum(_attribute_size(name, attribute) for name, attribute in attributes.items())


def with_error_attributes(
    attributes: Mapping[str, Attribute], code: str, message: str, max_bytes: int, message_id: str = ""
) -> dict[str, Attribute]:
    """
    Add *code*, *message* and *message_id* of a rejection to *attributes*, in at most *max_bytes* bytes.

    The added ones take precedence over other attributes beyond ten. If *max_bytes* is too small, these are dropped in
    order: the other attributes and the id, the end of the reason, the whole reason, the code.
    """
    reason = {CODE_ATTRIBUTE: escape(code), REASON_ATTRIBUTE: escape(message), ORIGINAL_ID_ATTRIBUTE: message_id}
    error_attributes = {name: Attribute("String", text) for name, text in reason.items() if text}
    others = {name: attribute for name, attribute in attributes.items() if name not in reason}
    sender_attributes = dict(list(valid_attributes(others).items())[: MAX_ATTRIBUTES - len(error_attributes)])
    if attributes_size(sender_attributes) + attributes_size(error_attributes) <= max_bytes:
        return sender_attributes | error_attributes
    return _fit_error_attributes(error_attributes, message, max_bytes)


def _fit_error_attributes(error_attributes: dict[str, Attribute], message: str, max_bytes: int) -> dict[str, Attribute]:
    fitted = {
        name: attribute
        for name, attribute in error_attributes.items()
        if name == CODE_ATTRIBUTE and _attribute_size(name, attribute) <= max_bytes
    }
    remaining = max_bytes - attributes_size(fitted) - _attribute_size(REASON_ATTRIBUTE, Attribute("String", ""))
    text = escape(message, min(remaining, MAX_REASON_BYTES))
    if CODE_ATTRIBUTE in fitted and text:
        fitted[REASON_ATTRIBUTE] = Attribute("String", text)
    return fitted


def to_sqs(attributes: Mapping[str, Attribute]) -> "dict[str, MessageAttributeValueTypeDef]":
    """Convert *attributes* to the format of SendMessage."""
    return {name: _to_sqs_value(attribute) for name, attribute in attributes.items()}


def from_sqs(attributes: "Mapping[str, Any]") -> dict[str, Attribute]:
    """Convert attributes from ReceiveMessage, without those that an earlier rejection added."""
    return {
        name: Attribute(raw["DataType"], raw["StringValue"] if "StringValue" in raw else raw["BinaryValue"])
        for name, raw in attributes.items()
        if name not in (CODE_ATTRIBUTE, REASON_ATTRIBUTE, ORIGINAL_ID_ATTRIBUTE)
        and ("StringValue" in raw or "BinaryValue" in raw)
    }


def _to_sqs_value(attribute: Attribute) -> "MessageAttributeValueTypeDef":
    if isinstance(attribute.value, bytes):
        return {"DataType": attribute.type, "BinaryValue": attribute.value}
    return {"DataType": attribute.type, "StringValue": attribute.value}


def _is_valid(name: str, attribute: Attribute) -> bool:
    value = attribute.value
    clean = not isinstance(value, str) or _INVALID_CHARACTERS.search(value) is None
    fits = isinstance(value, bytes) == attribute.type.startswith("Binary")
    return bool(value and clean and fits and _NAME_PATTERN.fullmatch(name) and _TYPE_PATTERN.fullmatch(attribute.type))


def _attribute_size(name: str, attribute: Attribute) -> int:
    value = attribute.value
    return len(name) + len(attribute.type.encode()) + len(value if isinstance(value, bytes) else value.encode())
