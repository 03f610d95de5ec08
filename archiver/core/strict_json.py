"""JSON input and output: strict parsing; output limited to the characters and sizes that SQS accepts."""

import gc
import json
import re
from array import array
from collections.abc import Mapping
from itertools import accumulate
from threading import Lock
from types import MappingProxyType
from typing import Any

from archiver.core.mistakes import describe_text
from archiver.errors import Rejected

MAX_DEPTH = 100
"""Maximum nesting of arrays and objects in a body. Requests need three levels; the others are for `metadata`."""

_TOO_DEEP = f"the body nests deeper than {MAX_DEPTH} levels"

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')  # possessive: backtracking would take 70 bytes for each escape
_NON_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEPTH_DELTAS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")  # +1 and -1 as signed bytes

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": "))

# SQS accepts #x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF and refuses the whole message otherwise
# (SendMessage, Amazon SQS API reference).
_INVALID_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def load(text: str) -> Any:
    """
    Parse one JSON value. Raises Rejected `invalid_json`.

    Unlike `json.loads`, it refuses input that other parsers refuse or interpret differently: duplicate keys, NaN and
    Infinity, numbers that overflow to infinity, and more than `MAX_DEPTH` levels.
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
    except ValueError as error:  # from the hooks below, and from int() beyond the interpreter's limit of digits
        reason = str(error).partition(";")[0]
        raise Rejected("invalid_json", f"the body is not strict JSON: {reason}") from None
    if _is_too_deep(text):
        raise Rejected("invalid_json", _TOO_DEEP)
    return value


def load_lenient(text: str) -> Any:
    """Parse a body that `load` may have refused, with `json.loads`; None if that fails too. Never raises."""
    try:
        with _gc_pause:
            return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


class _GcPause:
    """
    Turns off the cyclic garbage collector while any thread is in the block. JSON creates no cycles, and repeated
    collections over half a million new lists take five times as long as parsing them.
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
    Return *value* as JSON on one line. Non-ASCII text is not escaped, except the characters that SQS refuses.

    Raises ValueError for NaN and Infinity.
    """
    return escape_invalid_characters(_ENCODER.encode(value))


def dump_truncated(
    answer: dict[str, Any], lists: dict[str, list[Any]], limit: int, shortened: Mapping[str, int] = MappingProxyType({})
) -> str:
    """
    Return *answer* as JSON, truncated to *limit* bytes. *shortened*: the original lengths of lists that are incomplete
    already.

    First the ends of *lists* are removed, one list after the other. If that is not enough, `metadata` becomes null and
    the lists are truncated anew. `truncated` then contains the original length of each truncated list, and for
    `metadata` the bytes of its JSON. All other fields are always written, even if they exceed *limit*.
    """
    lengths = {name: len(items) for name, items in lists.items()}
    # The lists that exceed the limit on their own.
    oversized = {name: lengths[name] for name, items in lists.items() if _truncate_list(items, limit)}
    oversized.update(shortened)
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
    """Truncate one list after the other until *answer* fits. *incomplete*: the entries of `truncated` so far."""
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
    Truncate *items* to the longest prefix of at most *remaining* bytes, separators included. Return whether any item
    was removed.
    """
    for count, item in enumerate(items):
        remaining -= byte_length(dump(item)) + (2 if count else 0)
        if remaining < 0:
            del items[count:]
            return True
    return False


def decode_value(text: str) -> Any:
    """Parse one JSON value as strictly as `load`, but for the depth. Raises ValueError."""
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except ValueError as error:
        raise ValueError(str(error).partition(";")[0]) from None


def is_serializable(value: object) -> bool:
    """Return whether `dump` can write *value* and `load` accepts the result."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return not _is_too_deep(text)


def escape_invalid_characters(text: str) -> str:
    r"""Escape the characters that SQS refuses as `\uXXXX`, as in JSON. In a JSON text they occur only in strings."""
    return _INVALID_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def byte_length(text: str) -> int:
    """Return the UTF-8 length of *text*, which contains no lone surrogates."""
    return len(text) if text.isascii() else len(text.encode())


def _is_too_deep(text: str) -> bool:
    """Return whether *text*, which is JSON, nests deeper than `MAX_DEPTH`."""
    steps = _STRING.sub("", text).encode("ascii", "ignore").translate(_DEPTH_DELTAS, _NON_BRACKETS)
    return max(accumulate(array("b", steps)), default=0) > MAX_DEPTH


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        # The first key that occurs a second time: add() returns None.
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {ascii(duplicate[:80])[:80]} occurs twice in one object")
    return made


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _parse_finite_float(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"the number {text[:40]} is too large")
    return number


DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_constant=_reject_constant, parse_float=_parse_finite_float
)
"""Parses parts of a text as strictly as `load`, but for the depth."""
