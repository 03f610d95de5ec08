"""What is kept of an unfinished upload: every byte that is not, is made again, and no CRC-32 is missing."""

import random
import zlib

import pytest

from archiver.core.kept import Checksums, StoredPart, keep, known_members, ranges, unroll
from archiver.core.layout import Layout
from archiver.core.ledger import Ledger
from archiver.core.plan import Member
from stages.builders import MODIFIED

PART = 1000


def layout_of(*sizes: int) -> Layout:
    return Layout([Member(f"{n}.bin", size, MODIFIED, b"x" * size) for n, size in enumerate(sizes)], PART)


def stored(layout: Ledger, *numbers: int, crc: int | None = 7) -> list[StoredPart]:
    """Parts of an upload, counted from 0, as the store lists them."""
    return [StoredPart(number + 1, layout.part_length(number), '"e"', crc) for number in numbers]


def all_crcs(layout: Ledger) -> dict[int, int]:
    return dict.fromkeys(range(len(layout.members)), 9)


def test_all_parts_but_those_with_the_directory_are_kept_if_every_crc_is_known() -> None:
    layout = layout_of(700, 700, 2500)

    kept = keep(layout, all_crcs(layout), {}, stored(layout, *range(layout.parts)))

    first = layout.directory_offset // PART
    assert set(kept.parts) == set(range(first)) and set(kept.sent) == set(range(first, layout.parts))
    assert kept.whole == {0, 1}  # the last member ends where the directory begins
    assert kept.crcs == all_crcs(layout)


def test_a_part_inside_a_member_is_kept_although_the_crc_of_the_member_is_not_known() -> None:
    layout = layout_of(10, 5500, 10)

    kept = keep(layout, {0: 1, 2: 1}, {}, stored(layout, *range(layout.parts)))

    assert set(kept.parts) == {1, 2, 3, 4}
    assert kept.whole == frozenset()


def test_a_part_with_the_end_of_a_member_whose_crc_is_not_known_is_made_again() -> None:
    layout = layout_of(1500, 100, 3000)
    assert set(keep(layout, {1: 1, 2: 1}, {}, stored(layout, 0, 1, 2)).parts) == {2}
    assert set(keep(layout, {0: 1, 1: 1, 2: 1}, {}, stored(layout, 0, 1, 2)).parts) == {0, 1, 2}


def test_a_part_whose_own_crc_nobody_tells_is_made_again() -> None:
    layout = layout_of(700, 700, 2500)
    kept = keep(layout, all_crcs(layout), {1: 5}, stored(layout, 0, 1, 2, crc=None))
    assert (kept.parts, kept.sent) == ({1: 5}, {})


def test_a_recorded_part_that_the_store_does_not_have_is_not_kept() -> None:
    layout = layout_of(700, 700, 2500)
    assert keep(layout, all_crcs(layout), {0: 5, 1: 5}, stored(layout, 1, crc=5)).parts == {1: 5}


def test_without_a_part_to_keep_no_crc_counts() -> None:
    layout = layout_of(700, 700)
    kept = keep(layout, all_crcs(layout), {}, stored(layout, 1))
    assert (kept.parts, dict(kept.crcs), dict(kept.sent)) == ({}, {}, {1: 7})


@pytest.mark.parametrize(
    "part",
    [
        StoredPart(1, PART - 1, "e", 1),
        StoredPart(9, PART, "e", 1),
        StoredPart(0, PART, "e", 1),
        StoredPart(1, PART, "e", 2),
    ],
    ids=["another length", "beyond the end", "before the first", "another CRC-32 than recorded"],
)
def test_parts_of_another_archive_are_refused(part: StoredPart) -> None:
    layout = layout_of(700, 700, 2500)
    with pytest.raises(ValueError):
        keep(layout, all_crcs(layout), {0: 1}, [part])


def test_a_member_is_known_once_all_parts_with_its_header_are_complete() -> None:
    layout = layout_of(PART - 60, 500, 800)  # the second header straddles two parts
    sums = Checksums(parts={0: 1})
    sums.members.extend([11, 22])
    assert list(known_members(layout, sums)) == [(0, 11)]
    sums.parts[1] = 2
    assert list(known_members(layout, sums)) == [(0, 11), (1, 22)]


def test_ranges_are_the_numbers() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == [[0, 3], [5, 6], [7, 9]]
    assert list(unroll([[0, 3], [5, 6], [7, 9]], 9)) == [0, 1, 2, 5, 7, 8]
    assert ranges([]) == []


@pytest.mark.parametrize("seed", range(30))
def test_what_is_kept_and_what_is_read_are_the_whole_archive(seed: int) -> None:
    """For any members, parts and CRCs: all bytes of a kept part have a CRC-32, that of a member or that of the part."""
    rng = random.Random(seed)
    layout = layout_of(*(rng.choice([0, 1, 300, 999, 1000, 2500, 7000]) for _ in range(rng.randint(1, 12))))
    crcs = {index: 1 for index in range(len(layout.members)) if rng.random() < 0.6}
    numbers = [number for number in range(layout.parts) if rng.random() < 0.7]

    kept = keep(layout, crcs, {}, stored(layout, *numbers, crc=zlib.crc32(b"")))

    assert kept.parts.keys() | kept.sent.keys() == {*numbers} and not kept.parts.keys() & kept.sent.keys()
    for number in kept.parts:
        begin, end = number * PART, number * PART + layout.part_length(number)
        assert end <= layout.directory_offset
        touched = [n for n in range(len(layout.members)) if spans(layout, n)[0] < end and begin < spans(layout, n)[1]]
        inside = [n for n in touched if layout.body_offset(n) <= begin and end <= spans(layout, n)[1]]
        assert all(n in kept.crcs for n in touched) or inside == touched
    for index in kept.whole:
        first, last = spans(layout, index)
        assert all(part in kept.parts for part in range(first // PART, (last - 1) // PART + 1))


def spans(layout: Ledger, index: int) -> tuple[int, int]:
    return layout.header_offset(index), layout.body_offset(index) + layout.members[index].size
