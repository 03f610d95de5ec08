"""Every byte of an archive has one address, every part its bytes, and strangers can read what comes of it."""

import io
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from zipfile import ZIP_STORED, ZipFile
from zlib import crc32

import pytest
from core.reference_assembler import assemble
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.layout import (
    DEFAULT_PART_SIZE,
    MAX_OBJECT_SIZE,
    MAX_PARTS,
    MIB,
    MIN_PART_SIZE,
    Layout,
    part_size_for,
)
from archiver.core.ledger import DIRECTORY_BLOCK_SIZE, Ledger, OutgrownError
from archiver.core.plan import Member
from archiver.errors import Rejected

WHEN = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
GIB = 1024 * MIB
TIB = 1024 * GIB


def member(path: str, content: bytes, when: datetime = WHEN) -> Member:
    return Member(path, len(content), when, content)


def planned(path: str, size: int) -> Member:
    """A member of which only the size matters."""
    return Member(path, size, WHEN, b"")


TIMES = st.datetimes(datetime(1980, 1, 1), datetime(2037, 12, 31, 23, 59, 58), timezones=st.just(UTC))  # noqa: DTZ001
NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=12)
PATHS = st.lists(st.tuples(NAMES, NAMES).map("/".join), max_size=12, unique=True)


@st.composite
def archives(draw: st.DrawFn) -> list[Member]:
    """Members with any names and times, of sizes from nothing to a few KiB."""
    random = Random(draw(st.integers(0, 2**32)))
    sizes = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 5000))
    return [member(path, random.randbytes(draw(sizes)), draw(TIMES)) for path in draw(PATHS)]


@given(archives(), st.integers(1, 2000), st.integers(0, 2**32))
def test_zipfile_finds_in_any_archive_exactly_what_was_planned(
    members: list[Member], part_size: int, seed: int
) -> None:
    parts = assemble(Layout(members, part_size), seed)
    with ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        assert [info.filename for info in infos] == [member.path for member in members]
        assert [archive.read(info) for info in infos] == [member.content for member in members]
        assert [info.date_time for info in infos] == [dos(member.modified) for member in members]
        assert all(info.compress_type == ZIP_STORED and info.flag_bits == 0x800 for info in infos)


def dos(when: datetime) -> tuple[int, ...]:
    return (*when.timetuple()[:5], when.second // 2 * 2)


@given(archives(), st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**32))
def test_the_same_members_make_the_same_bytes_in_any_order_and_any_cut(
    members: list[Member], one_size: int, other_size: int, seed: int
) -> None:
    one = assemble(Layout(members, one_size), seed)
    other = assemble(Layout(members, other_size), seed + 1)
    assert b"".join(one) == b"".join(other)


@given(archives(), st.integers(1, 2000))
def test_headers_bodies_and_directory_cover_every_byte_once(members: list[Member], part_size: int) -> None:
    layout = Layout(members, part_size)
    end = 0
    for index, planned_member in enumerate(members):
        assert layout.header_offset(index) == end
        assert layout.body_offset(index) == end + len(layout.header_bytes(index, 0))
        end = layout.body_offset(index) + planned_member.size
    assert layout.directory_offset == end
    assert sum(map(len, layout.directory([0] * len(members)))) == layout.length - end


@given(archives(), st.integers(1, 2000))
def test_parts_are_of_one_size_but_the_last_and_add_up(members: list[Member], part_size: int) -> None:
    layout = Layout(members, part_size)
    lengths = [layout.part_length(part) for part in range(layout.parts)]
    assert set(lengths[:-1]) <= {part_size}
    assert 0 < lengths[-1] <= part_size
    assert sum(lengths) == layout.length
    assert not any(layout.is_copied(part) for part in range(layout.parts))
    assert not any(layout.copied_bytes(index) for index in range(len(members)))


@given(archives(), st.integers(1, 2000))
def test_reads_are_in_order_and_are_cut_at_parts_only_where_a_body_is_larger_than_one(
    members: list[Member], part_size: int
) -> None:
    layout = Layout(members, part_size)
    reads = list(layout.reads())
    assert [read.offset for read in reads] == sorted(read.offset for read in reads)
    for index, planned_member in enumerate(members):
        mine = [read for read in reads if read.member == index]
        assert sum(read.length for read in mine) == planned_member.size
        assert all(read.offset == layout.body_offset(index) + read.start for read in mine)
        if planned_member.size <= part_size:
            assert len(mine) == (planned_member.size > 0)
        else:
            assert all(read.offset % part_size == 0 for read in mine[1:])
            assert all(len(list(layout.split(read.offset, read.length))) == 1 for read in mine)


def test_split_places_bytes_that_straddle_parts() -> None:
    layout = Layout([member("a", bytes(100))], 40)
    assert list(layout.split(35, 50)) == [(0, 35, 5), (1, 0, 40), (2, 0, 5)]
    assert list(layout.split(40, 40)) == [(1, 0, 40)]
    assert list(layout.split(40, 0)) == []


def test_an_archive_of_nothing_is_an_empty_zip() -> None:
    with ZipFile(io.BytesIO(b"".join(assemble(Layout([], 10))))) as archive:
        assert archive.namelist() == []


def test_65536_members_take_a_zip64_directory_in_small_blocks() -> None:
    bodies = [b"%d" % index for index in range(65_536)]
    members = [member(f"{index % 100}/{index}.txt", body) for index, body in enumerate(bodies)]
    layout = Layout(members, DEFAULT_PART_SIZE)
    blocks = list(layout.directory(list(map(crc32, bodies))))
    assert len(blocks) > 2
    assert max(map(len, blocks)) <= DIRECTORY_BLOCK_SIZE
    last = len(members) - 1
    records = layout.header_bytes(last, crc32(b"65535")) + b"65535" + b"".join(blocks)
    assert layout.header_offset(last) + len(records) == layout.length
    with ZipFile(io.BytesIO(bytes(layout.header_offset(last)) + records)) as archive:
        assert archive.namelist() == [member.path for member in members]
        assert archive.read("35/65535.txt") == b"65535"


def test_the_directory_wants_one_crc_a_member() -> None:
    layout = Layout([member("a", b"1"), member("b", b"2")], 1000)
    with pytest.raises(ValueError, match="shorter"):
        list(layout.directory([1]))


@pytest.mark.parametrize("size", [0xFFFF_FFFE, 0xFFFF_FFFF, 0x1_0000_0000, 3 * TIB])
def test_sizes_around_four_gib_keep_addresses_and_records_in_step(size: int, tmp_path: Path) -> None:
    """A sparse file stands for the body: only the records are written."""
    layout = Layout([planned("large", size), planned("after", 0)], 64 * MIB)
    path = tmp_path / "sparse.zip"
    with path.open("wb") as file:
        for index in range(2):
            file.seek(layout.header_offset(index))
            file.write(layout.header_bytes(index, 0))
            assert file.tell() == layout.body_offset(index)
        file.seek(layout.directory_offset)
        file.writelines(layout.directory([0, 0]))
        assert file.tell() == layout.length
    with ZipFile(path) as archive:
        large, after = archive.infolist()
        assert (large.file_size, after.file_size) == (size, 0)
        assert (large.header_offset, after.header_offset) == (0, layout.header_offset(1))
        assert archive.read("after") == b""
        with archive.open("large") as body:
            assert body.read(4) == bytes(4)


@pytest.mark.parametrize(
    ("length", "largest", "size"),
    [
        (100, 21 * MIB, DEFAULT_PART_SIZE),
        (DEFAULT_PART_SIZE * MAX_PARTS, 21 * MIB, DEFAULT_PART_SIZE),
        (DEFAULT_PART_SIZE * MAX_PARTS + 1, 21 * MIB, 9 * MIB),
        (21 * MIB * MAX_PARTS, 21 * MIB, 21 * MIB),
        (100 * MIB, 6 * MIB, 6 * MIB),
        (100 * MIB, MIN_PART_SIZE, MIN_PART_SIZE),
        (6 * MIB * MAX_PARTS, 7 * MIB + 5, 7 * MIB + 5),
        (3 * MIB, 3 * MIB, 3 * MIB),
        (MAX_OBJECT_SIZE, 5 * GIB, 5 * GIB),
    ],
)
def test_parts_are_usually_8_mib_and_grow_with_the_archive(length: int, largest: int, size: int) -> None:
    assert part_size_for(length, largest) == size


@given(st.integers(1, MAX_OBJECT_SIZE), st.integers(MIN_PART_SIZE, 5 * GIB))
def test_parts_always_keep_s3s_rules_and_the_budget_or_the_archive_is_rejected(length: int, largest: int) -> None:
    try:
        size = part_size_for(length, largest)
    except Rejected:
        assert length > largest // MIB * MIB * MAX_PARTS
    else:
        assert MIN_PART_SIZE <= size <= largest
        assert -(-length // size) <= MAX_PARTS


def test_too_large_for_the_budget_names_the_budget_that_would_do() -> None:
    length = 21 * MIB * MAX_PARTS + 1
    with pytest.raises(Rejected, match=r"MEMORY_BUDGET_MIB=66 would be enough") as caught:
        part_size_for(length, 64 * MIB // 3)
    assert caught.value.code == "too_large"
    assert part_size_for(length, 66 * MIB // 3) == 22 * MIB


def test_a_budget_below_s3s_smallest_part_holds_only_archives_of_one_part() -> None:
    with pytest.raises(Rejected, match=r"MEMORY_BUDGET_MIB=15 would be enough"):
        part_size_for(4 * MIB + 1, 4 * MIB)


def test_too_large_for_s3_says_so() -> None:
    with pytest.raises(Rejected, match=r"S3 allows at most 48.8 TiB") as caught:
        part_size_for(MAX_OBJECT_SIZE + 1, 5 * GIB)
    assert caught.value.code == "too_large"


def test_a_layout_within_a_budget_picks_its_part_size() -> None:
    members = [planned("a", 100 * GIB)]
    assert Layout.for_max_part(members, 21 * MIB).part_size == 11 * MIB
    assert Layout.for_max_part([planned("a", 1)], 21 * MIB).parts == 1
    with pytest.raises(Rejected, match="too_large"):
        Layout.for_max_part(members, 8 * MIB)


def test_a_layout_takes_a_reference_and_an_offset_for_each_member() -> None:
    members = tuple(planned(f"{index}.jpg", 8 * MIB) for index in range(12_000))
    tracemalloc.start()
    try:
        layout = Layout(members, DEFAULT_PART_SIZE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert layout.parts > 10_000
    assert peak < 17 * len(members) + 16_384


def test_a_ledger_with_limits_takes_no_member_beyond_them() -> None:
    bodies, length = Ledger(100, max_bodies=10), Ledger(100, max_length=250)
    for ledger in (bodies, length):
        ledger.append(planned("a", 8))
    with pytest.raises(OutgrownError, match="more than 10 bytes of files"):
        bodies.append(planned("b", 3))
    with pytest.raises(OutgrownError, match="more than 250 bytes in parts of 100"):
        length.append(planned("b", 30))
    assert (len(bodies.members), len(length.members)) == (1, 1)
