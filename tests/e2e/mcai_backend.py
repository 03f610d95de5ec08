"""
A stand-in for the consumers of the Media Cloud AI backend (ex_step_flow: completed, error and progression): what they
take, and what they reject, which then circles in the broker until its time-out.
"""

import json
from collections.abc import Mapping
from typing import Any


def accepts_completed(body: str) -> bool:
    """`job_id` and `status`; `destination_paths` and `parameters` are added to the workflow if they are there."""
    data = _object(body)
    if not isinstance(data.get("job_id"), int) or not isinstance(data.get("status"), str):
        return False
    paths = data.get("destination_paths", [])
    return _texts(paths) and _are_parameters(data.get("parameters", []))


def accepts_error(body: str) -> bool:
    """`job_id` with an `error`, or with exactly one parameter, `message`, and the status `error`."""
    data = _object(body)
    if not isinstance(data.get("job_id"), int):
        return False
    if "error" in data:
        return True
    match data.get("parameters"):
        case [{"id": "message", "value": str()}]:
            return data.get("status") == "error"
    return False


def accepts_progression(body: str) -> bool:
    """`job_id`, `progression` in percent, the time and the container."""
    match _object(body):
        case {"job_id": int(), "progression": int(percent), "datetime": str(), "docker_container_id": str()}:
            return 0 <= percent <= 100
    return False


ACCEPTS = {"job_completed": accepts_completed, "job_error": accepts_error, "job_progression": accepts_progression}


def _object(body: str) -> Mapping[str, Any]:
    data = json.loads(body)
    return data if isinstance(data, dict) else {}


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _are_parameters(values: Any) -> bool:
    keys = {"id", "type", "value", "default", "store"}
    return isinstance(values, list) and all(isinstance(one, dict) and set(one) == keys for one in values)
