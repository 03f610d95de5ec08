"""
The layout of an archive whose members are all known, in parts that S3 accepts; see `archiver.core.ledger`.

S3's limits for parts are defined only here.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from collections.abc import Sequence

from archiver.core.ledger import MAX_END_LENGTH, Ledger
from archiver.core.plan import Member
from archiver.errors import Rejected

MIB = 1024 * 1024

# "Amazon S3 multipart upload limits", on the page above.
MAX_PARTS = 10_000
MIN_PART_SIZE = 5 * MIB  # all but the last part
MAX_PART_SIZE = 5 * 1024 * MIB
MAX_OBJECT_SIZE = MAX_PARTS * MAX_PART_SIZE  # 48.8 TiB

DEFAULT_PART_SIZE = 8 * MIB
BUFFERS_PER_JOB = 3  # a job holds at least three part buffers, so a part is at most a third of the memory budget


def part_size_for(length: int, max_part_size: int) -> int:
    """
    Choose the part size for an archive of *length* bytes. *max_part_size*: maximum size of a buffer in bytes.

    Usually 8 MiB, or *max_part_size* if that is less. Large archives have larger parts, in whole MiB, to stay within
    10,000 parts. An archive that fits in one part has one part.

    Raises Rejected (`too_large`) with the MEMORY_BUDGET_MIB that would be enough.
    """
    if length > MAX_OBJECT_SIZE:
        raise Rejected(
            "too_large", f"the archive would have {length} bytes; S3 allows at most 48.8 TiB ({MAX_OBJECT_SIZE})"
        )
    default = min(DEFAULT_PART_SIZE, max_part_size)
    if length <= default:
        return default
    needed = max(MIN_PART_SIZE, -(-length // (MAX_PARTS * MIB)) * MIB)
    if needed > max_part_size:
        raise Rejected(
            "too_large",
            f"the archive would have {length} bytes, in parts of at least {needed // MIB} MiB; "
            f"MEMORY_BUDGET_MIB={BUFFERS_PER_JOB * needed // MIB} would be enough",
        )
    return max(needed, default)


def max_compressed_size(members: Sequence[Member]) -> int:
    """
    Return an upper bound of the compressed archive's size: incompressible data grows by 0.04 % at level 1. Headers and
    extra fields are counted at full size.
    """
    return MAX_END_LENGTH + sum(
        member.size + (member.size >> 10) + 1024 + 2 * (len(member.path.encode()) + 120) for member in members
    )


class Layout(Ledger):
    """The finished ledger of an archive whose members are all known."""

    __slots__ = ()

    def __init__(self, members: Sequence[Member], part_size: int) -> None:
        super().__init__(part_size)
        for member in members:
            self.append(member)
        self.finish()

    @classmethod
    def for_max_part(cls, members: Sequence[Member], max_part_size: int) -> "Layout":
        """Lay *members* out in parts of at most *max_part_size* bytes. Raises Rejected (`too_large`)."""
        layout = cls(members, max_part_size)
        layout.part_size = part_size_for(layout.length, max_part_size)
        return layout
