"""JSON schemas of requests, answers and progress events, for senders and consumers."""

from typing import Any, get_args

from archiver.core.changes import Outcome
from archiver.core.messages import Request, Stage
from archiver.errors import Code

_KEPT_CODES = (*(code for code in get_args(Outcome) if code != "done"), "option_not_allowed")
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_METADATA = {"type": ["object", "null"], "description": "The `metadata` of the request, unchanged."}
_JOB_ID = {"type": ["string", "null"]}
_MESSAGE_ID = {"type": ["string", "null"], "description": "The MessageId that SQS gave the request when it was sent."}
_LINKS = {
    "type": "object",
    "description": "Has the link, unless the job was skipped.",
    "properties": {"archiver_URL": _TEXT},
}
_TRUNCATED = {
    "type": "object",
    "description": "Only if the answer was too large for a message: the original length of each truncated list, "
    "and for `metadata`, which is null then, the bytes of its JSON.",
    "additionalProperties": _COUNT,
}


def json_schema() -> dict[str, Any]:
    """
    Return the schemas (JSON Schema 2020-12) of `request`, `success`, `failure`, `progress`, `alive`, `cancelled` and
    `command`.
    """
    return {
        "request": _request(),
        "success": _success(),
        "failure": _failure(),
        "progress": _progress(),
        "alive": _alive(),
        "cancelled": _cancelled(),
        "command": _command(),
    }


def _request() -> dict[str, Any]:
    schema = Request.model_json_schema()
    for entry in ("File", "Selection", "Inline"):
        properties = schema["$defs"][entry]["properties"]
        properties["directory"] = {**properties["destination"], "title": "Directory"}
    del schema["properties"]["files"]["default"]
    schema["oneOf"] = [{"required": [name]} for name in ("files", "manifest", "cancel", "command")]
    return schema


def _success() -> dict[str, Any]:
    archive = _object(
        bucket=_TEXT,
        key=_TEXT,
        size=_COUNT,
        files=_COUNT,
        etag=_TEXT,
        crc32={"type": ["string", "null"], "pattern": "^[0-9a-f]{8}$"},
        receipt={"type": ["string", "null"], "description": "Key of the receipt; null if the archive has none."},
    )
    renamed = _object(**{"source": _TEXT, "from": _TEXT, "to": _TEXT})
    answer = _answer(
        metadata=_METADATA,
        substitutions=_LINKS,
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"enum": ["succeeded", "partial", "skipped"]},
        archive={**archive, "type": ["object", "null"], "description": "null only if the job was skipped."},
        missing={"type": "array", "items": _source()},
        renamed={"type": "array", "items": renamed},
        notification_id={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )
    answer["properties"]["after"] = {**_after(), "description": "Only if the request has `after` or `flag`."}
    answer["properties"]["expires_at"] = {
        "type": "string",
        "format": "date-time",
        "description": "Only if links are signed: the time until which this link works.",
    }
    return answer


def _after() -> dict[str, Any]:
    kept = {"type": "array", "items": _object(source=_TEXT, code={"enum": [*_KEPT_CODES]})}
    return _object(
        action={"enum": ["delete", "move", "rename", None]},
        done=_COUNT,
        kept=kept,
        problem={"enum": ["archive_unverified", "receipt_missing", None]},
        flag={"type": ["string", "null"], "description": "The flag; null if none was asked for, or not all was done."},
    )


def _progress() -> dict[str, Any]:
    counts = _object(files=_COUNT, files_planned=_COUNT, bytes=_COUNT, bytes_planned=_COUNT)
    counts["properties"]["awaited"] = {**_COUNT, "description": "Only if waiting: the objects that are not there yet."}
    return _answer(
        metadata=_METADATA,
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"enum": list(get_args(Stage))},
        progress=counts,
    )


def _alive() -> dict[str, Any]:
    answer = _answer(
        metadata=_METADATA,
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"const": "alive"},
        accepted={"type": "boolean"},
        problem={"anyOf": [_error(), {"type": "null"}]},
        notification_id={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )
    answer["properties"]["found"] = {
        **_COUNT,
        "description": "Only if the request waits: the objects that are there.",
    }
    return answer


def _cancelled() -> dict[str, Any]:
    answer = _answer(
        metadata=_METADATA,
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"const": "cancelled"},
        notification_id={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )
    cancel = _object(job_id=_TEXT, accepted={"type": "boolean"}, problem={"type": ["string", "null"]})
    answer["properties"]["cancel"] = {**cancel, "description": "Only in the answer to a message that cancels a job."}
    return answer


def _command() -> dict[str, Any]:
    output = _object(destination=_TEXT, size=_COUNT, etag=_TEXT)
    return _answer(
        metadata=_METADATA,
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"const": "succeeded"},
        command=_command_end(),
        inputs={**_COUNT, "description": "The objects that were read."},
        outputs={"type": "array", "items": output},
        left_behind={**_COUNT, "description": "The files that no output names: they are gone."},
        reused={"type": "boolean", "description": "The command ran for an earlier delivery, whose result this is."},
        notification_id={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )


def _command_end() -> dict[str, Any]:
    stream = _object(type={"enum": ["pipe", "uri"]}, value=_TEXT)
    stream["properties"]["size"] = {
        **_COUNT,
        "description": "Only of an object, or of a text that is truncated: bytes.",
    }
    stream["properties"]["truncated"] = {"const": True, "description": "Only if the text lacks its beginning."}
    number = {"type": ["integer", "null"]}
    return _object(
        name=_TEXT, exit_code=number, signal=number, seconds={"type": "number"}, stdout=stream, stderr=stream
    )


def _error() -> dict[str, Any]:
    return _object(code={"enum": list(get_args(Code))}, message=_TEXT, sources={"type": "array", "items": _source()})


def _failure() -> dict[str, Any]:
    error = _error()
    answer = _answer(
        metadata=_METADATA, job_id=_JOB_ID, message_id=_MESSAGE_ID, status={"const": "failed"}, error=error
    )
    answer["properties"]["command"] = {**_command_end(), "description": "Only if a command ran."}
    return answer


def _source() -> dict[str, Any]:
    return _object(source=_TEXT, code={"enum": list(get_args(Code))})


def _answer(**properties: dict[str, Any]) -> dict[str, Any]:
    answer = _object(**properties)
    answer["properties"]["truncated"] = _TRUNCATED
    answer["properties"]["answer_url"] = {
        "type": "string",
        "description": "Only in a truncated answer, and only if it went further than to queues: the whole answer.",
    }
    return answer


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
