"""The successful end of a command as it is remembered beside the archives: `{digest}/result.json`."""

import json
from dataclasses import asdict
from typing import Any

from archiver.core.command_result import CommandResult, StoredOutput, StreamResult

VERSION = 1
MAX_RESULT_BYTES = 64 * 1024 * 1024
"""Of a remembered result: two streams' text, and 100,000 outputs with keys of 1,024 bytes would be twice as much."""


class UnreadableResultError(ValueError):
    """It is no remembered result of this version."""


def result_key(digest: str) -> str:
    """Return the key of the remembered result."""
    return f"{digest}/result.json"


def started_key(digest: str) -> str:
    """Return the key of the mark of a command that may run at most once, and was started."""
    return f"{digest}/started.json"


def encode_result(result: CommandResult) -> bytes:
    """Return the content of `result.json`."""
    return json.dumps({"version": VERSION, **asdict(result)}, separators=(",", ":")).encode()


def _check_version(version: object) -> None:
    if version != VERSION:
        raise UnreadableResultError("it is of another version")


def decode_result(data: bytes) -> CommandResult:
    """Read it back; it is a reused one now. Raises UnreadableResultError."""
    try:
        read: dict[str, Any] = json.loads(data)
        _check_version(read.pop("version"))
        streams = {name: StreamResult(**read.pop(name)) for name in ("stdout", "stderr")}
        outputs = tuple(StoredOutput(**one) for one in read.pop("outputs"))
        return CommandResult(**{**read, **streams, "outputs": outputs, "reused": True})
    except UnreadableResultError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableResultError("it is no result of a command") from error
