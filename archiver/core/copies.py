"""
Which bytes of an archive the store copies by itself, so that they are never downloaded.

    [  filled  ][copied][copied][  filled  ][copied]…[  filled  ]
    header head  the rest of it  headers, small members, a head  the end

Every part but the last has at least 5 MiB. A copied member therefore costs a filled run of at least 5 MiB in front of
it: what comes before it anyway, and as much of its own beginning (its *head*) as is missing.

A plan is a pure function of the members and the limits: whoever has both has the same parts.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from archiver.core.layout import MAX_PART_SIZE, MAX_PARTS, MIB, MIN_PART_SIZE, Layout
from archiver.core.plan import Member, ObjectVersion

LEAST_SIZE = MIN_PART_SIZE + 1
"""Of an object that S3 copies ranges of."""

COST_PER_MEMBER = 2_000_000
"""
The bytes that each member that `auto` copies must save, against the best choice without it. It costs at most two
requests more: its copy, and the filled part in front of it. At $0.000005 each ("Amazon S3 pricing"), that is $0.005 per
GB that does not go through the worker: half of what an interface endpoint takes for it ("AWS PrivateLink pricing").
"""

MIN_BUFFER_SIZE = 2 * MIN_PART_SIZE
"""Of filled parts: a run of any length from 5 MiB up can be cut into parts of 5 to 10 MiB."""

SMALLEST_COPY, LARGEST_COPY = 16 * MIB, 256 * MIB
"""Of one request, while the parts suffice. From 16 MiB up, there are not more requests than if all were sent."""

COPIES_AT_ONCE = 16
"""At least so many copies, while they are not too small: S3 copies 85 to 90 MB/s of each ("Performance guidelines")."""

_NEVER = 1 << 62  # bytes: more than any archive has


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """
    *cost*: the bytes that each copied member must save. *filled*: the largest filled part that is usual; *max_filled*:
    that there may be. *copied*: the largest copied part that is usual. *members*: how many may be copied; None for any
    number. *unreachable*: buckets that nothing is copied from.
    """

    cost: int = COST_PER_MEMBER
    filled: int = MIN_BUFFER_SIZE
    max_filled: int = MIN_BUFFER_SIZE
    copied: int = LARGEST_COPY
    members: int | None = None
    unreachable: frozenset[str] = frozenset()


def limits_of(max_filled: int, unreachable: frozenset[str], *, everything: bool) -> CopyLimits:
    """Return the limits of the strategy `auto`; of `copy`, which saves every byte at any price, if *everything*."""
    return CopyLimits(0 if everything else COST_PER_MEMBER, max_filled=max_filled, unreachable=unreachable)


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
    order; all others are filled, and the largest has *part_size* bytes. *heads*: of each copied member (index), the
    bytes from its beginning that are filled. *limits*: with these the same plan is made again.
    """

    begins: Sequence[int]
    copies: tuple[CopiedRange, ...]
    heads: Mapping[int, int]
    part_size: int
    limits: CopyLimits

    @property
    def parts(self) -> int:
        return len(self.begins) - 1

    @property
    def copied(self) -> int:
        """Bytes that are copied."""
        return sum(each.length for each in self.copies)


def plan_copies(members: Sequence[Member], limits: CopyLimits) -> CopyPlan | None:
    """
    Decide what is copied of the archive of *members*, in this order, so that the fewest bytes are filled, each copied
    member counted as *cost* bytes more. None: nothing can be within S3's limits, or is worth it.

    Only stored objects that are read with the worker's own credentials can be copied, of more than 5 MiB: S3 copies no
    range of a smaller one. If there would be more than 10,000 parts, parts grow; then fewer members are copied.
    """
    candidates = [
        index
        for index, member in enumerate(members)
        if member.size >= LEAST_SIZE and can_copy(member, limits.unreachable)
    ]
    if not candidates or limits.max_filled < MIN_BUFFER_SIZE:
        return None
    layout = Layout(members, limits.filled)
    while True:
        heads = _choose(layout, _largest(layout, candidates, limits.members), limits.cost)
        if not heads:
            return None
        plan = _cut(layout, heads, limits)
        if plan.parts <= MAX_PARTS:
            return plan
        limits = _relaxed(limits, len(heads))


def can_copy(member: Member, unreachable: frozenset[str] = frozenset()) -> bool:
    """Whether *member* is the plain content of an object that the worker reads with its own credentials."""
    if member.deflate or not isinstance(member.content, ObjectVersion):
        return False
    location = member.content.location
    return not location.role and location.bucket not in unreachable


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


def _choose(layout: Layout, candidates: Sequence[int], cost: int) -> dict[int, int]:
    """
    Return the members of *candidates* to copy, and the head of each, so that the fewest bytes are filled, and *cost*
    for each. Exact, in one pass: with *fill(i)* the least of both before the copied bytes of *i*,

        fill(i) = min over j < i of fill(j) + max(5 MiB, begin(i) - end(j)) + cost

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
        fills.append(fill + cost)
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
    copied = sum(layout.members[index].size - head for index, head in heads.items())
    largest_copy = min(limits.copied, max(SMALLEST_COPY, -(-copied // (COPIES_AT_ONCE * MIB)) * MIB))
    for index, head in heads.items():
        size, begin = layout.members[index].size, layout.body_offset(index)
        _add_parts(begins, begin + head, limits.filled)
        first = len(begins) - 1
        _add_parts(begins, begin + size, largest_copy)
        starts = [at - begin for at in begins[first:]]
        copies += [CopiedRange(first + n, index, at, end - at) for n, (at, end) in enumerate(pairwise(starts))]
    _add_parts(begins, layout.length, limits.filled)
    copied_parts = {each.part for each in copies}
    largest = max(end - begin for part, (begin, end) in enumerate(pairwise(begins)) if part not in copied_parts)
    return CopyPlan(begins, tuple(copies), heads, largest, limits)


def _add_parts(begins: "array[int]", end: int, largest: int) -> None:
    """Add parts of nearly equal lengths up to *end*. Of several, each has at least half of *largest*."""
    begin = begins[-1]
    length = end - begin
    count = -(-length // largest)
    begins.extend(begin + length * number // count for number in range(1, count + 1))
