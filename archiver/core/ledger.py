"""
The address of every byte of a stored archive that grows member by member, and its division into parts.

    [header][body][header][body]…[central directory][end records]
    |-------- part 0 --------|-------- part 1 --------|-- last --|

A member's address depends only on the names and sizes of the members before it, so it never changes.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archiver.core.plan import Member
from archiver.core.zip_records import (
    central_entry,
    end_records,
    end_records_length,
    local_header,
    record_lengths,
)

MAX_END_LENGTH = 98  # of the end records, zip64 included
DIRECTORY_BLOCK_SIZE = 256 * 1024  # about 4,000 members: blocks the event loop for 15 ms


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


class OutgrownError(Exception):
    """The next member does not fit into an archive of these limits."""


class Ledger:
    """
    Every byte belongs to exactly one header, one body, or the directory (end records included). All units are bytes.
    All parts but the last have *part_size*. *max_length* of the archive, and *max_bodies* together: None for no limit.

    Memory: the members, and 16 bytes for each. A body ends where the next header begins, so only the headers' offsets
    are stored. Names are encoded again when they are written.
    """

    __slots__ = (
        "_bodies",
        "_directory_length",
        "_max_bodies",
        "_max_length",
        "_offsets",
        "directory_offset",
        "length",
        "members",
        "part_size",
    )

    def __init__(self, part_size: int, *, max_length: int | None = None, max_bodies: int | None = None) -> None:
        self.part_size = part_size
        self._max_length = max_length
        self._max_bodies = max_bodies
        self._bodies = 0
        self.members: list[Member] = []
        self._offsets = array("Q", [0])
        self._directory_length = 0
        self.directory_offset = 0
        """
        Offset behind the last member: of the next header, and finally of the central directory. It and the end records
        extend to the end of the archive.
        """
        self.length = 0
        """Bytes of the whole archive; 0 until `finish`."""

    @property
    def parts(self) -> int:
        """Number of parts, at least one, after `finish`."""
        return -(-self.length // self.part_size)

    def part_length(self, part: int) -> int:
        """Return the length of *part*, after `finish`. All parts but the last have the same length."""
        return min(self.part_size, self.length - part * self.part_size)

    def part_room(self, part: int) -> int:
        """Return the bytes that *part* has room for: its length, as far as that is known before `finish`."""
        return self.part_length(part) if self.length else self.part_size

    def is_copied(self, part: int) -> bool:  # noqa: ARG002 - of an archive that is filled alone
        """Whether the store copies *part*, so that it needs no buffer; else it is filled."""
        return False

    def part_begin(self, part: int) -> int:
        """Return the offset of *part*, which may be one more than there are."""
        return part * self.part_size

    def part_at(self, offset: int) -> tuple[int, int]:
        """Return the part that has the byte *offset* of the archive, and where that part begins."""
        part = offset // self.part_size
        return part, part * self.part_size

    def parts_touched(self, member: Member) -> int:
        """Return how many parts the next member would touch if it were *member*: an upper bound."""
        start = self.directory_offset
        header, _ = record_lengths(len(member.path.encode()), member.size, start)
        return (start + header + member.size) // self.part_size - start // self.part_size + 1

    def copied_bytes(self, member: int) -> int:  # noqa: ARG002 - of an archive that is filled alone
        """Return the bytes of *member* that the store copies: its last ones."""
        return 0

    def append(self, member: Member) -> int:
        """Add *member* behind the others; return its index. Raises OutgrownError."""
        name_length, offset = len(member.path.encode()), self.directory_offset
        header_length, entry_length = record_lengths(name_length, member.size, offset)
        directory_length = self._directory_length + entry_length
        end, bodies = offset + header_length + member.size, self._bodies + member.size
        if self._max_bodies is not None:
            self.check_bodies(bodies)
        if self._max_length is not None and end + directory_length + MAX_END_LENGTH > self._max_length:
            raise OutgrownError(f"more than {self._max_length:,} bytes in parts of {self.part_size:,}")
        self._directory_length, self._bodies, self.directory_offset = directory_length, bodies, end
        self._offsets.append(end)
        self.members.append(member)
        return len(self.members) - 1

    def check_bodies(self, size: int) -> None:
        """Raise OutgrownError if *size* bytes of bodies are too many."""
        if self._max_bodies is not None and size > self._max_bodies:
            raise OutgrownError(f"more than {self._max_bodies:,} bytes of files")

    def finish(self) -> None:
        """No member follows: the archive's length is known."""
        offset = self.directory_offset
        end = end_records_length(len(self.members), self._directory_length, offset)
        self.length = offset + self._directory_length + end

    @property
    def header_offsets(self) -> Sequence[int]:
        """The offset of each member's local header."""
        return memoryview(self._offsets)[:-1]

    def header_offset(self, member: int) -> int:
        return self._offsets[member]

    def body_offset(self, member: int) -> int:
        return self._offsets[member + 1] - self.members[member].size

    def header_bytes(self, member: int, crc32: int) -> bytes:
        """Return the local header, which goes to `header_offset(member)`."""
        planned = self.members[member]
        return local_header(planned.path.encode(), planned.size, planned.modified, crc32)

    def reads(self) -> Iterator[ReadRange]:
        """Yield the ranges to read, in archive order."""
        for member in range(len(self.members)):
            yield from self.member_reads(member)

    def member_reads(self, member: int) -> Iterator[ReadRange]:
        """
        Yield the ranges to read of *member*, in order. An empty body needs no read.

        A body that fits in a part is read in one request, even if it straddles a part boundary: two requests for a
        small object cost more than two views for one response. A larger body is split at the part boundaries.
        """
        return self._reads(member, self.members[member].size, self.part_size)

    def part_reads(self, member: int) -> Iterator[ReadRange]:
        """Yield the ranges of *member*, in order, one of each part that has some of its bytes."""
        return self._reads(member, self.members[member].size, 0)

    def _reads(self, member: int, length: int, whole: int) -> Iterator[ReadRange]:
        """Yield the ranges of the first *length* bytes of *member*: one, if these are at most *whole*."""
        offset = self.body_offset(member)
        if 0 < length <= whole:
            yield ReadRange(member, 0, length, offset)
        elif length:
            start = 0
            for piece in self.split(offset, length):
                yield ReadRange(member, start, piece.length, offset + start)
                start += piece.length

    def split(self, offset: int, length: int) -> Iterator[PartSlice]:
        """Split *length* bytes at *offset* of the archive at the part boundaries, in order."""
        part, begin = self.part_at(offset)
        start = offset - begin
        while length > 0:
            taken = min(length, self.part_room(part) - start)
            yield PartSlice(part, start, taken)
            part, start, length = part + 1, 0, length - taken

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
