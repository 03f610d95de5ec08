"""JSON schemas of requests, answers and progress events, for senders and consumers."""

from typing import Any, get_args

from archiver.core.messages import Request, Stage
from archiver.errors import Code

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_METADATA = {"type": ["object", "null"], "description": "The `metadata` of the request, unchanged."}
_JOB_ID = {"type": ["string", "null"]}
_MESSAGE_ID = {"type": ["string", "null"], "description": "The MessageId that SQS gave the request when it was sent."}
_TRUNCATED = {
    "type": "object",
    "description": "Only if the answer was too large for a message: the original length of each truncated list, "
    "and for `metadata`, which is null then, the bytes of its JSON.",
    "additionalProperties": _COUNT,
}


def json_schema() -> dict[str, Any]:
    """Return the schemas (JSON Schema 2020-12) of `request`, `success`, `failure` and `progress`."""
    return {"request": _request(), "success": _success(), "failure": _failure(), "progress": _progress()}


def _request() -> dict[str, Any]:
    schema = Request.model_json_schema()
    properties = schema["$defs"]["File"]["properties"]
    properties["directory"] = {**properties["destination"], "title": "Directory"}
    return schema


def _success() -> dict[str, Any]:
    archive = _object(
        bucket=_TEXT,
        key=_TEXT,
        size=_COUNT,
        files=_COUNT,
        etag=_TEXT,
        crc32={"type": ["string", "null"], "pattern": "^[0-9a-f]{8}$"},
    )
    renamed = _object(**{"source": _TEXT, "from": _TEXT, "to": _TEXT})
    answer = _answer(
        metadata=_METADATA,
        substitutions=_object(archiver_URL=_TEXT),
        job_id=_JOB_ID,
        message_id=_MESSAGE_ID,
        status={"enum": ["succeeded", "partial"]},
        archive=archive,
        missing={"type": "array", "items": _source()},
        renamed={"type": "array", "items": renamed},
        notification_id={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    )
    answer["properties"]["expires_at"] = {
        "type": "string",
        "format": "date-time",
        "description": "Only if links are signed: the time until which this link works.",
    }
    return answer


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


def _failure() -> dict[str, Any]:
    error = _object(code={"enum": list(get_args(Code))}, message=_TEXT, sources={"type": "array", "items": _source()})
    return _answer(metadata=_METADATA, job_id=_JOB_ID, message_id=_MESSAGE_ID, status={"const": "failed"}, error=error)


def _source() -> dict[str, Any]:
    return _object(source=_TEXT, code={"enum": list(get_args(Code))})


def _answer(**properties: dict[str, Any]) -> dict[str, Any]:
    answer = _object(**properties)
    answer["properties"]["truncated"] = _TRUNCATED
    return answer


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
