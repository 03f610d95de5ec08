"""What a worker tells of itself: the JSON of a Media Cloud AI worker (rs_mcai_worker_sdk 0.11.11, `DESCRIBE`)."""

from collections.abc import Mapping, Sequence
from typing import Any

SDK_VERSION = "0.11.11"  # whose messages this worker reads and writes
UNDEFINED_QUEUE = "job_undefined"  # as in that SDK

_SCHEMA = "http://json-schema.org/draft-07/schema#"
_ARCHIVE: Mapping[str, Any] = {
    "title": "archive",
    "description": "One zip of objects in S3",
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "description": "names of objects, s3://bucket/key",
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
        },
        "archive_name": {"description": "file name of the download", "type": "string"},
        "on_missing": {"enum": ["fail", "skip"]},
        "on_duplicate": {"enum": ["rename", "fail", "skip"]},
        "compression": {"enum": ["store", "deflate", "auto"]},
    },
}


def describe_worker(
    instance: str, queue: str | None, version: str, commands: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """
    Return the description. *instance*: id of this worker; *queue*: that it reads; *commands*: the schema of the
    parameters of each command that it runs.
    """
    return {
        "instance_id": instance,
        "queue_name": queue or UNDEFINED_QUEUE,
        "label": "Archiver",
        "short_description": "Builds zip archives from S3 objects" + (", and runs commands" if commands else ""),
        "description": "Builds one zip of S3 objects for each request"
        + (
            f", or runs a command of its policy file: {', '.join(str(one['title']) for one in commands)}."
            * bool(commands)
            or "."
        ),
        "version": version,
        "sdk_version": SDK_VERSION,
        "parameters": {
            "$schema": _SCHEMA,
            "title": "parameters",
            "type": "object",
            "anyOf": [*commands, _ARCHIVE],
        },
    }
