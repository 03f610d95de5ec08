"""
The orders of Media Cloud AI's workers (mcai_worker_sdk 0.11), and the replies that its backend takes.

An order has a `job_id`, a number, and a list of `parameters`. With a `command_template` it is a command, with `files`
an archive. A reply to a failure always has exactly one parameter, `message`: the backend takes no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from archiver.core import strict_json
from archiver.core.command_fields import TemplateCall
from archiver.core.command_result import CommandResult, StreamResult
from archiver.core.dialects.commands import keep_end
from archiver.core.dialects.mcai_parameters import read_parameters
from archiver.core.messages import EchoedFields, ProgressCounts, Request, Stage, Success
from archiver.core.request_fields import read_request
from archiver.core.strict_json import byte_length
from archiver.errors import Rejected

INSTANCE_ID = str(uuid4())
"""Names this process in progress events, as the seed's workers do outside containers."""

_MAX_JOB_ID = 2**64 - 1
_IGNORED = ("source_paths", "destination_paths", "requirements")  # the seed takes them out, and makes nothing of them
_ARCHIVE_OPTIONS = (
    *("manifest", "archive_name", "on_missing", "on_duplicate", "on_empty", "on_archived", "compression"),
    *("flag", "acl", "expires_in", "progress"),
)


def parse_request(body: str) -> Request:
    """Read an order. Raises Rejected (`invalid_json`, `invalid_request`)."""
    data = strict_json.load(body)
    job_id = _job_id(data)
    if job_id is None:
        raise Rejected("invalid_request", "$.job_id should be a whole number from 0 to 18446744073709551615")
    values, paths = read_parameters(data["parameters"])
    template = values.pop("command_template", None)
    if template is None:
        return _archive(job_id, values)
    if not isinstance(template, str):
        raise Rejected("invalid_request", "the parameter command_template should be a string")
    if "exec_dir" in values:
        raise Rejected("invalid_request", "the parameter exec_dir is refused: a command works in a folder of its own")
    given = {name: value for name, value in values.items() if name not in _IGNORED}
    call = TemplateCall.model_construct(template=template, parameters=given, paths=paths)
    return Request.model_construct(job_id=job_id, command=call)


def _archive(job_id: str, values: dict[str, Any]) -> Request:
    """Read an order for an archive, whose `files` are sources, or the JSON of a request's `files`."""
    if not {"files", "manifest"} & set(values):
        raise Rejected("invalid_request", "the order has neither a parameter command_template nor files")
    data: dict[str, Any] = {"job_id": job_id, **{name: values[name] for name in _ARCHIVE_OPTIONS if name in values}}
    files = values.get("files")
    if isinstance(files, str):
        try:
            files = strict_json.decode_value(files)
        except ValueError as error:
            raise Rejected("invalid_request", f"the parameter files is neither a list nor JSON: {error}") from None
    if files is not None:
        is_list = isinstance(files, list)
        data["files"] = [{"source": one} if isinstance(one, str) else one for one in files] if is_list else files
    return read_request(data)


def is_ping(_body: str) -> bool:
    """There are no pings in this dialect."""
    return False


def read_echoed_fields(body: str) -> EchoedFields:
    """Read what replies repeat: the job's id. Never raises."""
    return EchoedFields(job_id=read_job_id(body))


def read_job_id(body: str) -> str | None:
    """Read the `job_id`, as text. Never raises."""
    data = strict_json.load_lenient(body)
    return _job_id(data) if isinstance(data, dict) else None


def _job_id(data: dict[str, Any]) -> str | None:
    job_id = data.get("job_id")
    is_number = isinstance(job_id, int) and not isinstance(job_id, bool) and 0 <= job_id <= _MAX_JOB_ID
    return str(job_id) if is_number else None


def success_answer(success: Success, limit: int, answer_url: str | None = None) -> str:
    """Write the reply to a finished job in *limit* bytes of UTF-8: `message` is the command's output, or the link."""
    result = success.command
    if result is None:
        paths = [] if success.archive is None else [f"s3://{success.archive.bucket}/{success.archive.key}"]
        reply = _Reply("completed", success.link.url if success.link else "", paths)
    else:
        paths = [one.destination for one in result.outputs]
        reply = _Reply("completed", _written(result.stdout), paths, result.seconds)
    return _write(success.echoed, reply, limit, answer_url)


def failure_answer(echoed: EchoedFields, rejected: Rejected, limit: int, answer_url: str | None = None) -> str:
    """Write the reply to a rejected job in *limit* bytes of UTF-8."""
    message, result = f"{rejected.code}: {rejected.message}", rejected.result
    if not isinstance(result, CommandResult):
        return _write(echoed, _Reply("error", message), limit, answer_url)
    written = _written(result.stderr) + _written(result.stdout)
    if rejected.code != "command_failed":
        written = f"{message}\n{written}"
    return _write(echoed, _Reply("error", written or message, seconds=result.seconds), limit, answer_url)


def cancelled_answer(echoed: EchoedFields, _notification_id: str, limit: int, answer_url: str | None = None) -> str:
    """Write the reply to a job that was cancelled: an error, as the protocol has no other word for it."""
    return _write(echoed, _Reply("error", "the job was cancelled"), limit, answer_url)


def progress_event(echoed: EchoedFields, _stage: Stage, progress: ProgressCounts, now: datetime, _limit: int) -> str:
    """Write how much of the work is done, in percent."""
    planned = progress.bytes_planned
    percent = min(100, 100 * progress.bytes // planned) if planned > 0 else 0
    return strict_json.dump(
        {
            "datetime": f"{now:%Y-%m-%dT%H:%M:%S.%f}000Z",
            "docker_container_id": INSTANCE_ID,
            "job_id": _number(echoed),
            "progression": percent if progress.fraction is None else int(100 * progress.fraction),
        }
    )


def _number(echoed: EchoedFields) -> int | None:
    return None if echoed.job_id is None else int(echoed.job_id)


def _written(stream: StreamResult) -> str:
    return stream.text if stream.uri is None else f"{stream.uri}\n"


@dataclass(frozen=True, slots=True)
class _Reply:
    """*seconds*: how long the command ran; unknown where it did not."""

    status: str
    message: str
    paths: Sequence[str] = ()
    seconds: float = 0.0


def _write(echoed: EchoedFields, reply: _Reply, limit: int, answer_url: str | None) -> str:
    """
    Write *reply* in *limit* bytes: of a message that is too long, the end, after the *answer_url*; then paths are left
    out. Without a `job_id`, the backend can't take it; the seed's worker sends this form all the same.
    """
    parameter: dict[str, Any] = {
        "default": None,
        "id": "message",
        "store": None,
        "type": "string",
        "value": reply.message,
    }
    paths = list(reply.paths)
    whole: dict[str, Any] = {
        "destination_paths": paths,
        "execution_duration": round(reply.seconds, 3),
        "job_id": _number(echoed),
        "parameters": [parameter],
        "status": reply.status,
    }
    if echoed.job_id is None:
        whole = parameter = {"message": reply.message, "status": reply.status}
    field = "message" if echoed.job_id is None else "value"
    if (excess := byte_length(strict_json.dump(whole)) - limit) > 0:
        begin = "" if answer_url is None else f"{answer_url}\n"
        room = byte_length(strict_json.dump(reply.message)) - excess - len(strict_json.dump(begin)) + 2
        parameter[field] = begin + keep_end(reply.message, room)
    while paths and byte_length(strict_json.dump(whole)) > limit:
        del paths[len(paths) // 2 :]
    return strict_json.dump(whole)
