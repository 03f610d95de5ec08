"""What stands beside an archive: S3 object metadata, written and read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

_REQUEST, _TOKEN, _FILES, _OUTCOME, _MISSING, _MESSAGE = (
    f"archiver-{name}" for name in ("request", "token", "files", "outcome", "missing", "message")
)
_STATUSES: dict[str, Literal["succeeded", "partial"]] = {"succeeded": "succeeded", "partial": "partial"}


@dataclass(frozen=True, slots=True)
class MissingSpan:
    """Where the bytes of `_MISSING.txt` lie in the archive. *offset* None: only the end records tell."""

    offset: int | None
    length: int


@dataclass(frozen=True, slots=True)
class Beside:
    """
    The object metadata of an archive. *request* is the hash of what was asked, *token* names the upload that wrote it,
    *files* counts members without `_MISSING.txt`, *message* is the id of the message that asked ("": none did).
    """

    request: str
    token: str
    files: int
    outcome: Literal["succeeded", "partial"]
    missing: MissingSpan | None = None
    message: str = ""

    def answers(self, request: str, message: str) -> bool:
        """
        Tell whether this is the archive of the request with the hash *request*, or of *message* itself: the same
        message is never another request, whatever a new release makes of its body.
        """
        return self.request == request or (message != "" and self.message == message)


def encode_beside(beside: Beside) -> dict[str, str]:
    """Write S3 metadata: ASCII, without the `x-amz-meta-` of each name."""
    metadata = {
        _REQUEST: beside.request,
        _TOKEN: beside.token,
        _FILES: str(beside.files),
        _OUTCOME: beside.outcome,
    }
    if beside.missing is not None:
        offset = "" if beside.missing.offset is None else beside.missing.offset
        metadata[_MISSING] = f"{offset},{beside.missing.length}"
    if beside.message:
        metadata[_MESSAGE] = quote(beside.message, safe="")
    return metadata


def decode_beside(metadata: Mapping[str, str]) -> Beside | None:
    """Read what `encode_beside` wrote; None where the object is not an archive of this service."""
    request, token = metadata.get(_REQUEST), metadata.get(_TOKEN)
    files = re.fullmatch("[0-9]{1,18}", metadata.get(_FILES, ""))
    status = _STATUSES.get(metadata.get(_OUTCOME, ""))
    span = re.fullmatch("([0-9]{0,18}),([0-9]{1,18})", metadata.get(_MISSING, ",0"))
    if not (request and token and files and status and span):
        return None
    missing = MissingSpan(int(span[1]) if span[1] else None, int(span[2])) if _MISSING in metadata else None
    return Beside(request, token, int(files[0]), status, missing, unquote(metadata.get(_MESSAGE, "")))
