"""
Values of requests, checked by the types that the operator's file gives them. Each becomes one word, as it is.

`number`, `integer` and `boolean` are written as JSON writes them.
"""

import json
import re
from collections.abc import Callable

from archiver.core.command_fields import MAX_ITEMS, MAX_VALUE_LENGTH
from archiver.core.commands import Parameter, ParameterType
from archiver.core.locations import AllowList, Location, parse_prefix
from archiver.core.patterns import Pattern
from archiver.errors import Code, Rejected

_INTEGER = re.compile("-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # of JSON (RFC 8259, section 6)
_MAX_NUMBER_LENGTH = 40
_MAX_SHOWN_CHARS = 100


class ValueProblem(ValueError):
    """A value can't be used. The text says what it should be; *code*: of the rejection."""

    def __init__(self, told: str, code: Code = "command_not_allowed") -> None:
        super().__init__(told)
        self.code: Code = code


def check_value(parameter: Parameter, value: object) -> str:
    """Return the word for *value*, of any type but `text_list`, `input` and `output`. Raises ValueProblem."""
    word = _CHECKS[parameter.type](parameter, value)
    if word.startswith("-") and not parameter.dash:
        raise ValueProblem(f"begins with -, as an option does: {shown(word)}")
    return word


def check_values(parameter: Parameter, value: object) -> tuple[str, ...]:
    """Return the words for *value*, of the type `text_list`. Raises ValueProblem."""
    if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
        raise ValueProblem(f"should be a list of at most {MAX_ITEMS:,} texts", "invalid_request")
    return tuple(
        check_value(Parameter("text", parameter.pattern, parameter.choices, dash=parameter.dash), one) for one in value
    )


def check_text(value: object) -> str:
    """Return *value* if it is a text that can be a word of a command line. Raises ValueProblem."""
    if not isinstance(value, str):
        raise ValueProblem("should be a text", "invalid_request")
    if len(value) > MAX_VALUE_LENGTH:
        raise ValueProblem(f"has more than {MAX_VALUE_LENGTH:,} characters", "invalid_request")
    if "\0" in value:
        raise ValueProblem("has a NUL, which no command line can", "invalid_request")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueProblem("contains half of a surrogate pair, which is not text", "invalid_request") from None
    return value


def as_text(value: str | float) -> str:
    """Return *value* (any but a list) as text: numbers and booleans as JSON writes them."""
    return value if isinstance(value, str) else json.dumps(value)


def check_uri(value: object, *, prefix: bool = False) -> Location:
    """Return the object that the URI *value* names; *prefix*: or those whose keys begin so. Raises ValueProblem."""
    text = check_text(value)
    if not text.lower().startswith("s3://"):
        raise ValueProblem("should be an S3 URI: s3://bucket/key", "invalid_request")
    try:
        location = parse_prefix(text, None)
    except Rejected as rejected:
        raise ValueProblem(rejected.message, "invalid_request") from None
    if not prefix and (not location.key or location.key.endswith("/")):
        raise ValueProblem("names no object: its key is empty, or ends in /", "invalid_request")
    if {".", ".."} & set(location.key.split("/")):
        raise ValueProblem("has a part that is . or .., which programs take for a folder", "name_unsafe")
    return location


def check_path(value: object, under: str) -> str:
    """Return the path *value* if its text is below *under*. Raises ValueProblem."""
    text = check_text(value)
    folder = under.rstrip("/")
    parts = text.removeprefix(f"{folder}/").split("/")
    if not text.startswith(f"{folder}/") or {"", ".", ".."} & set(parts[:-1]) or parts[-1] in {".", ".."}:
        raise ValueProblem(f"should be an absolute path below {under}, without empty parts, . and ..: {shown(text)}")
    return text


def shown(text: str) -> str:
    """Return *text* for a message: its beginning, in quotes, in ASCII."""
    return ascii(text[:_MAX_SHOWN_CHARS]) + ("…" if len(text) > _MAX_SHOWN_CHARS else "")


def _text(parameter: Parameter, value: object) -> str:
    if isinstance(value, int | float):
        value = as_text(value)
    text = check_text(value)
    if parameter.choices and text not in parameter.choices:
        raise ValueProblem(f"is none of the choices in POLICY_FILE: {shown(text)}")
    if parameter.pattern is not None and not Pattern(parameter.pattern).matches(text):
        raise ValueProblem(f"does not match its pattern in POLICY_FILE: {shown(text)}")
    return text


def _integer(parameter: Parameter, value: object) -> str:
    number = value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 10**18:
        raise ValueProblem("should be a whole number of at most 18 digits", "invalid_request")
    _check_bounds(parameter, number)
    return str(number)


def _number(parameter: Parameter, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if _is_number(value) else ""
    if len(text) > _MAX_NUMBER_LENGTH or not _NUMBER.fullmatch(text) or float(text) in {float("inf"), float("-inf")}:
        raise ValueProblem("should be a number, as JSON writes it", "invalid_request")
    _check_bounds(parameter, float(text))
    return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bounds(parameter: Parameter, number: float) -> None:
    if parameter.min is not None and number < parameter.min:
        raise ValueProblem(f"should be at least {parameter.min:g}")
    if parameter.max is not None and number > parameter.max:
        raise ValueProblem(f"should be at most {parameter.max:g}")


def _boolean(_parameter: Parameter, value: object) -> str:
    text = as_text(value) if isinstance(value, bool) else value
    if text not in ("true", "false"):
        raise ValueProblem("should be true or false", "invalid_request")
    return str(text)


def _s3_uri(parameter: Parameter, value: object) -> str:
    location = check_uri(value, prefix=True)
    check_place(location, parameter.allowed, "its allowed places")
    return str(location)  # in the form that every program understands: S3://… is a file for some


def check_place(location: Location, allowed: AllowList, told: str) -> None:
    """Raise ValueProblem if *location* is not *allowed*, which is *told* to be what it is outside of."""
    if not allowed.allows(location):
        raise ValueProblem(f"{str(location)[:200]} is outside {told} in POLICY_FILE")


def _path(parameter: Parameter, value: object) -> str:
    return check_path(value, parameter.under or "/")


_CHECKS: dict[ParameterType, Callable[[Parameter, object], str]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "s3_uri": _s3_uri,
    "path": _path,
}
