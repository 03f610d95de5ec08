"""The S3 object metadata of an archive: written and read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

_REQUEST, _TOKEN, _FILES, _OUTCOME, _MESSAGE = (
    f"archiver-{name}" for name in ("request", "token", "files", "outcome", "message")
)
_STATUSES: dict[str, Literal["succeeded", "partial"]] = {"succeeded": "succeeded", "partial": "partial"}


@dataclass(frozen=True, slots=True)
class ArchiveMetadata:
    """
    The object metadata of an archive. *request*: hash of the request. *token*: identifies the upload that wrote it.
    *files*: number of members without `_MISSING.txt`. *message*: id of the message that requested it ("": none).
    """

    request: str
    token: str
    files: int
    outcome: Literal["succeeded", "partial"]
    message: str = ""

    def matches_request(self, request: str, message: str) -> bool:
        """
        Return whether this archive was made for the request with the hash *request*, or for the same *message*. The
        same message is always the same request, even if a new release hashes its body differently.
        """
        return self.request == request or (message != "" and self.message == message)


def to_s3_metadata(archive_metadata: ArchiveMetadata) -> dict[str, str]:
    """Return the S3 metadata: ASCII, names without `x-amz-meta-`."""
    metadata = {
        _REQUEST: archive_metadata.request,
        _TOKEN: archive_metadata.token,
        _FILES: str(archive_metadata.files),
        _OUTCOME: archive_metadata.outcome,
    }
    if archive_metadata.message:
        metadata[_MESSAGE] = quote(archive_metadata.message, safe="")
    return metadata


def from_s3_metadata(metadata: Mapping[str, str]) -> ArchiveMetadata | None:
    """Parse the result of `to_s3_metadata`. None if the object is not an archive of this service."""
    request, token = metadata.get(_REQUEST), metadata.get(_TOKEN)
    files = re.fullmatch("[0-9]{1,18}", metadata.get(_FILES, ""))
    status = _STATUSES.get(metadata.get(_OUTCOME, ""))
    if not (request and token and files and status):
        return None
    return ArchiveMetadata(request, token, int(files[0]), status, unquote(metadata.get(_MESSAGE, "")))
