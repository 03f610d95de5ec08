"""
A zip's own account of itself: end records, central directory, local headers; read, and held against each other.

For archives of any program. Sections are APPNOTE.TXT 6.3.10's. All sizes and offsets are in bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct, unpack_from

from archiver.core.plan import MAX_MODIFIED, MIN_MODIFIED
from archiver.core.zip_records import COUNT_LIMIT, SIZE_LIMIT, local_header

MAX_END_LENGTH = 22 + 65_535 + 20 + 56  # end record with the longest comment, zip64 locator and record
MIN_ENTRY_LENGTH, MAX_ENTRY_LENGTH = (
    46,
    46 + 3 * 65_535,
)  # of the directory: with no and the longest name, extra, comment
MAX_MEMBERS, MAX_DIRECTORY_LENGTH = 2_000_000, 512 * 1024 * 1024  # members and bytes that are judged: they take memory
LOCAL_HEADER_FIXED_LENGTH = 30  # a local header without its name and extra field
STORED, DEFLATED = 0, 8
ENCRYPTED, DATA_DESCRIPTOR = 1 << 0, 1 << 3  # flags (4.4.4)

_END = Struct("<4s4H2IH")
_LOCATOR = Struct("<4sIQI")
_END64 = Struct("<4sQ2H2I4Q")
_CENTRAL = Struct("<4s6H3I5H2I")
_LOCAL = Struct("<4s5H3I2H")


class UnreadableError(Exception):
    """The bytes are not a zip that can be judged; the message is a sentence about what they are."""


@dataclass(frozen=True, slots=True)
class Directory:
    """
    Where the central directory is: *offset* (as it really lies) and *length*, how many *members* it has.
    *prefix_length*: how far everything lies behind where the records say (something stands before the zip).
    """

    offset: int
    length: int
    members: int
    prefix_length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the directory tells it. *offset* is where its local header really lies."""

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
    Read the end records out of *tail*, the last bytes (`MAX_END_LENGTH` of them, or all) of an archive of *size* bytes.

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
                f"the zip64 end record is not where it should be ({offset64}): the archive is damaged"
            )
        _, _, _, _, disk, _, disk_members, members, length, offset = _END64.unpack_from(tail, record)
        if disks > 1:
            raise UnreadableError("the archive is split into several files: put them together first")
    elif COUNT_LIMIT in (members, disk_members) or SIZE_LIMIT in (length, offset):
        raise UnreadableError("the archive needs zip64 end records, and has none: it is damaged")
    if disk or disk_members != members:
        raise UnreadableError("the archive is split into several files: put them together first")
    prefix_length = end - length - offset
    if prefix_length < 0:
        raise UnreadableError(
            f"the central directory would begin {-prefix_length} bytes before its place: the archive is cut"
        )
    if not MIN_ENTRY_LENGTH * members <= length <= MAX_ENTRY_LENGTH * members:
        raise UnreadableError(f"a central directory of {length:,} bytes can't hold {members:,} members: it is damaged")
    if members > MAX_MEMBERS or length > MAX_DIRECTORY_LENGTH:
        raise UnreadableError(
            f"the central directory claims {members:,} members in {length:,} bytes; at most {MAX_MEMBERS:,} in "
            f"{MAX_DIRECTORY_LENGTH:,} can be judged"
        )
    return Directory(offset + prefix_length, length, members, prefix_length)


def _find_end_record(tail: bytes) -> int:
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        if at + _END.size <= len(tail) and at + _END.size + unpack_from("<H", tail, at + 20)[0] == len(tail):
            return at
    raise UnreadableError("no zip ends like this: it is cut short, or no zip at all")


class DirectoryParser:
    """
    The members out of a central directory that comes in blocks, in its order. *prefix_length*: how far everything lies
    behind where the records say. Its memory is one block and one member.
    """

    def __init__(self, prefix_length: int) -> None:
        self._prefix_length = prefix_length
        self._count = 0
        self._buffer_offset = 0  # of what is left, in the directory
        self._buffer = b""

    def feed(self, block: bytes) -> list[Entry]:
        """The members that end in *block*. Raises UnreadableError where the directory is damaged."""
        data, at, ended = self._buffer + block, 0, list[Entry]()
        while (found := self._entry(data, at)) is not None:
            entry, length = found
            ended.append(entry)
            at += length
        self._count += len(ended)
        if self._count > MAX_MEMBERS:
            raise UnreadableError(f"the central directory has more than the {MAX_MEMBERS:,} members that can be judged")
        self._buffer_offset, self._buffer = self._buffer_offset + at, data[at:]
        return ended

    def end(self) -> None:
        """No block follows. Raises UnreadableError where one would have to."""
        if self._buffer:
            raise UnreadableError(
                f"the central directory is damaged at its byte {self._buffer_offset}: it ends in a member"
            )

    def _entry(self, data: bytes, at: int) -> tuple[Entry, int] | None:
        """The member at *at* of *data*, and how long its record is; None where it does not end there."""
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
    """*values* with those that stand in the zip64 field (4.5.3), in its order: size, packed size, offset."""
    field = next((data for kind, data in _extra_fields(extra) if kind == 0x0001), b"")
    field_offsets = iter(range(0, len(field) - 7, 8))
    found = []
    for value in values:
        at = next(field_offsets, None) if value == SIZE_LIMIT else None
        found.append(value if at is None else unpack_from("<Q", field, at)[0])
    return found


def _parse_timestamp(extra: bytes) -> datetime | None:
    """The extended timestamp, which our own archives have, within the years that they have."""
    for kind, data in _extra_fields(extra):
        if kind == 0x5455 and len(data) == 5 and data[0] == 1:  # noqa: PLR2004 - "UT", with the mtime alone
            modified = datetime.fromtimestamp(unpack_from("<i", data, 1)[0], UTC)
            return modified if MIN_MODIFIED <= modified <= MAX_MODIFIED else None
    return None


def find_structure_problems(found: Sequence[Entry], directory: Directory) -> list[str]:
    """What is wrong with the members' places, sizes and names; one sentence each."""
    problems = []
    if len(found) != directory.members:
        problems.append(f"the end record counts {directory.members} members, the directory has {len(found)}")
    seen: set[str] = set()
    end = directory.prefix_length
    for entry in sorted(found, key=lambda entry: entry.offset):
        if entry.path in seen:
            problems.append(f"{entry.path}: stands in the directory twice")
        seen.add(entry.path)
        if entry.path.startswith("/") or ".." in entry.path.split("/") or "\\" in entry.path:
            problems.append(f"{entry.path}: leads out of the folder that it is unpacked in")
        if entry.offset < end:
            problems.append(f"{entry.path}: lies over the member before it")
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
    All before the directory, in order, as (local header, CRC-32 of the body, its size), where the directory says it
    all: in archives of stored members as this project writes them. None elsewhere.

    With them the CRC-32 of the whole archive can be told without reading a body: header for header, body for body.
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
    """A local header: how long it is with name and extra field, and what of the directory it contradicts."""

    length: int
    problems: tuple[str, ...]


def check_local_header(header: bytes, entry: Entry) -> LocalHeaderCheck:
    """Hold *header*, the first bytes of a member with name and extra field, against its *entry*."""
    if len(header) < LOCAL_HEADER_FIXED_LENGTH or not header.startswith(b"PK\3\4"):
        return LocalHeaderCheck(0, ("no local header stands where the directory says",))
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
            ("packed size", compressed_size, entry.compressed_size),
        ]
    wrong = tuple(
        f"its local header has another {what} than the directory" for what, one, other in comparisons if one != other
    )
    return LocalHeaderCheck(LOCAL_HEADER_FIXED_LENGTH + name_length + extra_length, wrong)


def read_local_header_length(header: bytes) -> int:
    """How long a local header is, by its first `LOCAL_HEADER_FIXED_LENGTH` bytes."""
    name_length, extra_length = unpack_from("<2H", header, 26)
    return int(LOCAL_HEADER_FIXED_LENGTH + name_length + extra_length)
