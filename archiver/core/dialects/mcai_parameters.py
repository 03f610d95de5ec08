"""The parameters of Media Cloud AI's orders: each has an id, a type, and a value or a default."""

import re
from collections.abc import Callable
from typing import Any

from archiver.core.command_fields import MAX_ITEMS, MAX_NAME_LENGTH
from archiver.errors import Rejected

_TRUTH = {"true": True, "false": False}
_INTEGER = re.compile("-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")


def read_parameters(given: list[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return the values of the parameters that have one, by id, and the local paths that must exist first. Parameters of
    types that no worker of commands knows are left out.

    Raises Rejected (`invalid_request`).
    """
    if len(given) > MAX_ITEMS:
        raise Rejected("invalid_request", f"$.parameters has more than {MAX_ITEMS:,} items")
    values: dict[str, Any] = {}
    paths: tuple[str, ...] = ()
    seen: set[str] = set()
    for index, one in enumerate(given):
        name, kind, value = _read_one(f"$.parameters[{index}]", one)
        if name in seen:
            raise Rejected("invalid_request", f"$.parameters[{index}].id occurs twice")
        seen.add(name)
        if value is None or kind not in _TYPES:
            continue
        convert, told = _TYPES[kind]
        converted = convert(value)
        if converted is None:
            raise Rejected("invalid_request", f"$.parameters[{index}].value should be {told}")
        if kind == "requirements":
            paths += converted
        else:
            values[name] = converted
    return values, paths


def _read_one(place: str, one: object) -> tuple[str, str, Any]:
    """Return id, type and value of the parameter at *place*."""
    if not isinstance(one, dict):
        raise Rejected("invalid_request", f"{place} should be an object")
    name, kind = one.get("id"), one.get("type")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise Rejected("invalid_request", f"{place}.id should be text of 1 to {MAX_NAME_LENGTH} characters")
    if not isinstance(kind, str):
        raise Rejected("invalid_request", f"{place}.type should be text")
    if one.get("store") is not None:
        raise Rejected(
            "invalid_request",
            f"{place}.store is refused: it would read the worker's environment or a store of credentials; "
            "write the value itself",
        )
    value = one.get("value")
    return name, kind, one.get("default") if value is None else value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return _TRUTH.get(value)
    return bool(value) if isinstance(value, int | float) else None


def _texts(value: object) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _paths(value: object) -> tuple[str, ...] | None:
    paths = _texts(value.get("paths", [])) if isinstance(value, dict) else None
    return None if paths is None or len(paths) > MAX_ITEMS else tuple(paths)


_TYPES: dict[str, tuple[Callable[[object], Any], str]] = {
    "string": (_text, "text"),
    "integer": (_integer, "a whole number"),
    "float": (_float, "a number"),
    "boolean": (_boolean, "true or false"),
    "array_of_strings": (_texts, "a list of texts"),
    "requirements": (_paths, f"an object whose paths are a list of at most {MAX_ITEMS:,} texts"),
}
