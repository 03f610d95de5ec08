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
Stage = Literal["accepted", "building"]
Kind = Literal["archive"]

MAX_JOB_ID_LENGTH = 128

MAX_TEXT_LENGTH = 4096
"""Characters of a `destination`, `name` or `archive_name`: a path in the zip has at most as many bytes."""


def _check_length(text: str) -> str:
    """As `max_length`, which would refuse half a surrogate pair before the path rules can."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"should have at most {MAX_TEXT_LENGTH} characters")
    return text


_Text = Annotated[str, AfterValidator(_check_length), Field(json_schema_extra={"maxLength": MAX_TEXT_LENGTH})]
_JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH)]


class _Model(BaseModel):
    """Frozen and strict: a number is not text. Fields that we don't know are ignored, and null is absent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: object) -> object:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class File(_Model):
    """
    One object and its place in the archive.

    *source* is a key or an `s3://` URI. An empty *destination* or *name* is the same as none.
    """

    source: Annotated[str, Field(min_length=1)]
    destination: _Text | None = None
    name: _Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _normalize_destination(cls, data: object) -> object:
        """Take `directory` for `destination`; refuse two answers to one question."""
        if not isinstance(data, dict) or not ("directory" in data or "name" in data):
            return data
        given = {**data, "name": None if data.get("name") == "" else data.get("name")}
        directory, destination = given.pop("directory", None), given.get("destination")
        if directory is not None and destination is not None and directory != destination:
            raise ValueError("has both destination and directory, which are one field with two names")
        given["destination"] = directory if destination is None else destination
        if given["destination"] not in (None, "") and given["name"] is not None:
            raise ValueError("has both destination and name: name is the whole path")
        return given


PLACEHOLDER_FILE = File(source="-")  # for a file that is not one; its request is refused


def _require_files(files: tuple[File, ...]) -> tuple[File, ...]:
    """Refuse an empty list. (`min_length` would count the valid ones only, and so call a list of bad files empty.)"""
    if not files:
        raise ValueError("should not be empty")
    return files


class Request(_Model):
    """What a message asks for. *compression* None: as the settings say."""

    files: Annotated[
        tuple[File, ...], Field(strict=False, json_schema_extra={"minItems": 1}), AfterValidator(_require_files)
    ]
    metadata: dict[str, Any] | None = None
    job_id: _JobId | None = None
    archive_name: Annotated[str, Field(min_length=0, max_length=MAX_TEXT_LENGTH)] | None = None
    on_missing: OnMissing = "fail"
    on_duplicate: OnDuplicate = "rename"
    compression: Compression | None = None
    progress: bool = False

    @property
    def kind(self) -> Kind:
        """Which kind of work the request asks for."""
        return "archive"


@dataclass(frozen=True, slots=True)
class EchoedFields:
    """What an answer repeats of its request."""

    metadata: dict[str, Any] | None = None
    job_id: str | None = None
    message_id: str | None = None  # SQS's own, which the body does not know


class ProgressCounts(Protocol):
    """How far an archive is: *files* and *bytes* done, of how many; nothing is planned yet where those are 0."""

    files: int
    bytes: int
    files_planned: int
    bytes_planned: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive. *size* in bytes, *etag* as the store writes it, *crc32* as 8 hex digits where it has one."""

    bucket: str
    key: str
    size: int
    files: int
    etag: str
    crc32: str | None


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file that is not called in the archive what it was asked (or derived) to be."""

    source: str
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class Link:
    """What a person clicks on. *expires_at*: in UTC; None where it works as long as the archive is there."""

    url: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """All that the answer to a finished job says."""

    echoed: EchoedFields
    link: Link
    archive: Archive
    status: Literal["succeeded", "partial"]
    missing: Sequence[SourceProblem]
    renamed: Sequence[Renamed]
    notification_id: str


def notification_id(digest: str, message_id: str, status: Status) -> str:
    """Name one answer: 64 hex digits, the same for every delivery of the message *message_id*."""
    return hashlib.sha256(f"{digest}\n{message_id}\n{status}".encode()).hexdigest()
