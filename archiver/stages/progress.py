"""The progress of one archive: counters that the stages update and observers read."""

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.core.plan import Member


@dataclass(slots=True)
class Progress:
    """
    *files* and *bytes* are done, of *files_planned* and *bytes_planned* (bodies, uncompressed). The planned numbers are
    0 until they are known. *estimates*: until all sizes are known, *bytes_planned* is the mean of the files that are
    done, for all files. A file is done when its last byte is placed in the archive. *awaited*: objects that the job
    waits for before it can begin. *fraction*: of a running command, 0 to 1, as it tells itself; None: none runs.
    """

    files: int = 0
    bytes: int = 0
    files_planned: int = 0
    bytes_planned: int = 0
    estimates: bool = False
    awaited: int = 0
    fraction: float | None = None

    def begin_unknown(self, files: int) -> None:
        """Start the counters for *files* files whose sizes are not known."""
        self.files = self.bytes = self.bytes_planned = 0
        self.files_planned, self.estimates = files, True

    def add(self, files: int, size: int) -> None:
        """Count *files* files and *size* bytes that are done."""
        self.files += files
        self.bytes += size

    def estimate(self) -> None:
        """Estimate the planned bytes from what is done, if they are not known."""
        if self.estimates and self.files:
            self.bytes_planned = self.bytes * self.files_planned // self.files

    def begin(self, members: Sequence[Member]) -> None:
        """Start (or, after a replan, restart) the counters for the build of *members*."""
        self.files = self.bytes = 0
        self.estimates = False
        self.files_planned = len(members)
        self.bytes_planned = sum(member.size for member in members)
