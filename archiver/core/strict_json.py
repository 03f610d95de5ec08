"""JSON as this service reads and writes it: strictly in, and out in characters and sizes that SQS accepts."""

import gc
import json
import re
from array import array
from itertools import accumulate
from threading import Lock
from typing import Any

from archiver.core.mistakes import describe_text
from archiver.errors import Rejected

MAX_DEPTH = 100
"""Levels of arrays and objects that a body may nest. Requests need three; the rest is room for `metadata`."""

_TOO_DEEP = f"the body nests deeper than {MAX_DEPTH} levels"

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')  # possessive: to go back would take 70 bytes for each escape
_NON_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEPTH_DELTAS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")  # one level in, and out, as signed bytes

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": "))

# SQS accepts #x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF and refuses the whole message otherwise
# (SendMessage, Amazon SQS API reference).
_INVALID_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def load(text: str) -> Any:
    """
    Read one JSON value. Raises Rejected `invalid_json`.

    Stricter than `json.loads` where that accepts what other readers refuse or read differently: duplicate keys,
    NaN and Infinity, numbers that overflow to infinity, and more than `MAX_DEPTH` levels.
    """
    try:
        with _gc_pause:
            value = json.loads(
                text, object_pairs_hook=_build_object, parse_constant=_reject_constant, parse_float=_parse_finite_float
            )
    except json.JSONDecodeError as error:
        raise Rejected("invalid_json", f"the body is not JSON: {describe_text(text) or error}") from None
    except RecursionError:
        raise Rejected("invalid_json", _TOO_DEEP) from None
    except ValueError as error:  # ours below, and int() beyond the interpreter's limit of digits
        reason = str(error).partition(";")[0]
        raise Rejected("invalid_json", f"the body is not strict JSON: {reason}") from None
    if _is_too_deep(text):
        raise Rejected("invalid_json", _TOO_DEEP)
    return value


def load_lenient(text: str) -> Any:
    """Read what can be read of a body that `load` refused: None where that is nothing. Never raises."""
    try:
        with _gc_pause:
            return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


class _GcPause:
    """
    While anyone is inside, no cycles are looked for: JSON makes none, and looking at half a million new lists again and
    again takes five times as long as reading them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._holders = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders and self._was_enabled:
                gc.enable()


_gc_pause = _GcPause()


def dump(value: object) -> str:
    r"""
    Write *value* on one line, non-ASCII text as it is, but for the few characters that SQS refuses (`\uXXXX`).

    Raises ValueError for NaN and Infinity.
    """
    return escape_invalid_characters(_ENCODER.encode(value))


def dump_truncated(answer: dict[str, Any], lists: dict[str, list[Any]], limit: int) -> str:
    """
    Write *answer*, or as much of it as fits into *limit* bytes.

    What does not fit gives way in this order: the ends of *lists*, one list after the other; then `metadata`
    becomes null and the lists are cut anew. `truncated` then says what is incomplete: the true length of each cut list,
    and of `metadata` the bytes of its JSON. The rest is always written, however small *limit* is.
    """
    lengths = {name: len(items) for name, items in lists.items()}
    oversized = {
        name: lengths[name] for name, items in lists.items() if _truncate_list(items, limit)
    }  # too long by itself
    original = {name: list(items) for name, items in lists.items()}
    text = _truncate_lists(answer, lists, limit, oversized)
    if byte_length(text) > limit and answer["metadata"] is not None:
        for name, items in lists.items():
            items[:] = original[name]
        incomplete = {"metadata": byte_length(dump(answer["metadata"]))}
        answer["metadata"] = None
        text = _truncate_lists(answer, lists, limit, incomplete | oversized)
    return text


def _truncate_lists(answer: dict[str, Any], lists: dict[str, list[Any]], limit: int, incomplete: dict[str, int]) -> str:
    """Shorten one list after the other until *answer* fits. *incomplete*: what is incomplete already."""
    if incomplete:
        answer["truncated"] = dict(incomplete)
    text = dump(answer)
    for name, items in lists.items():
        if items and byte_length(text) > limit:
            answer.setdefault("truncated", {}).setdefault(name, len(items))
            original, items[:] = list(items), []
            remaining = limit - byte_length(dump(answer))
            items[:] = original
            _truncate_list(items, remaining)
            text = dump(answer)
    return text


def _truncate_list(items: list[Any], remaining: int) -> bool:
    """
    Shorten *items* to the longest beginning that takes *remaining* bytes, commas included. Tell whether they were cut.
    """
    for count, item in enumerate(items):
        remaining -= byte_length(dump(item)) + (2 if count else 0)
        if remaining < 0:
            del items[count:]
            return True
    return False


def is_serializable(value: object) -> bool:
    """Tell whether `dump` can write *value*, and `load` would read it."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return not _is_too_deep(text)


def escape_invalid_characters(text: str) -> str:
    r"""Write the characters that SQS refuses as `\uXXXX`, as JSON does. Inside JSON they stand in strings only."""
    return _INVALID_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def byte_length(text: str) -> int:
    """UTF-8 length of *text*, which is free of lone surrogates."""
    return len(text) if text.isascii() else len(text.encode())


def _is_too_deep(text: str) -> bool:
    """Tell whether *text*, which is JSON, nests deeper than `MAX_DEPTH`."""
    steps = _STRING.sub("", text).encode("ascii", "ignore").translate(_DEPTH_DELTAS, _NON_BRACKETS)
    return max(accumulate(array("b", steps)), default=0) > MAX_DEPTH


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        # The first key that comes a second time: add() returns None.
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {ascii(duplicate[:80])[:80]} stands twice in one object")
    return made


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _parse_finite_float(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"the number {text[:40]} is too large")
    return number
