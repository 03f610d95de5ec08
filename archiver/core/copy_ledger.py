"""The ledger of an archive of which the store copies some parts; see `archiver.core.copies`."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from archiver.core.copies import CopyPlan
from archiver.core.layout import MIN_PART_SIZE
from archiver.core.ledger import Ledger, ReadRange
from archiver.core.plan import Member
from archiver.core.zip_records import record_lengths


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

    def finish(self) -> None:
        super().finish()
        if self.length != self.plan.begins[-1]:
            raise AssertionError(f"the archive has {self.length} bytes, not {self.plan.begins[-1]} as planned")

    def part_length(self, part: int) -> int:
        return self.plan.begins[part + 1] - self.plan.begins[part]

    def part_room(self, part: int) -> int:
        return self.part_length(part)

    def is_copied(self, part: int) -> bool:
        return part in self._copied_parts

    def part_begin(self, part: int) -> int:
        return self.plan.begins[part]

    def part_at(self, offset: int) -> tuple[int, int]:
        part = bisect_right(self.plan.begins, offset) - 1
        return part, self.plan.begins[part]

    def parts_touched(self, member: Member) -> int:
        start = self.directory_offset
        header, _ = record_lengths(len(member.path.encode()), member.size, start)
        filled = header + self.plan.heads.get(len(self.members), member.size)
        return self.part_at(start + filled - 1)[0] - self.part_at(start)[0] + 1

    def copied_bytes(self, member: int) -> int:
        head = self.plan.heads.get(member)
        return 0 if head is None else self.members[member].size - head

    def member_reads(self, member: int) -> Iterator[ReadRange]:
        """Yield as `Ledger` does, but of a copied member its head. A body of up to 5 MiB touches at most two parts."""
        length = self.plan.heads.get(member, self.members[member].size)
        return self._reads(member, length, MIN_PART_SIZE)


def copied_ledger(members: Sequence[Member], plan: CopyPlan) -> CopyLedger:
    """Return the finished ledger of *members*, of which *plan* was made."""
    ledger = CopyLedger(plan)
    for member in members:
        ledger.append(member)
    ledger.finish()
    return ledger
