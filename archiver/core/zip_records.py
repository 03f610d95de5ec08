"""
Write the records of a stored zip: local headers, central directory entries, end records.

The format follows PKWARE's APPNOTE.TXT 6.3.10; section numbers refer to it. Members are stored (method 0), with true
sizes and CRC-32 in both headers and without data descriptor, so that streaming readers can rely on the local headers.
zip64 (4.5.3) is used only in the records that need it: streaming readers refuse an unnecessary zip64 field.

Every length depends only on names, sizes, offsets and counts, never on a CRC: addresses are known before any body is
read. All sizes and offsets are in bytes. *name*: UTF-8, at most 65,535 bytes; a folder's ends in `/`. *modified*:
aware, within 1980..2037.
"""

from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct

# The maximum values mean "see the zip64 field" (4.4.1.4), so they are not valid values themselves.
SIZE_LIMIT = 0xFFFF_FFFF
COUNT_LIMIT = 0xFFFF

_LOCAL = Struct("<4s5H3I2H")  # 4.3.7
_CENTRAL = Struct("<4s6H3I5H2I")  # 4.3.12
_END64 = Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR = Struct("<4sIQI")  # 4.3.15
_END = Struct("<4s4H2IH")  # 4.3.16
_TIMESTAMP = Struct("<2sHBi")  # Info-ZIP's extended timestamp ("UT"): equal in both headers if it has only the mtime

_LOCAL_LENGTH = _LOCAL.size + _TIMESTAMP.size  # of a header without name and zip64 field
_CENTRAL_LENGTH = _CENTRAL.size + _TIMESTAMP.size

_VERSION = 20  # 4.4.3.2: folders in names
_VERSION_64 = 45  # 4.4.3.2: zip64
_MADE_BY = 3 << 8 | _VERSION_64  # 4.4.2: UNIX, so that readers use the mode below
_UTF8 = 1 << 11  # 4.4.4, bit 11: the name is UTF-8; always set
_STORED = 0  # 4.4.5
_MODE = 0o100644 << 16  # 4.4.15, in UNIX format: a regular file, rw-r--r--
_FOLDER_MODE = 0o040755 << 16 | 1 << 4  # a directory, rwxr-xr-x; and MS-DOS's bit for it
_MTIME_ONLY = 1


def local_header(name: bytes, size: int, modified: datetime, crc32: int) -> bytes:
    """Return a local header (4.3.7); its length is `local_header_length`."""
    time, date, extra = _date_fields(modified)
    version, size_field = _VERSION, size
    if size >= SIZE_LIMIT:
        extra = _zip64(size, size) + extra  # 4.5.3: in a local header both sizes, or neither
        version, size_field = _VERSION_64, SIZE_LIMIT
    lengths = len(name), len(extra)
    fixed = _LOCAL.pack(b"PK\3\4", version, _UTF8, _STORED, time, date, crc32, size_field, size_field, *lengths)
    return fixed + name + extra


def record_lengths(name_length: int, size: int, offset: int) -> tuple[int, int]:
    """Return the lengths of the local header and of the central directory entry of one member of *size* bytes."""
    if size < SIZE_LIMIT and offset < SIZE_LIMIT:
        return _LOCAL_LENGTH + name_length, _CENTRAL_LENGTH + name_length
    return local_header_length(name_length, size), central_entry_length(name_length, size, offset)


def local_header_length(name_length: int, size: int) -> int:
    """Return the length of the local header of a member of *size* bytes."""
    return _LOCAL_LENGTH + name_length + (20 if size >= SIZE_LIMIT else 0)


def central_entry(name: bytes, size: int, modified: datetime, crc32: int, offset: int) -> bytes:
    """Return a central directory entry (4.3.12). *offset*: of the member's local header."""
    values: tuple[int, ...] = ()
    if size >= SIZE_LIMIT:
        values = (size, size)
    if offset >= SIZE_LIMIT:
        values = (*values, offset)
    time, date, extra = _date_fields(modified)
    version, size_field = _VERSION, min(size, SIZE_LIMIT)
    if values:
        version, extra = _VERSION_64, _zip64(*values) + extra
    fixed = _CENTRAL.pack(
        b"PK\1\2", _MADE_BY, version, _UTF8, _STORED, time, date, crc32, size_field, size_field, len(name), len(extra),
        0, 0, 0, _FOLDER_MODE if name.endswith(b"/") else _MODE, min(offset, SIZE_LIMIT),
    )  # fmt: skip
    return fixed + name + extra


def central_entry_length(name_length: int, size: int, offset: int) -> int:
    """Return the length of a central directory entry."""
    zip64 = (16 if size >= SIZE_LIMIT else 0) + (8 if offset >= SIZE_LIMIT else 0)
    return _CENTRAL_LENGTH + name_length + (4 + zip64 if zip64 else 0)


def end_records(count: int, directory_length: int, directory_offset: int) -> bytes:
    """Return the end records for a central directory of *count* members, with the zip64 records if needed."""
    end = _END.pack(
        b"PK\5\6", 0, 0, min(count, COUNT_LIMIT), min(count, COUNT_LIMIT),
        min(directory_length, SIZE_LIMIT), min(directory_offset, SIZE_LIMIT), 0,
    )  # fmt: skip
    if not _needs_zip64_end(count, directory_length, directory_offset):
        return end
    end64 = _END64.pack(
        b"PK\6\6", _END64.size - 12,  # 4.3.14.1: without the first 12 bytes
        _MADE_BY, _VERSION_64, 0, 0, count, count, directory_length, directory_offset,
    )  # fmt: skip
    return end64 + _LOCATOR.pack(b"PK\6\7", 0, directory_offset + directory_length, 1) + end


def end_records_length(count: int, directory_length: int, directory_offset: int) -> int:
    """Return the length of the end records."""
    zip64 = _needs_zip64_end(count, directory_length, directory_offset)
    return _END.size + (_END64.size + _LOCATOR.size if zip64 else 0)


def _needs_zip64_end(count: int, directory_length: int, directory_offset: int) -> bool:
    return count >= COUNT_LIMIT or directory_length >= SIZE_LIMIT or directory_offset >= SIZE_LIMIT


def _zip64(*values: int) -> bytes:
    """Return the zip64 extra field (4.5.3): only the values that do not fit, in the order of their fields."""
    return Struct(f"<2H{len(values)}Q").pack(0x0001, 8 * len(values), *values)


@lru_cache(maxsize=1024)  # each date is written twice, and many objects were written in the same second
def _date_fields(modified: datetime) -> tuple[int, int, bytes]:
    """
    Return the time and date fields (4.4.6), and the extended timestamp. The fields: UTC, since they have no zone,
    rounded down to two seconds. The timestamp: seconds since 1970, rounded down; 32 bits hold them until January 2038.
    """
    at = modified if modified.tzinfo is UTC else modified.astimezone(UTC)
    time, date = at.hour << 11 | at.minute << 5 | at.second >> 1, (at.year - 1980) << 9 | at.month << 5 | at.day
    return time, date, _TIMESTAMP.pack(b"UT", 5, _MTIME_ONLY, int(at.timestamp()))
