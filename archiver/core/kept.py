"""
Which parts of an unfinished upload need not be made again.

The next worker has the same members, in the same order, at the same ETags and in parts of the same size: so each part
has the same bytes, whoever sends it. What can be missing are checksums: the archive's directory and headers need the
CRC-32 of each member, and the upload that of each part.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.core.ledger import Ledger, ReadRange


class StoredPart(NamedTuple):
    """One part of an unfinished upload, as the store lists it: *number* from 1; *crc32*: None if it tells none."""

    number: int
    size: int
    etag: str
    crc32: int | None


@dataclass(slots=True)
class Checksums:
    """
    The CRC-32 of the first *members*, in order, and of *parts*, by their number from 0. A member's is true once all
    parts that have its header are there: it is 0 while the member is read.
    """

    members: "array[int]" = field(default_factory=lambda: array("I"))
    parts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """
    What is left of the work of an earlier worker. *parts*: those that need not be made, with their CRC-32; numbers
    count from 0. *sent*: those that must be made, as they tell the CRC-32 of a member, but need not be sent again if
    they have this CRC-32. *crcs*: of members, by index. *whole*: the members that are entirely in *parts*.
    """

    parts: Mapping[int, int] = field(default_factory=dict)
    sent: Mapping[int, int] = field(default_factory=dict)
    crcs: Mapping[int, int] = field(default_factory=dict)
    whole: frozenset[int] = frozenset()


NOTHING_KEPT = Kept()


def keep(ledger: Ledger, crcs: Mapping[int, int], recorded: Mapping[int, int], stored: Iterable[StoredPart]) -> Kept:
    """
    Return what can be kept of the parts in the store, for the finished *ledger*. *crcs* of members, and *recorded* ones
    of parts, by their number from 0.

    Raises ValueError if the parts can't be those of this archive.
    """
    sent = {}
    for part in stored:
        number = part.number - 1
        if not 0 <= number < ledger.parts or part.size != ledger.part_length(number):
            raise ValueError(f"the upload has a part {part.number} of {part.size} bytes")
        crc = recorded.get(number) if part.crc32 is None else part.crc32
        if crc != recorded.get(number, crc):
            raise ValueError(f"the part {part.number} has another CRC-32 than the record")
        if crc is not None:
            sent[number] = crc
    doubtful = _doubtful(ledger, crcs)
    parts = {number: crc for number, crc in sent.items() if number not in doubtful}
    if not parts:
        return Kept(sent=sent)
    whole = frozenset(index for index in crcs if all(part in parts for part in _parts(ledger, *_extent(ledger, index))))
    return Kept(parts, {number: sent[number] for number in sent.keys() - parts.keys()}, crcs, whole)


def divide(ledger: Ledger, kept: Kept, index: int) -> tuple[list[tuple[ReadRange, int]], Iterable[ReadRange]]:
    """
    Return the ranges of a member that are in kept parts, with these parts' CRC-32, and those to read. The store copies
    the rest.
    """
    reads = [(ledger.part_at(read.offset)[0], read) for read in ledger.part_reads(index)]
    there = [(read, kept.parts[part]) for part, read in reads if part in kept.parts]
    if not there:
        return [], ledger.member_reads(index)
    return there, [read for part, read in reads if part not in kept.parts and not ledger.is_copied(part)]


def known_members(ledger: Ledger, sums: Checksums) -> Iterator[tuple[int, int]]:
    """Yield the index and the CRC-32 of each member whose header is in parts that are complete."""
    for index, crc in enumerate(sums.members):
        start = ledger.header_offset(index)
        if all(part in sums.parts for part in _parts(ledger, start, ledger.body_offset(index))):
            yield index, crc


def _doubtful(ledger: Ledger, crcs: Mapping[int, int]) -> set[int]:
    """
    Return the parts that must be made again: they have the directory, which is written last, or some bytes of a member
    whose CRC-32 is not known. A part that is in its middle tells a part of that CRC-32, so it is kept.
    """
    doubtful = set(range(ledger.part_at(ledger.directory_offset)[0], ledger.parts))
    for index in range(len(ledger.members)):
        if index not in crcs:
            start, end = _extent(ledger, index)
            body = ledger.body_offset(index)
            doubtful.update(part for part in _parts(ledger, start, end) if not is_inside(ledger, part, body, end))
    return doubtful


def is_inside(ledger: Ledger, part: int, start: int, end: int) -> bool:
    """Whether all bytes of *part* are between the offsets *start* and *end*."""
    length = ledger.part_length(part)
    return start <= (begin := ledger.part_begin(part)) and begin + length <= end


def _extent(ledger: Ledger, index: int) -> tuple[int, int]:
    return ledger.header_offset(index), ledger.body_offset(index) + ledger.members[index].size


def _parts(ledger: Ledger, start: int, end: int) -> range:
    return range(ledger.part_at(start)[0], ledger.part_at(end - 1)[0] + 1)


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return ascending *numbers* as ranges, each from its first number to the one behind its last."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return found


def unroll(found: Sequence[Sequence[int]], count: int) -> Iterator[int]:
    """Yield the numbers of *found*; see `ranges`. Raises ValueError unless they ascend from 0 and are below *count*."""
    last = 0
    for start, end in found:
        if not last <= start < end <= count:
            raise ValueError(f"no range of {count} numbers: {start} to {end}")
        yield from range(start, end)
        last = end
