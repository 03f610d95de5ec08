"""When an archive that is made in one pass is given up, so that the store copies its large members."""

from datetime import UTC, datetime

import pytest

from archiver.core.copies import COST_PER_MEMBER, limits_of, plan_copies
from archiver.core.copy_gain import COST_PER_READ, CopyGain
from archiver.core.estimate import PRICES
from archiver.core.layout import MIB, MIN_PART_SIZE
from archiver.core.locations import Location
from archiver.core.plan import Member, ObjectVersion
from archiver.core.traffic import CopiesPayError

LEAST = MIN_PART_SIZE + COST_PER_MEMBER


def member(size: int, bucket: str = "bucket") -> Member:
    version = ObjectVersion(Location(bucket, "v.mp4"), '"1"')
    return Member("v.mp4", size, datetime(2024, 2, 29, tzinfo=UTC), version)


def gain_of(*sizes: int, files: int) -> CopyGain:
    gain = CopyGain(files, files)
    for size in sizes:
        gain.met(member(size))
    return gain


def test_a_read_is_worth_as_many_bytes_as_its_price_buys_at_the_price_of_a_copy() -> None:
    dollars_per_byte = 2 * PRICES["UploadPartCopy"] / COST_PER_MEMBER
    assert PRICES["HeadObject"] / dollars_per_byte == pytest.approx(COST_PER_READ)


def test_members_that_gain_nothing_never_end_the_pass() -> None:
    gain = gain_of(*[LEAST] * 1000, files=1_000_000)

    gain.check(1000, 0)
    assert gain.saved == 0


def test_what_can_not_be_copied_counts_for_nothing() -> None:
    gain = CopyGain(1, 1, frozenset({"far"}))
    gain.met(member(1024 * MIB, "far"))

    assert gain.saved == 0


@pytest.mark.parametrize("more", [0, 1])
def test_one_large_member_ends_the_pass_if_it_saves_more_than_what_was_read_and_all_requests(more: int) -> None:
    gain = gain_of(LEAST + 10_000_000 + (4 + 1) * COST_PER_READ + more, files=4)

    if more:
        with pytest.raises(CopiesPayError, match="10,400,001 bytes, more than 10,400,000"):
            gain.check(1, 10_000_000)
    else:
        gain.check(1, 10_000_000)


def test_the_members_stand_for_those_to_come() -> None:
    """Of 500 videos of 12 MB the first one ends the pass: it stands for 31."""
    gain_of(12_000_000, files=16).check(16, 12_000_000)
    with pytest.raises(CopiesPayError):
        gain_of(12_000_000, files=500).check(1, 0)


def test_what_is_saved_is_no_more_than_a_plan_saves() -> None:
    sizes = (20 * MIB, 9_000, 11 * MIB, 300 * MIB)
    plan = plan_copies([member(size) for size in sizes], limits_of(10 * MIB, frozenset(), everything=False))

    assert plan is not None
    assert gain_of(*sizes, files=4).saved <= plan.copied - len(plan.heads) * COST_PER_MEMBER
