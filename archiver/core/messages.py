"""Requests and what their answers say, whatever JSON they are written in (`archiver.core.dialects`)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, cast

from pydantic import AfterValidator, Field, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from archiver.core.after_fields import After, Uri
from archiver.core.attributes import DAYS, EXPIRY_TAG, MAX_TAGS, Acl, tag_problem
from archiver.core.command_fields import CommandCall
from archiver.core.entries import MAX_TEXT_LENGTH, Entry, Model
from archiver.core.traffic import Traffic
from archiver.core.webhooks import MAX_URL_LENGTH
from archiver.errors import Rejected, SourceProblem

if TYPE_CHECKING:
    from archiver.core.after import AfterResult
    from archiver.core.command_result import CommandResult

OnMissing = Literal["fail", "skip"]
OnDuplicate = Literal["rename", "fail", "skip"]
OnEmpty = Literal["fail", "skip"]
Compression = Literal["store", "deflate", "auto"]
Strategy = Literal["auto", "stream", "copy"]
Status = Literal["succeeded", "partial", "skipped", "alive", "cancelled", "failed"]
OnArchived = Literal["fail", "skip", "restore"]
Tier = Literal["Expedited", "Standard", "Bulk"]
Stage = Literal["accepted", "waiting", "building"]
Kind = Literal["archive", "ping", "cancel", "command"]

MAX_JOB_ID_LENGTH = 128

_JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH)]


_INSTEAD_OF_FILES = {
    "cancel": "a message that cancels a job asks for nothing else",
    "command": "a request asks for an archive or for a command",
    "manifest": "a request has one of them",
}


def _check_files(files: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> tuple[Entry, ...]:
    """
    Refuse an empty list, and two or none of `files` and what stands in its place. `min_length` counts only valid items
    and would report a list of invalid files as empty.
    """
    absent = files == ()  # the default: JSON has no tuples
    instead = [name for name in _INSTEAD_OF_FILES if info.data.get(name) is not None]
    if instead:
        if not absent or len(instead) > 1:
            raise ValueError(f"is there beside {instead[0]}: {_INSTEAD_OF_FILES[instead[0]]}")
        return ()
    if absent:
        raise ValueError("is required")
    if not (entries := cast("tuple[Entry, ...]", validate(files))):
        raise ValueError("should not be empty")
    return entries


def _check_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise ValueError(f"should have at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if (problem := tag_problem(key, value)) is not None:
            raise ValueError(f"has the tag {key!a:.140}: {problem}")
        if key == EXPIRY_TAG:
            raise ValueError(f"has the tag {EXPIRY_TAG}: write expires_in instead")
    return tags


_Tags = Annotated[dict[str, str], AfterValidator(_check_tags), Field(json_schema_extra={"maxProperties": MAX_TAGS})]


class WaitFor(Model):
    """How long to wait for objects that do not exist yet. *timeout* in seconds."""

    timeout: Annotated[int, Field(ge=1)]


class Restore(Model):
    """
    How to restore archived objects. *tier* None: the first that the settings allow. *days*: how long S3 keeps the
    restored copy. *timeout*: seconds to wait; None: the setting's value.
    """

    tier: Tier | None = None
    days: Annotated[int, Field(ge=1)] = 1
    timeout: Annotated[int, Field(ge=1)] | None = None


class Request(Model):
    """
    The request in a message. *cancel*: the id of a job that is to end; nothing else is asked for then. *command*: what
    is to be run, instead of making an archive. *manifest*: an `s3://` URI of an object that lists the files, instead of
    *files*, which are empty then. *on_archived* None: archived objects are treated as *on_missing* says. *compression*
    and *strategy* (how the bytes get into the archive) None: the setting's value. *acl*, *tags*, *expires_in* (days,
    such as `7d`): of the archive. *after*: what is done with the archived objects; *flag*: `s3://` URI of an empty
    object that is written then. *callback_url*: where its answer is posted to as well. *test*: it is only checked.
    """

    cancel: _JobId | None = None
    command: CommandCall | None = None
    manifest: Annotated[str, Field(min_length=1)] | None = None
    files: Annotated[
        tuple[Entry, ...],
        Field(strict=False, validate_default=True, json_schema_extra={"minItems": 1}),
        WrapValidator(_check_files),
    ] = ()
    metadata: dict[str, Any] | None = None
    job_id: _JobId | None = None
    archive_name: Annotated[str, Field(min_length=0, max_length=MAX_TEXT_LENGTH)] | None = None
    on_missing: OnMissing = "fail"
    on_duplicate: OnDuplicate = "rename"
    on_empty: OnEmpty = "fail"
    on_archived: OnArchived | None = None
    restore: Restore | None = None
    wait_for: WaitFor | None = None
    compression: Compression | None = None
    strategy: Strategy | None = None
    after: After | None = None
    flag: Uri | None = None
    acl: Acl | None = None
    tags: _Tags | None = None
    expires_in: Annotated[str, Field(pattern=f"^{DAYS.pattern}$")] | None = None
    callback_url: Annotated[str, Field(max_length=MAX_URL_LENGTH)] | None = None
    progress: bool = False
    test: bool = False

    @property
    def kind(self) -> Kind:
        """Which kind of work the request asks for."""
        if self.cancel is not None:
            return "cancel"
        if self.test:
            return "ping"
        return "archive" if self.command is None else "command"


INVALID_PING = Request.model_construct(files=(), test=True)  # replaces a ping that is not a valid request


@dataclass(frozen=True, slots=True)
class EchoedFields:
    """The fields of a request that its answers repeat, where they are posted to, and when they expire."""

    metadata: dict[str, Any] | None = None
    job_id: str | None = None
    message_id: str | None = None  # from SQS, not from the body
    callback_url: str | None = field(default=None, repr=False)  # may be invalid; its answers do not repeat it
    expires_in: str | None = None  # may be invalid, or not allowed; as callback_url
    asked: Mapping[str, Any] = field(default_factory=dict)  # what the answers of a dialect repeat beside these


class ProgressCounts(Protocol):
    """
    *files* and *bytes* done, and the planned numbers, which are 0 until the archive is planned. *awaited*: objects that
    the job waits for. *fraction*: of a running command, 0 to 1; None: none runs.
    """

    files: int
    bytes: int
    files_planned: int
    bytes_planned: int
    awaited: int
    fraction: float | None


@dataclass(frozen=True, slots=True)
class Archive:
    """
    A finished archive. *size* in bytes; *etag* as the store returns it; *crc32*: 8 hex digits, None if unknown.
    *receipt*: key of its receipt in the same bucket, None if there is none. *traffic*: None if nobody asked for a
    strategy, or the archive was there before.
    """

    bucket: str
    key: str
    size: int
    files: int
    etag: str
    crc32: str | None
    receipt: str | None = None
    traffic: Traffic | None = None


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
class Cancelled:
    """The job that a message cancels. *accepted*: False if its archive is finished."""

    job_id: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class Success:
    """
    The content of the answer to a finished job. *unlisted*: missing objects that *missing* does not list. *problem*: of
    a ping, why its request would be rejected; *found*: how many of its objects are there, None if it did not look.
    """

    echoed: EchoedFields
    link: Link | None
    archive: Archive | None
    status: Literal["succeeded", "partial", "skipped", "alive", "cancelled"]
    missing: Sequence[SourceProblem]
    renamed: Sequence[Renamed]
    notification_id: str
    unlisted: int = 0
    problem: Rejected | None = None
    found: int | None = None
    after: "AfterResult | None" = None
    cancelled: Cancelled | None = None
    command: "CommandResult | None" = None


def notification_id(digest: str, message_id: str, status: Status) -> str:
    """Return the id of an answer: 64 hex digits, equal for each delivery of the message *message_id*."""
    return hashlib.sha256(f"{digest}\n{message_id}\n{status}".encode()).hexdigest()
