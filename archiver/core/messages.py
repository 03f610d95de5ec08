"""Requests and what their answers say, whatever JSON they are written in (`archiver.core.dialects`)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from archiver.errors import SourceProblem

OnMissing = Literal["fail", "skip"]
OnDuplicate = Literal["rename", "fail", "skip"]
Compression = Literal["store", "deflate", "auto"]
Status = Literal["succeeded", "partial", "failed"]
OnArchived = Literal["fail", "skip", "restore"]
Tier = Literal["Expedited", "Standard", "Bulk"]
Stage = Literal["accepted", "waiting", "building"]
Kind = Literal["archive"]

MAX_JOB_ID_LENGTH = 128

MAX_TEXT_LENGTH = 4096
"""Maximum characters of a `destination`, `name` or `archive_name`; also the maximum bytes of a path in the zip."""


def _check_length(text: str) -> str:
    """Check the length. `max_length` would refuse half a surrogate pair before the path rules can."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"should have at most {MAX_TEXT_LENGTH} characters")
    return text


_Text = Annotated[str, AfterValidator(_check_length), Field(json_schema_extra={"maxLength": MAX_TEXT_LENGTH})]
_JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH)]


class _Model(BaseModel):
    """Frozen and strict: a number is not text. Unknown fields are ignored; null counts as absent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: object) -> object:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class File(_Model):
    """
    One object and its path in the archive.

    *source*: a key or an `s3://` URI. An empty *destination* or *name* counts as absent.
    """

    source: Annotated[str, Field(min_length=1)]
    destination: _Text | None = None
    name: _Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalize_destination(cls, data: object) -> object:
        """Accept `directory` as another name of `destination`. Refuse contradictory fields."""
        if not isinstance(data, dict) or not ("directory" in data or "name" in data):
            return data
        given = {**data, "name": None if data.get("name") == "" else data.get("name")}
        directory, destination = given.pop("directory", None), given.get("destination")
        if directory is not None and destination is not None and directory != destination:
            raise ValueError("has both destination and directory, which are two names of the same field")
        given["destination"] = directory if destination is None else destination
        if given["destination"] not in (None, "") and given["name"] is not None:
            raise ValueError("has both destination and name: name is the complete path")
        return given


PLACEHOLDER_FILE = File(source="-")  # replaces an invalid file; its request is rejected


def _require_files(files: tuple[File, ...]) -> tuple[File, ...]:
    """Refuse an empty list. `min_length` counts only valid items and would report a list of invalid files as empty."""
    if not files:
        raise ValueError("should not be empty")
    return files


class WaitFor(_Model):
    """How long to wait for objects that do not exist yet. *timeout* in seconds."""

    timeout: Annotated[int, Field(ge=1)]


class Restore(_Model):
    """
    How to restore archived objects. *tier* None: the first that the settings allow. *days*: how long S3 keeps the
    restored copy. *timeout*: seconds to wait; None: the setting's value.
    """

    tier: Tier | None = None
    days: Annotated[int, Field(ge=1)] = 1
    timeout: Annotated[int, Field(ge=1)] | None = None


class Request(_Model):
    """
    The request in a message. *compression* None: the setting's value. *on_archived* None: archived objects are treated
    as *on_missing* says.
    """

    files: Annotated[
        tuple[File, ...], Field(strict=False, json_schema_extra={"minItems": 1}), AfterValidator(_require_files)
    ]
    metadata: dict[str, Any] | None = None
    job_id: _JobId | None = None
    archive_name: Annotated[str, Field(min_length=0, max_length=MAX_TEXT_LENGTH)] | None = None
    on_missing: OnMissing = "fail"
    on_duplicate: OnDuplicate = "rename"
    on_archived: OnArchived | None = None
    restore: Restore | None = None
    wait_for: WaitFor | None = None
    compression: Compression | None = None
    progress: bool = False

    @property
    def kind(self) -> Kind:
        """Which kind of work the request asks for."""
        return "archive"


@dataclass(frozen=True, slots=True)
class EchoedFields:
    """The fields of a request that its answers repeat."""

    metadata: dict[str, Any] | None = None
    job_id: str | None = None
    message_id: str | None = None  # from SQS, not from the body


class ProgressCounts(Protocol):
    """
    *files* and *bytes* done, and the planned numbers, which are 0 until the archive is planned. *awaited*: objects that
    the job waits for.
    """

    files: int
    bytes: int
    files_planned: int
    bytes_planned: int
    awaited: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive. *size* in bytes; *etag* as the store returns it; *crc32*: 8 hex digits, None if unknown."""

    bucket: str
    key: str
    size: int
    files: int
    etag: str
    crc32: str | None


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file whose path in the archive differs from the requested (or derived) path."""

    source: str
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class Link:
    """The link to an archive. *expires_at*: in UTC; None if it works until the archive is deleted."""

    url: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """The content of the answer to a finished job."""

    echoed: EchoedFields
    link: Link | None
    archive: Archive | None
    status: Literal["succeeded", "partial"]
    missing: Sequence[SourceProblem]
    renamed: Sequence[Renamed]
    notification_id: str


def notification_id(digest: str, message_id: str, status: Status) -> str:
    """Return the id of an answer: 64 hex digits, equal for each delivery of the message *message_id*."""
    return hashlib.sha256(f"{digest}\n{message_id}\n{status}".encode()).hexdigest()
