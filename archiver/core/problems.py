"""Describe the problems of a request in JSON terms: the first ones in full, the others as a count."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

MAX_PROBLEMS_LISTED = 20
"""Maximum problems that one rejection describes; the others are only counted."""

_SENTENCES = {
    "missing": "is required",
    "string_type": "should be text",
    "string_unicode": "contains half of a surrogate pair, which is not text",
    "model_type": "should be an object",
    "dict_type": "should be an object",
    "tuple_type": "should be a list",
    "int_type": "should be a whole number",
    "bool_type": "should be true or false",
    "string_too_short": "should not be empty",
    "extra_forbidden": "is unknown",
}


class Problems:
    """The first `MAX_PROBLEMS_LISTED` problems of a request, each with its JSON path, and the *count* of all."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self.count = 0

    def add(self, error: ValidationError, place: tuple[int | str, ...] = (), root: str = "$") -> None:
        """Add the problems of *error*, which concerns the value at the JSON path *place* below *root*."""
        self.count += error.error_count()
        if len(self.listed) < MAX_PROBLEMS_LISTED:
            self.listed += [
                f"{root}{_json_path(place + problem['loc'])} {_sentence(problem)}"
                for problem in error.errors(include_url=False, include_input=False)
            ]


def join_problems(listed: Sequence[str], count: int) -> str:
    """
    Join the first `MAX_PROBLEMS_LISTED` of *listed*, and state how many of the *count* problems are not shown.
    """
    shown = "; ".join(listed[:MAX_PROBLEMS_LISTED])
    return shown if count <= MAX_PROBLEMS_LISTED else f"{shown}; and {count - MAX_PROBLEMS_LISTED} more"


def _json_path(where: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)


def _sentence(problem: Any) -> str:
    """Describe *problem* in JSON terms instead of Python's."""
    if problem["type"] == "too_long":
        return f"should have at most {problem['ctx']['max_length']:,} items"
    known = _SENTENCES.get(problem["type"])
    return known or str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
