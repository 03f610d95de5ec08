"""
Parse the records of a zip (end records, central directory, local headers), and compare them with each other.

For archives of any program. Section numbers refer to APPNOTE.TXT 6.3.10. All sizes and offsets are in bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct, unpack_from

from archiver.core.plan import MAX_MODIFIED, MIN_MODIFIED
from archiver.core.zip_records import COUNT_LIMIT, SIZE_LIMIT, local_header

MAX_END_LENGTH = 22 + 65_535 + 20 + 56  # end record with the longest comment, zip64 locator and record
MIN_ENTRY_LENGTH = 46  # in the directory, without name, extra field and comment
MAX_ENTRY_LENGTH = 46 + 3 * 65_535  # with the longest name, extra field and comment
MAX_MEMBERS, MAX_DIRECTORY_LENGTH = 2_000_000, 512 * 1024 * 1024  # members and bytes; limits, because they take memory
LOCAL_HEADER_FIXED_LENGTH = 30  # a local header without its name and extra field
STORED, DEFLATED = 0, 8
ENCRYPTED, DATA_DESCRIPTOR = 1 << 0, 1 << 3  # flags (4.4.4)

_END = Struct("<4s4H2IH")
_LOCATOR = Struct("<4sIQI")
_END64 = Struct("<4sQ2H2I4Q")
_CENTRAL = Struct("<4s6H3I5H2I")
_LOCAL = Struct("<4s5H3I2H")


class UnreadableError(Exception):
    """The bytes are not a zip that can be verified. The message says why."""


@dataclass(frozen=True, slots=True)
class Directory:
    """
    The central directory: real *offset*, *length*, and number of *members*. *prefix_length*: bytes before the zip, by
    which all real offsets exceed the recorded ones.
    """

    offset: int
    length: int
    members: int
    prefix_length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One member, as described by the directory. *offset*: the real offset of its local header."""

    path: str
    name: bytes
    flags: int
    method: int
    crc32: int
    compressed_size: int
    size: int
    offset: int
    modified: datetime | None


def find_directory(tail: bytes, size: int) -> Directory:
    """
    Parse the end records in *tail*, the last `MAX_END_LENGTH` bytes (or all) of an archive of *size* bytes.

    Raises UnreadableError.
    """
    at = _find_end_record(tail)
    _, disk, _, disk_members, members, length, offset, _ = _END.unpack_from(tail, at)
    end = size - len(tail) + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size : at].startswith(b"PK\6\7"):
        _, _, offset64, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        end = size - len(tail) + at - _LOCATOR.size - _END64.size
        record = at - _LOCATOR.size - _END64.size
        if record < 0 or tail[record : record + 4] != b"PK\6\6":
            raise UnreadableError(
                f"there is no zip64 end record at the recorded offset ({offset64}): the archive is damaged"
            )
        _, _, _, _, disk, _, disk_members, members, length, offset = _END64.unpack_from(tail, record)
        if disks > 1:
            raise UnreadableError("the archive is split into several files: put them together first")
    elif COUNT_LIMIT in (members, disk_members) or SIZE_LIMIT in (length, offset):
        raise UnreadableError("the archive needs zip64 end records and has none: it is damaged")
    if disk or disk_members != members:
        raise UnreadableError("the archive is split into several files: put them together first")
    prefix_length = end - length - offset
    if prefix_length < 0:
        raise UnreadableError(
            f"{-prefix_length} bytes are missing before the central directory: the archive is incomplete"
        )
    if not MIN_ENTRY_LENGTH * members <= length <= MAX_ENTRY_LENGTH * members:
        raise UnreadableError(f"a central directory of {length:,} bytes can't hold {members:,} members: it is damaged")
    if members > MAX_MEMBERS or length > MAX_DIRECTORY_LENGTH:
        raise UnreadableError(
            f"the central directory claims {members:,} members in {length:,} bytes; at most {MAX_MEMBERS:,} in "
            f"{MAX_DIRECTORY_LENGTH:,} can be verified"
        )
    return Directory(offset + prefix_length, length, members, prefix_length)


def _find_end_record(tail: bytes) -> int:
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        if at + _END.size <= len(tail) and at + _END.size + unpack_from("<H", tail, at + 20)[0] == len(tail):
            return at
    raise UnreadableError("there is no zip end record: the file is incomplete, or not a zip")


class DirectoryParser:
    """
    Incremental parser of a central directory. *prefix_length*: as in `Directory`. Memory: one block and one entry.
    """

    def __init__(self, prefix_length: int) -> None:
        self._prefix_length = prefix_length
        self._count = 0
        self._buffer_offset = 0  # offset of the buffer in the directory
        self._buffer = b""

    def feed(self, block: bytes) -> list[Entry]:
        """Return the members whose entries end in *block*. Raises UnreadableError if the directory is damaged."""
        data, at, ended = self._buffer + block, 0, list[Entry]()
        while (found := self._entry(data, at)) is not None:
            entry, length = found
            ended.append(entry)
            at += length
        self._count += len(ended)
        if self._count > MAX_MEMBERS:
            raise UnreadableError(f"the central directory has more than {MAX_MEMBERS:,} members, the limit")
        self._buffer_offset, self._buffer = self._buffer_offset + at, data[at:]
        return ended

    def end(self) -> None:
        """End the directory. Raises UnreadableError if its last entry is incomplete."""
        if self._buffer:
            raise UnreadableError(
                f"the central directory is damaged at its byte {self._buffer_offset}: it ends within an entry"
            )

    def _entry(self, data: bytes, at: int) -> tuple[Entry, int] | None:
        """Parse the entry at offset *at* of *data*. Return the member and its entry's length; None if incomplete."""
        if not b"PK\1\2".startswith(data[at : at + 4]):
            raise UnreadableError(f"the central directory is damaged at its byte {self._buffer_offset + at}")
        if at + _CENTRAL.size > len(data):
            return None
        (_, _, _, flags, method, _, _, crc, compressed_size, size, *lengths, _, _, _, offset) = _CENTRAL.unpack_from(
            data, at
        )
        length = _CENTRAL.size + sum(lengths)
        if at + length > len(data):
            return None
        body, (name_length, extra_length, _) = at + _CENTRAL.size, lengths
        name_end = body + name_length
        name, extra = data[body:name_end], data[name_end : name_end + extra_length]
        size, compressed_size, offset = _zip64_values(extra, size, compressed_size, offset)
        path = name.decode("utf-8" if flags & 1 << 11 else "cp437", errors="replace")
        entry = Entry(
            path, name, flags, method, crc, compressed_size, size, offset + self._prefix_length, _parse_timestamp(extra)
        )
        return entry, length


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _zip64_values(extra: bytes, *values: int) -> list[int]:
    """Replace those of *values* that are in the zip64 field (4.5.3). Its order is size, compressed size, offset."""
    field = next((data for kind, data in _extra_fields(extra) if kind == 0x0001), b"")
    field_offsets = iter(range(0, len(field) - 7, 8))
    found = []
    for value in values:
        at = next(field_offsets, None) if value == SIZE_LIMIT else None
        found.append(value if at is None else unpack_from("<Q", field, at)[0])
    return found


def _parse_timestamp(extra: bytes) -> datetime | None:
    """Return the extended timestamp that this service's archives have, if it is in their range of years."""
    for kind, data in _extra_fields(extra):
        if kind == 0x5455 and len(data) == 5 and data[0] == 1:  # noqa: PLR2004 - "UT", with the mtime alone
            modified = datetime.fromtimestamp(unpack_from("<i", data, 1)[0], UTC)
            return modified if MIN_MODIFIED <= modified <= MAX_MODIFIED else None
    return None


def find_structure_problems(found: Sequence[Entry], directory: Directory) -> list[str]:
    """Return the problems with the members' offsets, sizes and names, one sentence each."""
    problems = []
    if len(found) != directory.members:
        problems.append(f"the end record counts {directory.members} members, the directory has {len(found)}")
    seen: set[str] = set()
    end = directory.prefix_length
    for entry in sorted(found, key=lambda entry: entry.offset):
        if entry.path in seen:
            problems.append(f"{entry.path}: is in the directory twice")
        seen.add(entry.path)
        if entry.path.startswith("/") or ".." in entry.path.split("/") or "\\" in entry.path:
            problems.append(f"{entry.path}: leads out of the folder in which the archive is unpacked")
        if entry.offset < end:
            problems.append(f"{entry.path}: overlaps the previous member")
        if entry.method == STORED and entry.compressed_size != entry.size and not entry.flags & ENCRYPTED:
            problems.append(
                f"{entry.path}: is stored, but its two sizes differ: {entry.compressed_size} and {entry.size}"
            )
        end = entry.offset + LOCAL_HEADER_FIXED_LENGTH + len(entry.name) + entry.compressed_size
    if end > directory.offset:
        problems.append("the last member reaches into the central directory")
    return problems


def expected_segments(found: Sequence[Entry], directory: Directory) -> "list[tuple[bytes, int, int]] | None":
    """
    Return all members in order, as (local header, CRC-32 of the body, its size), rebuilt from the directory. This is
    possible for archives of stored members as this service writes them. None for all other archives.

    From these, the CRC-32 of the whole archive is computed without reading a body.
    """
    segments: list[tuple[bytes, int, int]] = []
    at = 0
    for entry in found:
        if entry.method != STORED or entry.flags != 1 << 11 or entry.modified is None or entry.offset != at:
            return None
        header = local_header(entry.name, entry.size, entry.modified, entry.crc32)
        segments.append((header, entry.crc32, entry.size))
        at += len(header) + entry.size
    return segments if at == directory.offset else None


@dataclass(frozen=True, slots=True)
class LocalHeaderCheck:
    """A local header: its *length* with name and extra field, and its contradictions to the directory."""

    length: int
    problems: tuple[str, ...]


def check_local_header(header: bytes, entry: Entry) -> LocalHeaderCheck:
    """Compare *header*, a local header with name and extra field, with the directory's *entry*."""
    if len(header) < LOCAL_HEADER_FIXED_LENGTH or not header.startswith(b"PK\3\4"):
        return LocalHeaderCheck(0, ("there is no local header at the offset in the directory",))
    _, _, flags, method, _, _, crc, compressed_size, size, name_length, extra_length = _LOCAL.unpack_from(header)
    name, extra = (
        header[LOCAL_HEADER_FIXED_LENGTH : LOCAL_HEADER_FIXED_LENGTH + name_length],
        header[LOCAL_HEADER_FIXED_LENGTH + name_length :][:extra_length],
    )
    size, compressed_size = _zip64_values(extra, size, compressed_size)
    comparisons = [("name", name, entry.name), ("method", method, entry.method)]
    if not flags & DATA_DESCRIPTOR:
        comparisons += [
            ("CRC-32", crc, entry.crc32),
            ("size", size, entry.size),
            ("compressed size", compressed_size, entry.compressed_size),
        ]
    wrong = tuple(
        f"its local header and the directory differ in the {what}" for what, one, other in comparisons if one != other
    )
    return LocalHeaderCheck(LOCAL_HEADER_FIXED_LENGTH + name_length + extra_length, wrong)


def read_local_header_length(header: bytes) -> int:
    """Return the length of a local header from its first `LOCAL_HEADER_FIXED_LENGTH` bytes."""
    name_length, extra_length = unpack_from("<2H", header, 26)
    return int(LOCAL_HEADER_FIXED_LENGTH + name_length + extra_length)
