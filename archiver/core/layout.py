"""
The address of every byte of a stored archive, and the archive's division into parts.

    [header][body][header][body]…[central directory][end records]
    |-------- part 0 --------|-------- part 1 --------|-- last --|

S3's limits for parts are defined only here.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archiver.core.plan import Member
from archiver.core.zip_records import (
    central_entry,
    central_entry_length,
    end_records,
    end_records_length,
    local_header,
    local_header_length,
)
from archiver.errors import Rejected

MIB = 1024 * 1024

# "Amazon S3 multipart upload limits", on the page above.
MAX_PARTS = 10_000
MIN_PART_SIZE = 5 * MIB  # all but the last part
MAX_PART_SIZE = 5 * 1024 * MIB
MAX_OBJECT_SIZE = MAX_PARTS * MAX_PART_SIZE  # 48.8 TiB

DEFAULT_PART_SIZE = 8 * MIB
BUFFERS_PER_JOB = 3  # a job holds at least three part buffers, so a part is at most a third of the memory budget
DIRECTORY_BLOCK_SIZE = MIB // 4  # about 4,000 members: blocks the event loop for 15 ms


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
    return 98 + sum(
        member.size + (member.size >> 10) + 1024 + 2 * (len(member.path.encode()) + 120) for member in members
    )


class ReadRange(NamedTuple):
    """Read *length* bytes of the member with the index *member*, from *start*, to *offset* in the archive."""

    member: int
    start: int
    length: int
    offset: int


class PartSlice(NamedTuple):
    """*length* bytes of *part*, from its byte *start*. Parts count from 0; S3's part number is one more."""

    part: int
    start: int
    length: int


class Layout:
    """
    The layout of the archive of *members*. Immutable; all units are bytes.

    Every byte belongs to exactly one header, one body, or the directory (end records included). Part *n* is complete
    when `part_length(n)` bytes were placed in it, in any order.

    Memory: the members, and 8 bytes for each. A body ends where the next header begins, so only the headers' offsets
    are stored. Names are encoded again when they are written.
    """

    __slots__ = ("_offsets", "length", "members", "part_size")

    def __init__(self, members: Sequence[Member], part_size: int) -> None:
        self.members = tuple(members)
        self.part_size = part_size
        self._offsets, self.length = _member_offsets(self.members)

    @classmethod
    def for_max_part(cls, members: Sequence[Member], max_part_size: int) -> "Layout":
        """Lay *members* out in parts of at most *max_part_size* bytes. Raises Rejected (`too_large`)."""
        layout = cls(members, max_part_size)
        layout.part_size = part_size_for(layout.length, max_part_size)
        return layout

    @property
    def parts(self) -> int:
        """Number of parts; at least one."""
        return -(-self.length // self.part_size)

    def part_length(self, part: int) -> int:
        """Return the length of *part*. All parts but the last have the same length."""
        return min(self.part_size, self.length - part * self.part_size)

    @property
    def directory_offset(self) -> int:
        """Offset of the central directory. It and the end records extend to the end of the archive."""
        return self._offsets[-1]

    @property
    def header_offsets(self) -> Sequence[int]:
        """The offset of each member's local header."""
        return memoryview(self._offsets)[:-1]

    def header_offset(self, member: int) -> int:
        return self._offsets[member]

    def body_offset(self, member: int) -> int:
        return self._offsets[member + 1] - self.members[member].size

    def reads(self) -> Iterator[ReadRange]:
        """
        Yield the ranges to read, in archive order. Empty bodies need no read.

        A body that fits in a part is read in one request, even if it straddles a part boundary: two requests for a
        small object cost more than two views for one response. A larger body is split at the part boundaries.
        """
        for index, member in enumerate(self.members):
            offset = self.body_offset(index)
            if 0 < member.size <= self.part_size:
                yield ReadRange(index, 0, member.size, offset)
            elif member.size:
                start = 0
                for _, _, length in self.split(offset, member.size):
                    yield ReadRange(index, start, length, offset + start)
                    start += length

    def split(self, offset: int, length: int) -> Iterator[PartSlice]:
        """Split *length* bytes at *offset* of the archive at the part boundaries, in order."""
        part, start = divmod(offset, self.part_size)
        while length > 0:
            taken = min(length, self.part_size - start)
            yield PartSlice(part, start, taken)
            part, start, length = part + 1, 0, length - taken

    def header_bytes(self, member: int, crc32: int) -> bytes:
        """Return the local header, which goes to `header_offset(member)`."""
        planned = self.members[member]
        return local_header(planned.path.encode(), planned.size, planned.modified, crc32)

    def directory(self, crcs: Sequence[int]) -> Iterator[bytes]:
        """
        Yield the bytes from `directory_offset` to the end, in blocks of at most 256 KiB. So the directory of a million
        members is never in memory at once. *crcs*: each member's CRC-32, by index.
        """
        block, directory_length = bytearray(), 0
        for index, (member, crc32) in enumerate(zip(self.members, crcs, strict=True)):
            offset = self._offsets[index]
            entry = central_entry(member.path.encode(), member.size, member.modified, crc32, offset)
            if len(block) + len(entry) > DIRECTORY_BLOCK_SIZE:
                yield bytes(block)
                block.clear()
            block += entry
            directory_length += len(entry)
        yield bytes(block)
        yield end_records(len(self.members), directory_length, self.directory_offset)


def _member_offsets(members: Sequence[Member]) -> "tuple[array[int], int]":
    """Return the offset of each header, followed by the directory's offset; and the length of the archive."""
    offsets = array("Q", [0]) * (len(members) + 1)  # allocated once: a growing array takes up to twice the memory
    offset = directory_length = 0
    for index, member in enumerate(members):
        name_length = len(member.path.encode())
        directory_length += central_entry_length(name_length, member.size, offset)
        offset += local_header_length(name_length, member.size) + member.size
        offsets[index + 1] = offset
    end_length = end_records_length(len(members), directory_length, offset)
    return offsets, offset + directory_length + end_length
