"""What a zip says of itself, read: our own archives and what is wrong with broken ones."""

import io
import struct
import zipfile
from datetime import UTC, datetime

import pytest

from archiver.core.layout import Layout
from archiver.core.plan import Member
from archiver.core.zip_parser import (
    MAX_DIRECTORY_LENGTH,
    MAX_MEMBERS,
    Directory,
    DirectoryParser,
    Entry,
    UnreadableError,
    check_local_header,
    expected_segments,
    find_directory,
    find_structure_problems,
)

MODIFIED = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)


def written(*members: tuple[str, bytes], comment: bytes = b"") -> bytes:
    """An archive of `zipfile`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.comment = comment
    return out.getvalue()


def entries(data: bytes, directory: Directory, block: int = 1 << 20) -> list[Entry]:
    """The members of the directory that *data* begins with, fed in blocks."""
    reader = DirectoryParser(directory.prefix_length)
    found = [
        entry
        for at in range(0, directory.length, block)
        for entry in reader.feed(data[at : min(at + block, directory.length)])
    ]
    reader.end()
    return found


def read(archive: bytes) -> list[str]:
    directory = find_directory(archive, len(archive))
    return find_structure_problems(entries(archive[directory.offset :], directory), directory)


@pytest.mark.parametrize("comment", [b"", b"PK\5\6 in a comment", b"x" * 65_535])
def test_the_end_record_is_found_behind_any_comment(comment: bytes) -> None:
    assert read(written(("a", b"1"), ("b/c", b"22"), comment=comment)) == []


def test_an_empty_archive_is_an_archive() -> None:
    assert read(written()) == []


def test_what_stands_before_the_zip_shifts_all_of_it() -> None:
    archive = b"#!/bin/sh\n" * 10 + written(("a", b"1"))

    directory = find_directory(archive, len(archive))

    assert directory.prefix_length == 100
    assert read(archive) == []


@pytest.mark.parametrize("cut", [1, 5, 22, 40])
def test_an_archive_that_is_cut_is_unreadable(cut: int) -> None:
    with pytest.raises(UnreadableError):
        read(written(("a", b"1"))[:-cut])


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\3\4" + bytes(100)])
def test_what_is_no_zip_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="no zip"):
        read(data)


def test_a_split_archive_is_told_from_a_damaged_one() -> None:
    archive = bytearray(written(("a", b"1")))
    struct.pack_into("<H", archive, len(archive) - 18, 3)  # this disk's number

    with pytest.raises(UnreadableError, match="split into several files"):
        read(bytes(archive))


def test_a_directory_with_a_damaged_signature_is_unreadable() -> None:
    archive = bytearray(written(("a", b"1"), ("b", b"2")))
    at = archive.index(b"PK\1\2", archive.index(b"PK\1\2") + 1)
    archive[at] ^= 1

    with pytest.raises(UnreadableError, match="central directory is damaged at its byte 47"):
        read(bytes(archive))


def test_names_that_stand_twice_or_lead_out_are_problems() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = written(("a", b"1"), ("a", b"2"), ("../x", b"3"), ("/etc/y", b"4"))

    assert read(archive) == [
        "a: is in the directory twice",
        "../x: leads out of the folder in which the archive is unpacked",
        "/etc/y: leads out of the folder in which the archive is unpacked",
    ]


def test_members_over_each_other_are_problems() -> None:
    archive = bytearray(written(("a", b"1" * 100), ("b", b"2")))
    second = archive.index(b"PK\1\2", archive.index(b"PK\1\2") + 1)
    struct.pack_into("<I", archive, second + 42, 10)

    assert read(bytes(archive)) == ["b: overlaps the previous member"]


def test_a_count_that_is_not_the_directorys_is_a_problem() -> None:
    archive = bytearray(written(("a", b"1"), ("b", b"2")))
    struct.pack_into("<HH", archive, len(archive) - 14, 1, 1)

    assert read(bytes(archive)) == ["the end record counts 1 members, the directory has 2"]


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 45, 46, 47, 48, 1000])
def test_blocks_of_the_directory_may_end_anywhere(block: int) -> None:
    archive = written(("a", b"1"), ("b/c", b"22"), ("d" * 300, b""))
    directory = find_directory(archive, len(archive))
    data = archive[directory.offset :]

    assert entries(data, directory, block) == entries(data, directory)


@pytest.mark.parametrize("block", [10, 1000])
def test_a_directory_that_ends_in_a_member_is_damaged(block: int) -> None:
    archive = written(("a", b"1"), ("bcd", b"22"))
    directory = find_directory(archive, len(archive))
    shorter = Directory(directory.offset, directory.length - 1, 2, 0)

    with pytest.raises(UnreadableError, match="damaged at its byte 47: it ends within an entry"):
        entries(archive[directory.offset :], shorter, block)


def ended(members: int, length: int) -> tuple[bytes, int]:
    """The end of an archive that claims a directory of so many members and bytes, and the archive's size."""
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, length, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, length, 1)
    return record + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0), length + 98


@pytest.mark.parametrize(
    ("members", "length", "sentence"),
    [
        (2, 91, "a central directory of 91 bytes can't hold 2 members: it is damaged"),
        (0, 1, "can't hold 0 members"),
        (1, 46 + 3 * 65_535 + 1, "can't hold 1 members"),
        (1 << 63, 1 << 40, "can't hold"),
        (MAX_MEMBERS + 1, 100 * MAX_MEMBERS, "at most 2,000,000 in 536,870,912 can be verified"),
        (MAX_MEMBERS, MAX_DIRECTORY_LENGTH + 1, "at most 2,000,000 in 536,870,912 can be verified"),
    ],
)
def test_what_the_end_records_claim_is_bounded_before_it_is_read(members: int, length: int, sentence: str) -> None:
    with pytest.raises(UnreadableError, match=sentence):
        find_directory(*ended(members, length))
    assert find_directory(*ended(2, 92)) == Directory(0, 92, 2, 0)


def test_members_are_counted_whatever_was_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.core.zip_parser.MAX_MEMBERS", 1)
    archive = written(("a", b"1"), ("b", b"2"))
    at = archive.index(b"PK\1\2")

    with pytest.raises(UnreadableError, match="more than 1 members, the limit"):
        DirectoryParser(0).feed(archive[at : at + 94])


def test_a_local_header_is_held_against_the_directory() -> None:
    archive = written(("a", b"1"))
    directory = find_directory(archive, len(archive))
    (entry,) = entries(archive[directory.offset :], directory)

    assert check_local_header(archive[:31], entry).problems == ()
    assert check_local_header(bytes(31), entry).problems == ("there is no local header at the offset in the directory",)
    other = archive[:14] + bytes(4) + archive[18:30] + b"b"
    assert check_local_header(other, entry).problems == (
        "its local header and the directory differ in the name",
        "its local header and the directory differ in the CRC-32",
    )


def test_our_own_directory_says_all_that_stands_before_it_and_others_do_not() -> None:
    members = [Member("a", 3, MODIFIED, b"abc"), Member("ü/b", 0, MODIFIED, b""), Member("c", 2, MODIFIED, b"xy")]
    layout = Layout(members, 1 << 20)
    crcs = [1, 2, 3]
    end = b"".join(layout.directory(crcs))
    directory = find_directory(end, layout.length)

    told = expected_segments(entries(end, directory), directory)

    assert told == [(layout.header_bytes(n, crcs[n]), crcs[n], members[n].size) for n in range(3)]
    foreign = written(("a", b"1"))
    theirs = find_directory(foreign, len(foreign))
    assert expected_segments(entries(foreign[theirs.offset :], theirs), theirs) is None


def test_sizes_and_offsets_beyond_4_gib_are_read_from_the_zip64_fields() -> None:
    members = [Member("big", 5 << 30, MODIFIED, b""), Member("far", 7, MODIFIED, b"")]
    layout = Layout(members, 1 << 30)
    end = b"".join(layout.directory([0, 0]))
    directory = find_directory(end, layout.length)

    big, far = entries(end, directory)

    assert (big.size, big.compressed_size, big.offset) == (5 << 30, 5 << 30, 0)
    assert (far.size, far.offset) == (7, layout.header_offset(1))
    assert directory.offset == layout.directory_offset
    assert find_structure_problems([big, far], directory) == []


def wide_end() -> bytearray:
    """Directory and end records of an archive beyond 4 GiB, which are zip64."""
    members = [Member("big", 5 << 30, MODIFIED, b""), Member("far", 7, MODIFIED, b"")]
    return bytearray(b"".join(Layout(members, 1 << 30).directory([0, 0])))


LENGTH = Layout([Member("big", 5 << 30, MODIFIED, b""), Member("far", 7, MODIFIED, b"")], 1 << 30).length


def test_a_zip64_record_that_is_not_where_it_should_be_is_damage() -> None:
    end = wide_end()
    end[end.index(b"PK\6\6")] ^= 1

    with pytest.raises(UnreadableError, match="no zip64 end record at the recorded offset"):
        find_directory(bytes(end), LENGTH)


def test_end_records_that_point_to_zip64_records_without_having_any_are_damage() -> None:
    end = wide_end()
    end[end.index(b"PK\6\7")] ^= 1

    with pytest.raises(UnreadableError, match="needs zip64 end records and has none"):
        find_directory(bytes(end), LENGTH)


def test_a_split_zip64_archive_is_told_as_one() -> None:
    end = wide_end()
    struct.pack_into("<I", end, end.index(b"PK\6\7") + 16, 2)  # how many files there are

    with pytest.raises(UnreadableError, match="split into several files"):
        find_directory(bytes(end), LENGTH)
