"""What a worker tells of itself: the JSON of a Media Cloud AI worker (rs_mcai_worker_sdk 0.11.11, `DESCRIBE`)."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from archiver.core.commands import Command, Parameter, Placeholder

SDK_VERSION = "0.11.11"  # whose messages this worker reads and writes
UNDEFINED_QUEUE = "job_undefined"  # as in that SDK

_SCHEMA = "http://json-schema.org/draft-07/schema#"
_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "text_list": "array"}
_URIS = ("s3_uri", "input", "output")
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


def describe_worker(instance: str, queue: str | None, version: str, commands: Iterable[Command] = ()) -> dict[str, Any]:
    """Return the description. *instance*: id of this worker; *queue*: that it reads; *commands*: that it runs."""
    schemas = [command_schema(command) for command in commands]
    names = ", ".join(schema["title"] for schema in schemas)
    return {
        "instance_id": instance,
        "queue_name": queue or UNDEFINED_QUEUE,
        "label": "Archiver",
        "short_description": f"Builds zip archives from S3 objects{', and runs commands' if names else ''}",
        "description": f"Builds one zip of S3 objects for each request{f', or runs one of: {names}' if names else ''}",
        "version": version,
        "sdk_version": SDK_VERSION,
        "parameters": {"$schema": _SCHEMA, "title": "parameters", "type": "object", "anyOf": [*schemas, _ARCHIVE]},
    }


def command_schema(command: Command) -> dict[str, Any]:
    """
    Return the schema of the parameters of *command*: a `command_template` like one of those that it accepts, whose
    placeholders have values of their own; or, if it accepts none, its parameters.
    """
    properties = {name: _value_schema(parameter) for name, parameter in command.parameters.items()}
    required = [name for name, parameter in command.parameters.items() if parameter.default is None]
    if command.accepts:
        lines = [_line(words) for words in command.accepts]
        properties = {"command_template": {"type": "string", "examples": lines}} | properties
        required = ["command_template"]
    told = {"description": command.description} if command.description else {}
    return {"title": command.name, **told, "type": "object", "required": required, "properties": properties}


def _line(words: Iterable[str | Placeholder]) -> str:
    return " ".join(
        f"{{{word.name}}}" if isinstance(word, Placeholder) else shlex.quote(word).replace("{", "{{").replace("}", "}}")
        for word in words
    )


def _value_schema(parameter: Parameter) -> dict[str, Any]:
    limits = {"minimum": parameter.min, "maximum": parameter.max, "default": parameter.default}
    schema: dict[str, Any] = {"type": _TYPES.get(parameter.type, "string")}
    if parameter.type == "text_list":
        schema["items"] = {"type": "string"}
    elif parameter.choices:
        schema["enum"] = list(parameter.choices)
    elif parameter.pattern is not None:
        schema["pattern"] = f"^(?:{parameter.pattern})$"
    elif parameter.type in _URIS:
        schema["pattern"] = "^[sS]3://"
    elif parameter.under is not None:
        schema["description"] = f"a path below {parameter.under}"
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    return schema | {name: value for name, value in (limits | {"default": default}).items() if value is not None}
