"""The message formats: the incoming request, the outgoing answers and progress events."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from archiver.core import strict_json as jsontext
from archiver.core.mistakes import reject_mistakes
from archiver.core.problems import Problems, join_problems
from archiver.errors import Rejected, SourceProblem

OnMissing = Literal["fail", "skip"]
OnDuplicate = Literal["rename", "fail", "skip"]
Compression = Literal["store", "deflate", "auto"]
Status = Literal["succeeded", "partial", "failed"]
Stage = Literal["accepted", "building"]

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


_PLACEHOLDER_FILE = File(source="-")  # replaces an invalid file; its request is rejected


def _require_files(files: tuple[File, ...]) -> tuple[File, ...]:
    """Refuse an empty list. `min_length` counts only valid items and would report a list of invalid files as empty."""
    if not files:
        raise ValueError("should not be empty")
    return files


class Request(_Model):
    """The request in a message. *compression* None: the setting's value."""

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


def parse_request(body: str) -> Request:
    """
    Parse a message's body.

    Raises Rejected `invalid_json`, or `invalid_request` with up to `MAX_PROBLEMS_LISTED` problems and their JSON paths.
    """
    data = jsontext.load(body)
    reject_mistakes(data)
    problems = Problems()
    files = data.get("files")
    if isinstance(files, list) and files:
        _read_files(files, problems)
    try:
        request = Request.model_validate(data)
    except ValidationError as error:
        problems.add(error)
    if problems.count:
        raise Rejected("invalid_request", join_problems(problems.listed, problems.count))
    return request


def _read_files(files: list[Any], problems: Problems) -> None:
    """
    Replace each item by a `File`, one by one: pydantic would keep a problem for each of half a million items.
    """
    for index, file in enumerate(files):
        try:
            files[index] = File.model_validate(file)
        except ValidationError as error:
            problems.add(error, ("files", index))
            files[index] = _PLACEHOLDER_FILE


@dataclass(frozen=True, slots=True)
class EchoedFields:
    """The fields of a request that its answers repeat."""

    metadata: dict[str, Any] | None = None
    job_id: str | None = None
    message_id: str | None = None  # from SQS, not from the body


def envelope(body: str) -> EchoedFields:
    """Read the echoed fields from a body that `parse_request` refused. Never raises; an unreadable field is None."""
    data = jsontext.load_lenient(body)
    if not isinstance(data, dict):
        return EchoedFields()
    metadata = data.get("metadata")
    return EchoedFields(
        metadata if isinstance(metadata, dict) and jsontext.is_serializable(metadata) else None, _job_id(data)
    )


def job_id_of(body: str) -> str | None:
    """Return only the `job_id` that `envelope` would return, in less time."""
    data = jsontext.load_lenient(body)
    return _job_id(data) if isinstance(data, dict) else None


def _job_id(data: dict[str, Any]) -> str | None:
    job_id = data.get("job_id")
    return job_id if isinstance(job_id, str) and _is_job_id(job_id) else None


def _is_job_id(text: str) -> bool:
    return 1 <= len(text) <= MAX_JOB_ID_LENGTH and not any("\ud800" <= char <= "\udfff" for char in text)


class ProgressCounts(Protocol):
    """*files* and *bytes* done, and the planned numbers, which are 0 until the archive is planned."""

    files: int
    bytes: int
    files_planned: int
    bytes_planned: int


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

    envelope: EchoedFields
    link: Link
    archive: Archive
    status: Literal["succeeded", "partial"]
    missing: Sequence[SourceProblem]
    renamed: Sequence[Renamed]
    notification_id: str


def success_answer(success: Success, limit: int) -> str:
    """Return the answer to a finished job, at most *limit* bytes of UTF-8; truncated as in `dump_truncated`."""
    archive = success.archive
    missing = _source_entries(success.missing)
    renamed = [{"source": each.source, "from": each.from_, "to": each.to} for each in success.renamed]
    answer: dict[str, Any] = {
        "metadata": success.envelope.metadata,
        "substitutions": {"archiver_URL": success.link.url},
        "job_id": success.envelope.job_id,
        "message_id": success.envelope.message_id,
        "status": success.status,
        "archive": {
            "bucket": archive.bucket,
            "key": archive.key,
            "size": archive.size,
            "files": archive.files,
            "etag": archive.etag.strip('"'),
            "crc32": archive.crc32,
        },
        "missing": missing,
        "renamed": renamed,
        "notification_id": success.notification_id,
    }
    if success.link.expires_at is not None:
        answer["expires_at"] = f"{success.link.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    return jsontext.dump_truncated(answer, {"renamed": renamed, "missing": missing}, limit)


def failure_answer(envelope: EchoedFields, rejected: Rejected, limit: int) -> str:
    """Return the answer to a rejected job, at most *limit* bytes of UTF-8, as `success_answer` does."""
    sources = _source_entries(rejected.sources)
    answer: dict[str, Any] = {
        "metadata": envelope.metadata,
        "job_id": envelope.job_id,
        "message_id": envelope.message_id,
        "status": "failed",
        "error": {"code": rejected.code, "message": rejected.message, "sources": sources},
    }
    return jsontext.dump_truncated(answer, {"error.sources": sources}, limit)


def progress_event(envelope: EchoedFields, stage: Stage, progress: ProgressCounts, limit: int) -> str:
    """Return a progress event, at most *limit* bytes of UTF-8, as `success_answer` does."""
    event: dict[str, Any] = {
        "metadata": envelope.metadata,
        "job_id": envelope.job_id,
        "message_id": envelope.message_id,
        "status": stage,
        "progress": {
            "files": progress.files,
            "files_planned": progress.files_planned,
            "bytes": progress.bytes,
            "bytes_planned": progress.bytes_planned,
        },
    }
    return jsontext.dump_truncated(event, {}, limit)


def _source_entries(problems: Sequence[SourceProblem]) -> list[dict[str, str]]:
    return [{"source": problem.source, "code": problem.code} for problem in problems]


def notification_id(digest: str, message_id: str, status: Status) -> str:
    """Return the id of an answer: 64 hex digits, equal for each delivery of the message *message_id*."""
    return hashlib.sha256(f"{digest}\n{message_id}\n{status}".encode()).hexdigest()
