"""The JSON of docs/message.md: the request, its answers and its progress events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from archiver.core import strict_json
from archiver.core.messages import (
    MAX_JOB_ID_LENGTH,
    Archive,
    Cancelled,
    EchoedFields,
    ProgressCounts,
    Request,
    Stage,
    Success,
)
from archiver.core.mistakes import reject_mistakes
from archiver.core.request_fields import read_request
from archiver.core.traffic import traffic_fields
from archiver.errors import Rejected, SourceProblem


def parse_request(body: str) -> Request:
    """
    Read a message's body.

    Raises Rejected: `invalid_json`, or `invalid_request` with up to `MAX_PROBLEMS_LISTED` problems, each with its JSON
    path.
    """
    data = strict_json.load(body)
    reject_mistakes(data)
    return read_request(data)


def is_ping(body: str) -> bool:
    """Whether *body*, which may be no valid request, only asks to be checked. Never raises."""
    try:
        data = strict_json.load(body)
    except Rejected:
        return False
    return isinstance(data, dict) and data.get("test") is True


def read_echoed_fields(body: str) -> EchoedFields:
    """Read the fields that answers repeat, also of a body that is no request. Never raises; None: unreadable."""
    data = strict_json.load_lenient(body)
    if not isinstance(data, dict):
        return EchoedFields()
    metadata = data.get("metadata")
    url, expires_in = data.get("callback_url"), data.get("expires_in")
    return EchoedFields(
        metadata if isinstance(metadata, dict) and strict_json.is_serializable(metadata) else None,
        _job_id(data),
        callback_url=url if isinstance(url, str) else None,
        expires_in=expires_in if isinstance(expires_in, str) else None,
    )


def read_job_id(body: str) -> str | None:
    """Read the `job_id` alone, in less time than `read_echoed_fields`."""
    data = strict_json.load_lenient(body)
    return _job_id(data) if isinstance(data, dict) else None


def _job_id(data: dict[str, Any]) -> str | None:
    job_id = data.get("job_id")
    return job_id if isinstance(job_id, str) and _is_job_id(job_id) else None


def _is_job_id(text: str) -> bool:
    return 1 <= len(text) <= MAX_JOB_ID_LENGTH and not any("\ud800" <= char <= "\udfff" for char in text)


def success_answer(success: Success, limit: int, answer_url: str | None = None) -> str:
    """
    Write the answer to a finished job in *limit* bytes of UTF-8; `dump_truncated` shortens its lists to fit.
    *answer_url*: where the whole answer is.
    """
    if success.status == "alive":
        return _alive_answer(success, limit, answer_url)
    if success.command is not None:
        from archiver.core.dialects.commands import command_answer  # noqa: PLC0415 - nothing of it for archives

        return command_answer(success, success.command, limit, _reference(answer_url))
    if success.cancelled is not None:
        return _cancelling_answer(success, success.cancelled, limit, answer_url)
    missing = _source_entries(success.missing)
    renamed = [{"source": each.source, "from": each.from_, "to": each.to} for each in success.renamed]
    answer: dict[str, Any] = {
        "metadata": success.echoed.metadata,
        "substitutions": {"archiver_URL": success.link.url} if success.link else {},
        "job_id": success.echoed.job_id,
        "message_id": success.echoed.message_id,
        "status": success.status,
        "archive": _archive_fields(success.archive) if success.archive else None,
        "missing": missing,
        "renamed": renamed,
        "notification_id": success.notification_id,
    }
    if success.link is not None and success.link.expires_at is not None:
        answer["expires_at"] = f"{success.link.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    answer |= _reference(answer_url)
    lists: dict[str, list[Any]] = {"renamed": renamed, "missing": missing}
    if success.after is not None:
        kept = [{"source": one.source, "code": one.code} for one in success.after.kept]
        lists["after.kept"] = kept
        answer["after"] = {
            "action": success.after.action,
            "done": success.after.done,
            "kept": kept,
            "problem": success.after.problem,
            "flag": success.after.flag,
        }
    shortened = {"missing": len(missing) + success.unlisted} if success.unlisted else {}
    return strict_json.dump_truncated(answer, lists, limit, shortened)


def _reference(answer_url: str | None) -> dict[str, str]:
    return {} if answer_url is None else {"answer_url": answer_url}


def _cancelling_answer(success: Success, cancelled: Cancelled, limit: int, answer_url: str | None) -> str:
    problem = None if cancelled.accepted else "the archive is finished: it can't be cancelled"
    answer: dict[str, Any] = {
        "metadata": success.echoed.metadata,
        "job_id": success.echoed.job_id,
        "message_id": success.echoed.message_id,
        "status": success.status,
        "cancel": {"job_id": cancelled.job_id, "accepted": cancelled.accepted, "problem": problem},
        "notification_id": success.notification_id,
        **_reference(answer_url),
    }
    return strict_json.dump_truncated(answer, {}, limit)


def cancelled_answer(echoed: EchoedFields, notification_id: str, limit: int, answer_url: str | None = None) -> str:
    """Write the answer to a job that was cancelled in *limit* bytes of UTF-8. *answer_url*: where the whole one is."""
    answer: dict[str, Any] = {
        "metadata": echoed.metadata,
        "job_id": echoed.job_id,
        "message_id": echoed.message_id,
        "status": "cancelled",
        "notification_id": notification_id,
        **_reference(answer_url),
    }
    return strict_json.dump_truncated(answer, {}, limit)


def _alive_answer(success: Success, limit: int, answer_url: str | None) -> str:
    problem = success.problem
    sources = _source_entries(problem.sources) if problem else []
    answer: dict[str, Any] = {
        "metadata": success.echoed.metadata,
        "job_id": success.echoed.job_id,
        "message_id": success.echoed.message_id,
        "status": success.status,
        "accepted": problem is None,
        "problem": {"code": problem.code, "message": problem.message, "sources": sources} if problem else None,
        "notification_id": success.notification_id,
    }
    answer |= _reference(answer_url)
    if success.found is not None:
        answer["found"] = success.found
    return strict_json.dump_truncated(answer, {"problem.sources": sources}, limit)


def _archive_fields(archive: Archive) -> dict[str, Any]:
    return {
        "bucket": archive.bucket,
        "key": archive.key,
        "size": archive.size,
        "files": archive.files,
        "etag": archive.etag.strip('"'),
        "crc32": archive.crc32,
        "receipt": archive.receipt,
        **traffic_fields(archive.traffic),
    }


def failure_answer(echoed: EchoedFields, rejected: Rejected, limit: int, answer_url: str | None = None) -> str:
    """Write the answer to a rejected job in *limit* bytes of UTF-8, as `success_answer` does."""
    sources = _source_entries(rejected.sources)
    answer: dict[str, Any] = {
        "metadata": echoed.metadata,
        "job_id": echoed.job_id,
        "message_id": echoed.message_id,
        "status": "failed",
        "error": {"code": rejected.code, "message": rejected.message, "sources": sources},
    }
    lists = {"error.sources": sources}
    if rejected.result is not None:
        from archiver.core.dialects.commands import failed_command_answer  # noqa: PLC0415 - nothing of it for archives

        return failed_command_answer(answer | _reference(answer_url), rejected.result, lists, limit)
    return strict_json.dump_truncated(answer | _reference(answer_url), lists, limit)


def progress_event(echoed: EchoedFields, stage: Stage, progress: ProgressCounts, _now: datetime, limit: int) -> str:
    """Write a progress event in *limit* bytes of UTF-8."""
    event: dict[str, Any] = {
        "metadata": echoed.metadata,
        "job_id": echoed.job_id,
        "message_id": echoed.message_id,
        "status": stage,
        "progress": {
            "files": progress.files,
            "files_planned": progress.files_planned,
            "bytes": progress.bytes,
            "bytes_planned": progress.bytes_planned,
            **({"awaited": progress.awaited} if stage == "waiting" else {}),
            **({} if progress.fraction is None else {"fraction": progress.fraction}),
        },
    }
    return strict_json.dump_truncated(event, {}, limit)


def _source_entries(problems: Sequence[SourceProblem]) -> list[dict[str, str]]:
    return [{"source": problem.source, "code": problem.code} for problem in problems]
