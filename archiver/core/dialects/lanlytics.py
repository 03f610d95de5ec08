"""
The messages of the lanlytics API worker: `service` names the command, and `command` has its streams and arguments.

Everything but the request and the answer to a ping is as in the native dialect.
"""

from dataclasses import replace
from typing import Any

from archiver import __version__
from archiver.core import strict_json
from archiver.core.command_fields import MAX_NAME_LENGTH
from archiver.core.dialects import native
from archiver.core.dialects.native import (
    cancelled_answer,
    failure_answer,
    is_ping,
    progress_event,
    read_job_id,
)
from archiver.core.messages import EchoedFields, Request, Success
from archiver.core.request_fields import read_request
from archiver.errors import Rejected

__all__ = [
    "cancelled_answer",
    "failure_answer",
    "is_ping",
    "parse_request",
    "progress_event",
    "read_echoed_fields",
    "read_job_id",
    "success_answer",
]

_SHARED = ("metadata", "job_id", "callback_url", "progress", "test")
_STREAMS = ("stdin", "stdout", "stderr")
_LISTS = ("input", "output")
_ARGUMENT = ("type", "name", "value")


def parse_request(body: str) -> Request:
    """Read a message's body. Raises Rejected (`invalid_json`, `invalid_request`). Unknown fields are ignored."""
    data = strict_json.load(body)
    command = data.get("command")
    if command is None and data.get("test") is True:
        command = {}
    if not isinstance(command, dict):
        raise Rejected("invalid_request", f"$.command {'is required' if command is None else 'should be an object'}")
    call = {"name": data["service"], "queue": data.get("queue")}
    call |= {name: _only(command[name], ("type", "value")) for name in _STREAMS if name in command}
    call |= {name: command[name] for name in _LISTS if name in command}
    if isinstance(arguments := command.get("arguments"), list):
        call["arguments"] = [_argument(one) for one in arguments]
    elif arguments is not None:
        call["arguments"] = arguments
    return read_request({**{name: data[name] for name in _SHARED if name in data}, "command": call})


def _argument(given: object) -> object:
    """Return one argument; an empty name counts as absent."""
    known = _only(given, _ARGUMENT)
    if isinstance(known, dict) and known.get("name") == "":
        del known["name"]
    return known


def _only(given: object, names: tuple[str, ...]) -> object:
    return {name: given[name] for name in names if name in given} if isinstance(given, dict) else given


def read_echoed_fields(body: str) -> EchoedFields:
    """Read the fields that answers repeat; those to pings have the service and the queue as well. Never raises."""
    data = strict_json.load_lenient(body)
    given = {name: data.get(name) for name in ("service", "queue")} if isinstance(data, dict) else {}
    asked = {name: value if isinstance(value, str) and _is_short(value) else None for name, value in given.items()}
    return replace(native.read_echoed_fields(body), asked=asked)


def _is_short(text: str) -> bool:
    return len(text) <= MAX_NAME_LENGTH


def success_answer(success: Success, limit: int, answer_url: str | None = None) -> str:
    """Write the answer to a finished job in *limit* bytes of UTF-8."""
    if success.status != "alive":
        return native.success_answer(success, limit, answer_url)
    problem = success.problem
    test: dict[str, Any] = {"accepted": problem is None, **success.echoed.asked, "version": __version__}
    if problem is not None:
        test["problem"] = {"code": problem.code, "message": problem.message}
    answer: dict[str, Any] = {
        "metadata": success.echoed.metadata,
        "job_id": success.echoed.job_id,
        "message_id": success.echoed.message_id,
        "status": success.status,
        "test": test,
        "notification_id": success.notification_id,
    }
    if answer_url is not None:
        answer["answer_url"] = answer_url
    return strict_json.dump_truncated(answer, {}, limit)
