"""The records of a stored zip, read back field by field and by the standard library's parser."""

import io
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

import pytest

from archiver.core.zip_records import (
    central_entry,
    central_entry_length,
    end_records,
    end_records_length,
    local_header,
    local_header_length,
)

WHEN = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
GIB4 = 0xFFFF_FFFF
EXTRA = struct.pack("<2sHBi", b"UT", 5, 1, 1709251199)


def parsed(name: str, size: int, offset: int, when: datetime = WHEN) -> ZipInfo:
    """What `zipfile` makes of the directory of an archive with one member, whose header stands at *offset*."""
    entry = central_entry(name.encode(), size, when, 0xCAFE, offset)
    with ZipFile(Sparse(offset + size, entry + end_records(1, len(entry), offset + size))) as archive:
        return archive.infolist()[0]


class Sparse(io.RawIOBase, BinaryIO):
    """*hole* zeros and then *tail*, which is all that is kept."""

    def __init__(self, hole: int, tail: bytes) -> None:
        self._hole, self._tail, self._at = hole, tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._hole + len(self._tail))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = self._at - self._hole
        assert start >= 0, "only the directory is there to read"
        data = self._tail[start:] if size < 0 else self._tail[start : start + size]
        self._at += len(data)
        return data


def test_a_local_header_has_every_field_where_appnote_puts_it() -> None:
    header = local_header("ü.png".encode(), 5, WHEN, 0x01020304)
    fixed = struct.unpack("<4s5H3I2H", header[:30])
    date, time = (2024 - 1980) << 9 | 2 << 5 | 29, 23 << 11 | 59 << 5 | 29
    assert fixed == (b"PK\3\4", 20, 0x800, 0, time, date, 0x01020304, 5, 5, 6, 9)
    assert header[30:] == "ü.png".encode() + EXTRA


def test_a_central_entry_has_every_field_where_appnote_puts_it() -> None:
    entry = central_entry(b"a/b", 5, WHEN, 0x01020304, 77)
    fixed = struct.unpack("<4s6H3I5H2I", entry[:46])
    date, time = (2024 - 1980) << 9 | 2 << 5 | 29, 23 << 11 | 59 << 5 | 29
    version = 3 << 8 | 45
    assert fixed[:12] == (b"PK\1\2", version, 20, 0x800, 0, time, date, 0x01020304, 5, 5, 3, 9)
    assert fixed[12:] == (0, 0, 0, 0o100644 << 16, 77)
    assert entry[46:] == b"a/b" + EXTRA


def test_times_are_in_utc_whatever_zone_they_come_in() -> None:
    there = WHEN.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    assert local_header(b"a", 1, there, 0) == local_header(b"a", 1, WHEN, 0)
    assert central_entry(b"a", 1, there, 0, 0) == central_entry(b"a", 1, WHEN, 0, 0)


@pytest.mark.parametrize(
    ("when", "seen"),
    [
        (datetime(1980, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime(2037, 12, 31, 23, 59, 59, tzinfo=UTC), (2037, 12, 31, 23, 59, 58)),
        (datetime(2001, 2, 3, 4, 5, 7, tzinfo=UTC), (2001, 2, 3, 4, 5, 6)),
    ],
)
def test_dos_times_are_rounded_down_and_the_timestamp_field_keeps_the_second(
    when: datetime, seen: tuple[int, ...]
) -> None:
    info = parsed("a", 1, 50, when)
    assert info.date_time == seen
    assert info.extra[-9:] == struct.pack("<2sHBi", b"UT", 5, 1, int(when.timestamp()))


@pytest.mark.parametrize("size", [0, 1, GIB4 - 1])
def test_no_zip64_below_its_limits(size: int) -> None:
    header, entry = local_header(b"a", size, WHEN, 0), central_entry(b"a", size, WHEN, 0, GIB4 - 1)
    assert header[30:] == entry[46:] == b"a" + EXTRA
    assert header[4:6] == entry[6:8] == struct.pack("<H", 20)
    assert (len(header), len(entry)) == (local_header_length(1, size), central_entry_length(1, size, GIB4 - 1))


@pytest.mark.parametrize("size", [GIB4, GIB4 + 1, 5 << 40])
def test_a_local_header_of_four_gib_holds_both_sizes_in_zip64(size: int) -> None:
    header = local_header(b"a", size, WHEN, 7)
    assert struct.unpack("<4s5H3I2H", header[:30])[6:] == (7, GIB4, GIB4, 1, 29)
    assert header[30:] == b"a" + struct.pack("<2H2Q", 1, 16, size, size) + EXTRA
    assert header[4:6] == struct.pack("<H", 45)
    assert len(header) == local_header_length(1, size)


@pytest.mark.parametrize(
    ("size", "offset", "field"),
    [
        (GIB4, 0, (GIB4, GIB4)),
        (0, GIB4, (GIB4,)),
        (GIB4 - 1, GIB4 + 9, (GIB4 + 9,)),
        (5 << 40, 6 << 40, (5 << 40, 5 << 40, 6 << 40)),
    ],
)
def test_a_central_entry_holds_in_zip64_what_does_not_fit_and_nothing_else(
    size: int, offset: int, field: tuple[int, ...]
) -> None:
    entry = central_entry(b"a", size, WHEN, 7, offset)
    expected = struct.pack(f"<2H{len(field)}Q", 1, 8 * len(field), *field)
    assert entry[46:] == b"a" + expected + EXTRA
    assert entry[6:8] == struct.pack("<H", 45)
    assert len(entry) == central_entry_length(1, size, offset)


@pytest.mark.parametrize("size", [0, GIB4 - 1, GIB4, GIB4 + 1, 5 << 40])
@pytest.mark.parametrize("offset", [0, GIB4 - 1, GIB4, 40 << 40])
def test_zipfile_reads_true_sizes_and_offsets(size: int, offset: int) -> None:
    info = parsed("ordner/ü 🎉.png", size, offset)
    assert (info.filename, info.CRC, info.flag_bits) == ("ordner/ü 🎉.png", 0xCAFE, 0x800)
    assert (info.file_size, info.compress_size, info.header_offset) == (size, size, offset)
    assert info.external_attr >> 16 == 0o100644


@pytest.mark.parametrize(
    ("count", "length", "offset", "wide"),
    [
        (0, 0, 0, False),
        (0xFFFE, GIB4 - 1, GIB4 - 1, False),
        (0xFFFF, 1, 1, True),
        (0x10000, 1, 1, True),
        (1, GIB4, 1, True),
        (1, 1, GIB4, True),
    ],
)
def test_the_end_is_zip64_where_a_count_a_length_or_an_offset_asks_for_it(
    count: int, length: int, offset: int, wide: bool
) -> None:
    end = end_records(count, length, offset)
    assert len(end) == end_records_length(count, length, offset) == (98 if wide else 22)
    shown = min(count, 0xFFFF)
    assert end[-22:] == struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, shown, shown, min(length, GIB4), min(offset, GIB4), 0
    )  # fmt: skip
    if wide:
        record, locator = end[:56], end[56:76]
        version = 3 << 8 | 45
        assert record == struct.pack(
            "<4sQ2H2I4Q", b"PK\6\6", 44, version, 45, 0, 0, count, count, length, offset
        )  # fmt: skip
        assert locator == struct.pack("<4sIQI", b"PK\6\7", 0, offset + length, 1)
