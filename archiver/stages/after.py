"""Objects are changed one by one, each on the condition that it is the version that is in the archive."""

from typing import Protocol

from archiver.core.changes import Original, Outcome
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo


class ObjectChanges(Protocol):
    """
    Changes objects of any bucket. Each call is one attempt, and may be repeated. All raise TransientError, and
    ConfigurationError if credentials are refused or a bucket does not exist.
    """

    async def head(self, location: Location) -> ObjectInfo | None:
        """Return size, ETag and CRC-32 of an object; None if there is none. Raises SourceUnavailable if denied."""

    async def delete(self, location: Location, etag: str) -> Outcome:
        """Delete the object if it is the version *etag*. What is gone is `done`."""

    async def copy(self, original: Original, target: Location) -> Outcome:
        """
        Copy *original* to *target*. `source_changed`: it is another version, or the target exists. A store that can't
        refuse may copy another version, and may overwrite the target: the caller looks before and after.
        """

    async def create_empty(self, location: Location) -> Outcome:
        """Write an empty object, unless one is there: `name_conflict`."""
