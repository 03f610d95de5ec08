"""Describe an invalid setting: what was given and what is expected. No text of a library is shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from archiver.core.references import ReferencedText

MAX_SHOWN_CHARS = 60  # characters of the given value


@dataclass(frozen=True, slots=True)
class Expected:
    """Annotation of a type: *text* describes its valid values, after the words `should be`."""

    text: str


def describe_invalid(field: FieldInfo, value: str) -> str:
    """
    Return the sentence about *value*, which is invalid for *field*. Secrets, and values that came by reference, are not
    shown.
    """
    return f"{_quoted(field, value)} should be {_expected(field)}"


def _quoted(field: FieldInfo, value: str) -> str:
    if SecretStr in _types(field.annotation):
        return "the text given (a secret)"
    if isinstance(value, ReferencedText):
        return "what its reference gives"
    text = value.strip()
    return repr(text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…")


def _expected(field: FieldInfo) -> str:
    found = [*_types(field.annotation), *field.metadata]
    if text := next((one.text for one in found if isinstance(one, Expected)), ""):
        return text
    if bool in found:
        return "1 or 0 (or true/false, yes/no, on/off)"
    if int in found:
        return f"a whole number{_range(field)}"
    if float in found:
        return f"a number{_range(field)}"
    choices = [str(choice) for one in found if get_origin(one) is Literal for choice in get_args(one)]
    if choices:
        *others, last = choices
        return f"{', '.join(others)} or {last}" if others else f"{last} (or unset)"
    return f"the {field.description}"


def _range(field: FieldInfo) -> str:
    minimum = next((one.ge for one in field.metadata if getattr(one, "ge", None) is not None), None)
    maximum = next((one.le for one in field.metadata if getattr(one, "le", None) is not None), None)
    if maximum is None:
        return "" if minimum is None else f", at least {minimum:,}"
    return f" from {minimum or 0:,} to {maximum:,}"


def _types(annotation: Any) -> Iterator[Any]:
    """Yield *annotation* and all its parts, including the metadata of `Annotated`."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part) if not isinstance(part, str) else ()
