"""
Dialects: the languages that requests and answers are written in.

A request is answered in the dialect in which it came. Any dialect may come through any door.
"""

from datetime import datetime
from typing import Protocol

from archiver.core import strict_json
from archiver.core.dialects import native
from archiver.core.messages import EchoedFields, ProgressCounts, Request, Stage, Success
from archiver.errors import Rejected


class Dialect(Protocol):
    """Reads requests and writes answers. A module of this package is one."""

    def parse_request(self, body: str) -> Request:
        """Read a request. Raises Rejected (`invalid_json`, `invalid_request`)."""

    def is_ping(self, body: str) -> bool:
        """Whether *body*, which may be no valid request, only asks to be checked. Never raises."""

    def read_echoed_fields(self, body: str) -> EchoedFields:
        """Read the fields that answers repeat, also of a body that is no request. Never raises."""

    def read_job_id(self, body: str) -> str | None:
        """Read the job id alone. Never raises."""

    def success_answer(self, success: Success, limit: int, answer_url: str | None = None) -> str:
        """
        Write the answer to a finished job in *limit* bytes of UTF-8. *answer_url*: where the whole answer is, if it
        does not fit.
        """

    def failure_answer(
        self, echoed: EchoedFields, rejected: Rejected, limit: int, answer_url: str | None = None
    ) -> str:
        """Write the answer to a rejected job in *limit* bytes of UTF-8, as above."""

    def cancelled_answer(
        self, echoed: EchoedFields, notification_id: str, limit: int, answer_url: str | None = None
    ) -> str:
        """Write the answer to a job that was cancelled, as `success_answer` does."""

    def progress_event(
        self, echoed: EchoedFields, stage: Stage, progress: ProgressCounts, now: datetime, limit: int
    ) -> str:
        """Write a progress event in *limit* bytes of UTF-8. *now*: the time, in UTC."""


def dialect_of(body: str) -> Dialect:
    """
    Return the dialect of a message's body, by its shape: native, unless it has the fields of another one. Most bodies
    have no such word in them, and are not parsed for it. Never raises.
    """
    if '"parameters"' in body or '"service"' in body:
        return _dialect_of_shape(strict_json.load_lenient(body))
    return native


def asks_for_command(body: str) -> bool:
    """Whether the request, which may be invalid, is one for a command, in any dialect. Never raises."""
    if '"command"' not in body and '"service"' not in body and '"command_template"' not in body:
        return False
    data = strict_json.load_lenient(body)
    if not isinstance(data, dict) or "files" in data or "manifest" in data:
        return False
    given = data.get("parameters")
    ids = [one.get("id") for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return "command" in data or "service" in data or "command_template" in ids


def _dialect_of_shape(data: object) -> Dialect:
    if not isinstance(data, dict) or not data.keys().isdisjoint(("files", "manifest", "cancel")):
        return native
    if isinstance(data.get("parameters"), list) and type(data.get("job_id")) is int:
        from archiver.core.dialects import mcai  # noqa: PLC0415 - nothing of it for other messages

        return mcai
    if "service" in data and ("command" in data or "test" in data):
        from archiver.core.dialects import lanlytics  # noqa: PLC0415 - nothing of it for other messages

        return lanlytics
    return native
