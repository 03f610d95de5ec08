"""
Which bytes of an archive the store copies by itself, so that they are never downloaded.

    [  filled  ][copied][copied][  filled  ][copied]…[  filled  ]
    header head  the rest of it  headers, small members, a head  the end

Every part but the last has at least 5 MiB. A copied member therefore costs a filled run of at least 5 MiB in front of
it: what comes before it anyway, and as much of its own beginning (its *head*) as is missing.

A plan is a pure function of the members and the limits: whoever has both has the same parts.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from archiver.core.layout import MAX_PART_SIZE, MAX_PARTS, MIB, MIN_PART_SIZE, Layout
from archiver.core.ledger import Ledger, ReadRange
from archiver.core.plan import Member, ObjectVersion

MIN_COPIED_SIZE = 10 * MIB
"""By default. A smaller member saves less than 5 MiB, for as many requests."""

MIN_BUFFER_SIZE = 2 * MIN_PART_SIZE
"""Of filled parts: a run of any length from 5 MiB up can be cut into parts of 5 to 10 MiB."""

LARGEST_COPY = 256 * MIB
"""Of one request, while the parts suffice: S3 copies 85 to 90 MB/s of each ("Performance guidelines")."""

_NEVER = 1 << 62  # bytes: more than any archive has


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """
    *min_size* of a copied member. *filled*: the largest filled part that is usual; *max_filled*: that there may be.
    *copied*: the largest copied part that is usual. *members*: how many may be copied; None for any number.
    """

    min_size: int = MIN_COPIED_SIZE
    filled: int = MIN_BUFFER_SIZE
    max_filled: int = MIN_BUFFER_SIZE
    copied: int = LARGEST_COPY
    members: int | None = None


class CopiedRange(NamedTuple):
    """*length* bytes of the member with the index *member*, from *start*, are the whole of *part* (from 0)."""

    part: int
    member: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """
    The parts of an archive. *begins*: the offset of each, then the archive's length. *copies*: the copied ones, in
    order; all others are filled, and have at most *part_size* bytes. *heads*: of each copied member (index), the bytes
    from its beginning that are filled.
    """

    begins: Sequence[int]
    copies: tuple[CopiedRange, ...]
    heads: Mapping[int, int]
    part_size: int

    @property
    def parts(self) -> int:
        return len(self.begins) - 1

    @property
    def copied(self) -> int:
        """Bytes that are copied."""
        return sum(each.length for each in self.copies)


def plan_copies(members: Sequence[Member], limits: CopyLimits) -> CopyPlan | None:
    """
    Decide what is copied of the archive of *members*, in this order, so that the fewest bytes are filled. None: nothing
    can be, within S3's limits.

    Only stored objects that are read with the worker's own credentials can be copied, of more than 5 MiB: S3 copies no
    range of a smaller one. If there would be more than 10,000 parts, parts grow; then fewer members are copied.
    """
    layout = Layout(members, limits.filled)
    smallest = max(limits.min_size, MIN_PART_SIZE + 1)
    candidates = [index for index, member in enumerate(members) if can_copy(member) and member.size >= smallest]
    if limits.max_filled < MIN_BUFFER_SIZE:
        return None
    while True:
        heads = _choose(layout, _largest(layout, candidates, limits.members))
        if not heads:
            return None
        plan = _cut(layout, heads, limits)
        if plan.parts <= MAX_PARTS:
            return plan
        limits = _relaxed(limits, len(heads))


def can_copy(member: Member) -> bool:
    """Whether *member* is the plain content of an object that the worker reads with its own credentials."""
    return isinstance(member.content, ObjectVersion) and not member.deflate and not member.content.location.role


def _largest(layout: Layout, candidates: list[int], count: int | None) -> list[int]:
    """Return the *count* largest of *candidates*, in order."""
    if count is None or len(candidates) <= count:
        return candidates
    return sorted(sorted(candidates, key=lambda index: (-layout.members[index].size, index))[:count])


def _relaxed(limits: CopyLimits, copied_members: int) -> CopyLimits:
    """Return *limits* with which there are fewer parts."""
    if limits.copied < MAX_PART_SIZE:
        return replace(limits, copied=min(MAX_PART_SIZE, 4 * limits.copied))
    if limits.filled < limits.max_filled:
        return replace(limits, filled=min(limits.max_filled, 2 * limits.filled))
    return replace(limits, members=copied_members * 3 // 4)


def _choose(layout: Layout, candidates: Sequence[int]) -> dict[int, int]:
    """
    Return the members of *candidates* to copy, and the head of each, so that the fewest bytes are filled. Exact, in one
    pass: with *fill(i)* the fewest bytes filled before the copied bytes of *i*,

        fill(i) = min over j < i of fill(j) + max(5 MiB, begin(i) - end(j))

    Only the candidate right before *i* can be closer than 5 MiB: between *i* and any other lies a candidate that is
    filled, and it has more. So for these the least of fill(j) - end(j) is enough. *j* may also be the archive's start.
    """
    fills, ends, before = [0], [0], [0]  # of the start, then of each candidate; `before`: the j that was chosen
    far, far_at = _NEVER, 0  # the least of fill(j) - end(j), but for the nearest j
    for index in candidates:
        size, begin = layout.members[index].size, layout.body_offset(index)
        near = len(fills) - 1
        head = max(0, MIN_PART_SIZE - (begin - ends[near]))
        fill, chosen = far + begin, far_at
        if size - head >= MIN_PART_SIZE and fills[near] + begin - ends[near] + head <= fill:
            fill, chosen = fills[near] + begin - ends[near] + head, near
        if fills[near] - ends[near] < far:
            far, far_at = fills[near] - ends[near], near
        fills.append(fill)
        ends.append(begin + size)
        before.append(chosen)
    last = min(range(len(fills)), key=lambda at: fills[at] - ends[at])
    heads = {}
    while last:
        index, previous = candidates[last - 1], before[last]
        heads[index] = max(0, MIN_PART_SIZE - (layout.body_offset(index) - ends[previous]))
        last = previous
    return dict(sorted(heads.items()))


def _cut(layout: Layout, heads: Mapping[int, int], limits: CopyLimits) -> CopyPlan:
    begins = array("Q", [0])
    copies = []
    for index, head in heads.items():
        size, begin = layout.members[index].size, layout.body_offset(index)
        _add_parts(begins, begin + head, limits.filled)
        first = len(begins) - 1
        _add_parts(begins, begin + size, limits.copied)
        starts = [at - begin for at in begins[first:]]
        copies += [CopiedRange(first + n, index, at, end - at) for n, (at, end) in enumerate(pairwise(starts))]
    _add_parts(begins, layout.length, limits.filled)
    return CopyPlan(begins, tuple(copies), heads, limits.filled)


def _add_parts(begins: "array[int]", end: int, largest: int) -> None:
    """Add parts of nearly equal lengths up to *end*. Of several, each has at least half of *largest*."""
    begin = begins[-1]
    length = end - begin
    count = -(-length // largest)
    begins.extend(begin + length * number // count for number in range(1, count + 1))


class CopyLedger(Ledger):
    """The ledger of an archive with the parts of *plan*, to which the plan's members are added, one after another."""

    __slots__ = ("_copied_parts", "plan")

    def __init__(self, plan: CopyPlan) -> None:
        super().__init__(plan.part_size)
        self.plan = plan
        self._copied_parts = frozenset(copied.part for copied in plan.copies)

    @property
    def parts(self) -> int:
        return self.plan.parts

    def part_length(self, part: int) -> int:
        return self.plan.begins[part + 1] - self.plan.begins[part]

    def part_room(self, part: int) -> int:
        return self.part_length(part)

    def is_copied(self, part: int) -> bool:
        return part in self._copied_parts

    def part_at(self, offset: int) -> tuple[int, int]:
        part = bisect_right(self.plan.begins, offset) - 1
        return part, self.plan.begins[part]

    def member_reads(self, member: int) -> Iterator[ReadRange]:
        """Yield as `Ledger` does, but of a copied member its head. A body of up to 5 MiB touches at most two parts."""
        length = self.plan.heads.get(member, self.members[member].size)
        return self._reads(member, length, MIN_PART_SIZE)
