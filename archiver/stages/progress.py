"""How far one archive is: two counters that the stages move, for whoever wants to look at them."""

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.core.plan import Member


@dataclass(slots=True)
class Progress:
    """
    *files* and *bytes* are done, of *files_planned* and *bytes_planned* (bodies, uncompressed); nothing is planned
    before every object was found. A file is done when its last byte has its place in the archive.
    """

    files: int = 0
    bytes: int = 0
    files_planned: int = 0
    bytes_planned: int = 0

    def begin(self, members: Sequence[Member]) -> None:
        """*members* are going to be read: from the beginning, also where an earlier plan had come far."""
        self.files = self.bytes = 0
        self.files_planned = len(members)
        self.bytes_planned = sum(member.size for member in members)
