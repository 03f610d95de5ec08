"""The hash that identifies a request, whatever its entries select."""

import hashlib
import json
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from archiver.core.entries import Entry, File
from archiver.core.messages import Request

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode  # json.dumps makes an encoder for each call
# With the files, they identify a request. Those of the second line count only if they say something.
_HASHED_OPTIONS = ("on_missing", "on_duplicate", "on_empty", "on_archived", "compression")
_LATER_OPTIONS = ("acl", "tags", "expires_in", "flag")


def request_hash(request: Request) -> str:
    """
    Hash the request as written: 64 hex digits. Settings, defaults and repaired names are not included, so that a
    deployment or a release does not change the hash; nor what a prefix or manifest lists, so that a redelivery is the
    same request whatever has changed since. Null and empty text count as absent, and `directory` counts as
    `destination`.
    """
    options = {name: getattr(request, name) for name in _HASHED_OPTIONS if name in request.model_fields_set}
    options |= {name: value for name in _LATER_OPTIONS if (value := getattr(request, name))}
    if request.after is not None and request.after.asks_for_something:
        options["after"] = request.after.model_dump(exclude_none=True)
    digest = hashlib.sha256()
    digest.update(_json_line(options))
    if request.command is not None:
        given = request.command.model_dump(exclude_unset=True, exclude_none=True, exclude={"queue"})
        digest.update(_json_line({"command": given}))
    if request.manifest is not None:
        digest.update(_json_line({"manifest": request.manifest}))
    for entry in request.files:
        digest.update(_file_line(entry) if isinstance(entry, File) else _json_line(_as_written(entry)))
    return digest.hexdigest()


def _file_line(file: File) -> bytes:
    """Return the JSON of a list of three texts, null for an absent one. It is written here, as there may be 100,000."""
    role = "" if file.role_arn is None else f",{_quoted(file.role_arn)}"  # without: the hash of earlier releases
    destination = _quoted(file.destination) if file.destination else "null"
    name = _quoted(file.name) if file.name else "null"
    return f"[{_quoted(file.source)},{destination},{name}{role}]\n".encode()


def _as_written(entry: Entry) -> dict[str, Any]:
    given = entry.model_dump(exclude_unset=True)
    return {name: value for name, value in given.items() if value not in (None, "") or name == entry.kind}


def _json_line(value: object) -> bytes:
    return _encode(value).encode() + b"\n"
