"""The JSON of commands in docs/message.md, which two dialects share."""

from typing import Any

from archiver.core import strict_json
from archiver.core.command_result import CommandResult, StreamResult
from archiver.core.messages import Success
from archiver.core.strict_json import byte_length

_CUT_MARKS = 80  # bytes: what a shortened text adds, its size and that it is truncated


def command_answer(success: Success, result: CommandResult, limit: int, more: dict[str, str]) -> str:
    """
    Write the answer to a command that succeeded in *limit* bytes: first its texts are shortened, then its outputs.
    *more*: fields at the end.
    """
    outputs = [
        {"destination": one.destination, "size": one.size, "etag": one.etag.strip('"')} for one in result.outputs
    ]
    answer: dict[str, Any] = {
        "metadata": success.echoed.metadata,
        "job_id": success.echoed.job_id,
        "message_id": success.echoed.message_id,
        "status": success.status,
        "command": command_fields(result),
        "inputs": result.inputs,
        "outputs": outputs,
        "left_behind": result.left_behind,
        "reused": result.reused,
        "notification_id": success.notification_id,
        **more,
    }
    return dump_shortened(answer, {"outputs": outputs}, limit)


def failed_command_answer(answer: dict[str, Any], result: object, lists: dict[str, list[Any]], limit: int) -> str:
    """Write the *answer* to a command that failed in *limit* bytes, with how it ended."""
    if isinstance(result, CommandResult):
        return dump_shortened({**answer, "command": command_fields(result)}, lists, limit)
    return strict_json.dump_truncated(answer, lists, limit)


def command_fields(result: CommandResult) -> dict[str, Any]:
    """Return how a command ended, for an answer."""
    return {
        "name": result.name,
        "exit_code": result.exit_code,
        "signal": result.signal,
        "seconds": round(result.seconds, 3),
        "stdout": _stream(result.stdout),
        "stderr": _stream(result.stderr),
    }


def _stream(stream: StreamResult) -> dict[str, Any]:
    if stream.uri is not None:
        return {"type": "uri", "value": stream.uri, "size": stream.size}
    cut = {"size": stream.size, "truncated": True} if stream.truncated else {}
    return {"type": "pipe", "value": stream.text, **cut}


def dump_shortened(answer: dict[str, Any], lists: dict[str, list[Any]], limit: int) -> str:
    """Return *answer*, which has a `command`, in *limit* bytes of UTF-8: the ends of its texts are kept."""
    excess = byte_length(strict_json.dump(answer)) - limit
    streams = (answer["command"][name] for name in ("stdout", "stderr"))
    pipes = [stream for stream in streams if stream["type"] == "pipe"]
    for stream in sorted(pipes, key=lambda stream: len(stream["value"]), reverse=True):
        if excess > 0:
            text = stream["value"]
            stream["value"] = keep_end(text, byte_length(strict_json.dump(text)) - excess - _CUT_MARKS)
            stream.setdefault("size", len(text.encode()))
            stream["truncated"] = True
            excess = byte_length(strict_json.dump(answer)) - limit
    return strict_json.dump_truncated(answer, lists, limit)


def keep_end(text: str, room: int) -> str:
    """Return the longest end of *text* whose JSON takes at most *room* bytes, quotes included; "" if none does."""
    low, high = 0, len(text)  # the number of characters to drop
    while low < high:
        middle = (low + high) // 2
        if byte_length(strict_json.dump(text[middle:])) <= room:
            high = middle
        else:
            low = middle + 1
    return text[low:]
