"""Unfinished uploads: found again, to go on with them or to abort them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from archiver.core.kept import StoredPart
from archiver.ports.objects import MultipartUpload, Target


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that is neither completed nor aborted, and when it was *begun*."""

    key: str
    id: str
    begun: datetime


class UnfinishedUploads(Protocol):
    """The multipart uploads of one bucket."""

    async def resume(self, target: Target, upload_id: str) -> tuple[MultipartUpload, Sequence[StoredPart]] | None:
        """
        Return the upload of *target* with this id, and its parts, which `complete` will publish with those that are
        sent; None if there is no such upload any more. Raises TransientError, ConfigurationError.
        """

    async def list(self, prefix: str = "") -> list[UnfinishedUpload]:
        """Return all uploads of keys that begin with *prefix*. Raises TransientError, ConfigurationError."""

    async def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload, which need not exist. Raises TransientError, ConfigurationError."""
