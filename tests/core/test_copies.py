"""What is copied by the store: the fewest bytes are filled, every part keeps S3's rules, every byte is there once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archiver.core.copies import COST_PER_MEMBER, CopyLimits, CopyPlan, limits_of, plan_copies
from archiver.core.copy_ledger import CopyLedger
from archiver.core.estimate import PRICES
from archiver.core.layout import MAX_PART_SIZE, MAX_PARTS, MIB, MIN_PART_SIZE, Layout
from archiver.core.ledger import Ledger, ReadRange
from archiver.core.locations import Location
from archiver.core.plan import Member, ObjectVersion

WHEN = datetime(2024, 2, 29, tzinfo=UTC)
GIB = 1024 * MIB
LEAST = MIN_PART_SIZE + 1  # of an object that S3 copies ranges of
ALL = CopyLimits(cost=0)


def stored(*sizes: int, name: str = "v/{}.mp4") -> list[Member]:
    """Members of these sizes, which are objects."""
    locations = [Location("bucket", name.format(index)) for index in range(len(sizes))]
    return [Member(at.key, size, WHEN, ObjectVersion(at, '"1"')) for at, size in zip(locations, sizes, strict=True)]


def copied(members: list[Member], limits: CopyLimits = ALL) -> CopyPlan:
    plan = plan_copies(members, limits)
    assert plan is not None
    return plan


def lengths(plan: CopyPlan) -> list[int]:
    return [plan.begins[part + 1] - plan.begins[part] for part in range(plan.parts)]


def laid_out(members: list[Member], plan: CopyPlan) -> CopyLedger:
    ledger = CopyLedger(plan)
    for member in members:
        ledger.append(member)
    ledger.finish()
    return ledger


def pieces(ledger: CopyLedger) -> Iterator[tuple[int, int]]:
    """The address and length of everything that is put or copied into the archive."""
    for index in range(len(ledger.members)):
        yield ledger.header_offset(index), len(ledger.header_bytes(index, 0))
        for read in ledger.member_reads(index):
            yield read.offset, read.length
    for each in ledger.plan.copies:
        yield ledger.body_offset(each.member) + each.start, each.length
    yield ledger.directory_offset, ledger.length - ledger.directory_offset


def check(members: list[Member], limits: CopyLimits) -> None:
    """Every byte of the archive has one source, in order; every part keeps S3's limits and the buffers'."""
    plan = plan_copies(members, limits)
    if plan is None:
        return
    ledger = laid_out(members, plan)
    end = 0
    for offset, length in sorted(pieces(ledger)):
        assert offset == end
        end = offset + length
    assert end == ledger.length == plan.begins[-1]
    parts = lengths(plan)
    assert len(parts) == ledger.parts <= MAX_PARTS
    assert all(MIN_PART_SIZE <= part <= MAX_PART_SIZE for part in parts[:-1])
    assert len(parts) <= 1 + 1.6 * -(-ledger.length // (8 * MIB))  # the price, against parts of 8 MiB
    assert 0 < parts[-1] <= plan.part_size <= limits.max_filled
    for number, length in enumerate(parts):
        assert length <= plan.part_size or ledger.is_copied(number)
    for each in plan.copies:
        assert members[each.member].size > MIN_PART_SIZE
        assert plan.begins[each.part] == ledger.body_offset(each.member) + each.start
        assert parts[each.part] == each.length
        assert ledger.is_copied(each.part)
    for index in range(len(members)):
        for read in ledger.member_reads(index):
            assert not any(ledger.is_copied(part) for part in parts_of(ledger, read))


def parts_of(ledger: CopyLedger, read: ReadRange) -> list[int]:
    touched = [piece.part for piece in ledger.split(read.offset, read.length)]
    assert len(touched) <= 2  # what the buffers of a job are counted by
    return touched


SIZES = st.one_of(
    st.integers(0, 3 * MIB),
    st.integers(LEAST - 3, LEAST + 3),
    st.integers(4 * MIB, 30 * MIB),
    st.integers(0, 700 * MIB),
)
LIMITS = st.builds(
    CopyLimits,
    cost=st.sampled_from([0, COST_PER_MEMBER, 10 * MIB]),
    max_filled=st.sampled_from([10 * MIB, 21 * MIB + 5]),
    copied=st.sampled_from([10 * MIB, 16 * MIB, 256 * MIB]),
    members=st.sampled_from([None, 2]),
)


@given(st.lists(SIZES, max_size=12), LIMITS)
@settings(max_examples=200, deadline=None)
def test_every_byte_is_there_once_in_order_and_every_part_keeps_the_limits(
    sizes: list[int], limits: CopyLimits
) -> None:
    check(stored(*sizes), limits)


def random_plan(seed: int) -> tuple[list[Member], CopyLimits]:
    random = Random(seed)
    scale = random.choice((1, 4, 16, 64, 1024)) * MIB
    sizes = [int(random.lognormvariate(0, 1.5) * scale) for _ in range(random.choice((1, 5, 20, 100)))]
    names = random.choice(("{}", "a long name of a folder/" * 9 + "{}"))
    limits = CopyLimits(
        cost=random.choice((0, COST_PER_MEMBER, 20 * MIB)),
        max_filled=random.choice((10 * MIB, 64 * MIB)),
        copied=random.choice((10 * MIB, 64 * MIB, 256 * MIB, MAX_PART_SIZE)),
    )
    return stored(*sizes, name=names), limits


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(250))
def test_25000_plans_keep_the_limits(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        check(*random_plan(seed))


@pytest.mark.parametrize("seed", range(40))
def test_a_sample_of_these_plans_keeps_the_limits(seed: int) -> None:
    check(*random_plan(seed))


def least(members: list[Member], cost: int) -> int:
    """The fewest bytes that can be filled, and the cost of each copied member, of all choices of members."""
    layout = Layout(members, 10 * MIB)
    best = layout.length
    candidates = [index for index, member in enumerate(members) if member.size >= LEAST]
    for count in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, count):
            filled, end = 0, 0
            for index in chosen:
                begin, size = layout.body_offset(index), members[index].size
                run = max(MIN_PART_SIZE, begin - end)
                if begin + size - (end + run) < MIN_PART_SIZE:
                    break
                filled, end = filled + run, begin + size
            else:
                best = min(best, filled + layout.length - end + count * cost)
    return best


@given(st.lists(st.one_of(st.integers(0, 2 * MIB), st.integers(4 * MIB, 13 * MIB)), min_size=1, max_size=9))
@example([LEAST, LEAST, 2 * MIN_PART_SIZE, LEAST])
@example([9 * MIB, 9 * MIB, 9 * MIB])
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("cost", [0, COST_PER_MEMBER])
def test_no_choice_of_members_fills_fewer_bytes_and_costs_less(cost: int, sizes: list[int]) -> None:
    members = stored(*sizes)
    plan = plan_copies(members, CopyLimits(cost=cost))
    length = Layout(members, 10 * MIB).length
    assert length - (plan.copied - cost * len(plan.heads) if plan else 0) == least(members, cost)


def price(ledger: Ledger) -> float:
    """Of the requests that read the members and write the parts, in dollars."""
    return len(list(ledger.reads())) * PRICES["GetObject"] + ledger.parts * PRICES["UploadPart"]


@given(st.lists(SIZES, min_size=1, max_size=12))
@example([12 * MIB] * 12)
@example([LEAST, LEAST] * 6)
@settings(max_examples=150, deadline=None)
def test_what_auto_saves_is_worth_its_requests(sizes: list[int]) -> None:
    """It pays at most $0.005 for each GB that stays in the store, but for one part at the archive's end."""
    members = stored(*sizes)
    plan = plan_copies(members, CopyLimits())
    if plan is not None:
        more = price(laid_out(members, plan)) - price(Layout(members, 8 * MIB))
        assert more <= plan.copied * 0.005 / 1e9 + PRICES["UploadPart"]
        assert plan.copied >= COST_PER_MEMBER * len(plan.heads)


def test_auto_leaves_out_what_saves_too_little_and_copy_takes_all() -> None:
    members = stored(*[12_000_000] * 2)  # both copied, 10.5 MB are filled; one of them, 12 MB
    assert len(copied(members, limits_of(10 * MIB, frozenset(), everything=True)).heads) == 2
    assert len(copied(members, limits_of(10 * MIB, frozenset(), everything=False)).heads) == 1


@pytest.mark.parametrize(
    ("sizes", "shortest", "longest", "count"),
    [
        ([11 * MIB], 6, 6, 1),
        ([100 * MIB], 15, 16, 6),
        ([256 * MIB], 8, 16, 16),
        ([256 * MIB] * 4, 62, 64, 16),
        ([4 * GIB] * 2, 128, 256, 32),
        ([64 * GIB], 128, 256, 256),
    ],
)
def test_at_least_sixteen_copies_run_at_once_unless_they_are_small(
    sizes: list[int], shortest: int, longest: int, count: int
) -> None:
    lengths = [each.length for each in copied(stored(*sizes), CopyLimits()).copies]
    assert (
        shortest * MIB <= min(lengths) <= max(lengths) <= longest * MIB + 100
    )  # and the header that its head is shorter by
    assert len(lengths) == count


def test_four_large_members_cost_five_mib_each() -> None:
    members = stored(*[GIB] * 4)
    plan = copied(members, CopyLimits())
    assert [len(list(laid_out(members, plan).member_reads(index))) for index in range(4)] == [1, 1, 1, 1]
    assert plan.parts == 4 * (1 + 4) + 1
    assert (plan.begins[-1] - plan.copied) / plan.begins[-1] < 0.01
    copies = [each.length for each in plan.copies]
    assert min(copies) >= 128 * MIB
    assert max(copies) <= 256 * MIB


@pytest.mark.parametrize("cost", [0, COST_PER_MEMBER], ids=["copy", "auto"])
def test_of_a_thousand_mixed_files_at_most_30_percent_are_downloaded(cost: int) -> None:
    """Log-normal, with a mean of 8 MB and a sigma of 1.5, in the given order."""
    random = Random(2)
    mu = 15.895 - 1.5**2 / 2  # ln(8e6)
    members = stored(*[int(random.lognormvariate(mu, 1.5)) for _ in range(1000)])
    plan = copied(members, CopyLimits(cost=cost))
    assert (plan.begins[-1] - plan.copied) / plan.begins[-1] <= 0.30


def test_small_members_in_front_of_a_large_one_replace_its_head() -> None:
    members = stored(2 * MIB, 4 * MIB, 50 * MIB)
    plan = copied(members)
    assert plan.heads == {2: 0}
    assert plan.copied == 50 * MIB


@pytest.mark.parametrize("size", [0, 1, MIN_PART_SIZE, LEAST, 2 * MIN_PART_SIZE - 300])
def test_a_single_member_of_less_than_ten_mib_is_not_copied(size: int) -> None:
    assert plan_copies(stored(size), ALL) is None


def test_a_range_of_exactly_five_mib_is_the_least_that_is_copied() -> None:
    """S3 copies no range of an object of 5 MiB, but it does of one that has a byte more."""
    before = 6 * MIB
    assert plan_copies(stored(before, MIN_PART_SIZE), ALL) is None
    plan = copied(stored(before, LEAST))
    assert (plan.heads, plan.copied) == ({1: 0}, LEAST)


def test_what_is_no_object_of_the_workers_own_is_not_copied() -> None:
    ours = stored(50 * MIB)[0]
    version = ours.content
    assert isinstance(version, ObjectVersion)
    assert plan_copies([ours._replace(deflate=True)], ALL) is None
    assert plan_copies([ours._replace(content=b"inline")], ALL) is None
    of_a_role = version._replace(location=version.location._replace(role="arn:aws:iam::1:role/r"))
    assert plan_copies([ours._replace(content=of_a_role)], ALL) is None


def test_a_budget_without_buffers_of_ten_mib_copies_nothing() -> None:
    assert plan_copies(stored(GIB), CopyLimits(max_filled=10 * MIB - 1)) is None


def test_nothing_is_copied_of_nothing() -> None:
    assert plan_copies([], ALL) is None


def test_parts_grow_before_members_are_left_out() -> None:
    members = stored(*[15 * GIB] * 200)
    plan = copied(members)
    assert len(plan.heads) == 200
    assert max(each.length for each in plan.copies) > 256 * MIB


def test_small_members_get_larger_parts_where_10000_do_not_suffice() -> None:
    members = stored(GIB, *[4 * MIB] * 30_000)
    plan = copied(members, CopyLimits(max_filled=20 * MIB))
    assert 10 * MIB < plan.part_size <= 20 * MIB
    assert plan_copies(members, CopyLimits()) is None


def test_the_largest_members_are_copied_where_10000_parts_do_not_suffice() -> None:
    sizes = [*[20 * MIB] * 6000, *[30 * MIB] * 1000]
    plan = copied(stored(*sizes), CopyLimits(max_filled=64 * MIB))
    assert plan.parts <= MAX_PARTS
    assert set(range(6000, 7000)) <= set(plan.heads)


def test_the_same_members_and_limits_make_the_same_plan() -> None:
    members, limits = random_plan(7)
    assert plan_copies(members, limits) == plan_copies(list(members), replace(limits))


def test_a_bucket_out_of_reach_is_not_copied_from() -> None:
    assert plan_copies(stored(GIB), limits_of(10 * MIB, frozenset({"bucket"}), everything=True)) is None
