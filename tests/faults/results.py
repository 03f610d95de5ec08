"""Check announced commands: their result must be remembered, and their answer must say what it says."""

import json
from collections.abc import Iterator
from typing import Any

from .history import Exchange
from .observations import Job, Observations, answer_body

RESULT = "result.json"


class UnreadableResultError(ValueError):
    """It is no remembered result; the message says why."""


def result_key(digest: str) -> str:
    return f"{digest}/{RESULT}"


def is_result(key: str) -> bool:
    return key.rpartition("/")[2] == RESULT


def read_result(body: bytes) -> dict[str, Any]:
    """Return the result. Raises UnreadableResultError."""
    try:
        result = json.loads(body)
    except ValueError as error:
        raise UnreadableResultError(f"it can't be read: {error}") from error
    if not isinstance(result, dict) or "exit_code" not in result:
        raise UnreadableResultError("it is no result")
    return result


def result_differences(observations: Observations, job: Job, answer: Exchange) -> Iterator[str]:
    """Yield the differences between *answer*, the result that is remembered, and the outputs of *job*."""
    seen = [s for s in observations.history.observed_archives if s.key == job.key and s.at <= answer.began]
    if not seen:
        yield "the announced result did not exist"
        return
    try:
        result = read_result(seen[-1].body)
    except UnreadableResultError as error:
        yield str(error)
        return
    told = answer_body(answer)
    for name, remembered in (("outputs", result.get("outputs")), ("inputs", result.get("inputs"))):
        if told.get(name) != remembered:
            yield f"the answer says {told.get(name)} {name}, the result {remembered}"
    exit_code = (told.get("command") or {}).get("exit_code")
    if exit_code != result["exit_code"]:
        yield f"the answer says exit code {exit_code}, the result {result['exit_code']}"
    sizes = {uri: len(content) for uri, content in (job.members or {}).items() if isinstance(content, bytes)}
    stored = {one["destination"]: one["size"] for one in told.get("outputs") or []}
    if stored != sizes:
        yield f"the answer says outputs {stored}, not {sizes}"
