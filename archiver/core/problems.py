"""What is wrong with a request, told in JSON's words: the first problems in full, the others counted."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

PROBLEMS_TOLD = 20
"""Problems that one rejection spells out; the rest is counted."""

_SENTENCES = {
    "missing": "is required",
    "string_type": "should be text",
    "string_unicode": "holds half of a surrogate pair, which is not text",
    "model_type": "should be an object",
    "dict_type": "should be an object",
    "tuple_type": "should be a list",
    "string_too_short": "should not be empty",
}


class Problems:
    """The first `PROBLEMS_TOLD` problems of a request, each with its JSON path, and the *count* of all."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.count = 0

    def add(self, error: ValidationError, place: tuple[int | str, ...] = ()) -> None:
        """Take in all that *error* says of what stands at *place*."""
        self.count += error.error_count()
        if len(self.told) < PROBLEMS_TOLD:
            self.told += [
                f"{_json_path(place + problem['loc'])} {_sentence(problem)}"
                for problem in error.errors(include_url=False, include_input=False)
            ]


def told_briefly(told: Sequence[str], count: int) -> str:
    """Join the first `PROBLEMS_TOLD` of *count* problems, of which *told* holds at least these; count the others."""
    shown = "; ".join(told[:PROBLEMS_TOLD])
    return shown if count <= PROBLEMS_TOLD else f"{shown}; and {count - PROBLEMS_TOLD} more"


def _json_path(where: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)


def _sentence(problem: Any) -> str:
    """Say what is wrong in JSON's words rather than Python's."""
    known = _SENTENCES.get(problem["type"])
    return known or str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
