"""
Whether an archive that is made in one pass had better be planned, because the store can copy its large members.

A plan takes a HEAD for each object. One pass needs none, but nothing can be copied in it: the parts are cut before all
sizes are known. So the strategy `auto` begins in one pass, and gives it up where copies save more than that costs: the
bytes that were read, and a request for each object. An archive without large members is never given up.
"""

from archiver.core.copies import COST_PER_MEMBER, can_copy
from archiver.core.layout import MIN_PART_SIZE
from archiver.core.plan import Member
from archiver.core.traffic import CopiesPayError

COST_PER_READ = 80_000
"""The bytes that a HEAD or GET is worth: $0.0000004 ("Amazon S3 pricing"), at the price of `COST_PER_MEMBER`."""

MIN_SAMPLE = 16
"""Members that must be known before one stands for more than itself."""


class CopyGain:
    """
    What copies would save of an archive of *files* files, *unknown* of which are objects that no listing told of.
    *unreachable*: buckets that nothing is copied from. All units are bytes.
    """

    __slots__ = ("_files", "_unknown", "_unreachable", "saved")

    def __init__(self, files: int, unknown: int, unreachable: frozenset[str] = frozenset()) -> None:
        self._files = files
        self._unknown = unknown
        self._unreachable = unreachable
        self.saved = 0
        """Of the members so far, at least, after what their copies cost."""

    def met(self, member: Member) -> None:
        """The size of *member* is known."""
        least = MIN_PART_SIZE + COST_PER_MEMBER  # its head is read, whatever is in front of it
        if member.size > least and can_copy(member, self._unreachable):
            self.saved += member.size - least

    def check(self, known: int, read: int) -> None:
        """Raise CopiesPayError if it pays to begin anew. *known* members; *read*: bytes of their bodies."""
        expected = self.saved * max(1, self._files // max(known, MIN_SAMPLE))
        cost = read + (self._unknown + known) * COST_PER_READ
        if expected > cost:
            raise CopiesPayError(f"copies save about {expected:,} bytes, more than {cost:,}")
