"""
Makes one stored archive: gathers its members (`stages.gather`) and assembles them (`stages.assemble`).

While a job holds no reservation, its bodies wait in room that nobody else needs: as soon as the job whose turn it is
needs it for buffers, they are given up. Most archives are small, so all is known before anything is reserved: then
exactly what they need is. Others reserve three buffers of a usual part, and
learn their length as they go.

Memory: the reservation and what `Room` and further buffers take, all charged to the one `BufferPool`; the members and
about 150 bytes for each.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.core.draft import DraftFile
from archiver.core.layout import DEFAULT_PART_SIZE, MAX_PARTS, Layout
from archiver.core.ledger import Ledger, OutgrownError
from archiver.core.plan import Member
from archiver.errors import root_cause
from archiver.ports import StoredArchive
from archiver.stages.assemble import RESERVED_BUFFERS, Assembly
from archiver.stages.budget import BufferPool
from archiver.stages.fetch import Fetcher
from archiver.stages.gather import MAX_BODY_BYTES, Gather
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.progress import Progress
from archiver.stages.room import Room
from archiver.stages.tracing import span
from archiver.stages.upload import ArchiveUpload

if TYPE_CHECKING:
    from archiver.core.copies import CopyPlan
    from archiver.core.copy_gain import CopyGain
    from archiver.stages.copying import Copying

ROOM_BEFORE_RESERVATION = 1024 * 1024
MAX_EXTRA_ROOM = 16 * 1024 * 1024
MIN_SAMPLES = 4  # sizes, for an estimate of all


@dataclass(frozen=True, slots=True)
class Shape:
    """*buffers* of *buffer_size* bytes are reserved for parts of *part_size* bytes."""

    part_size: int
    buffer_size: int
    buffers: int = RESERVED_BUFFERS

    @classmethod
    def of(cls, layout: Layout) -> "Shape":
        """Return the shape of an archive that is known."""
        size = layout.part_size if layout.parts > 1 else layout.length
        return cls(layout.part_size, size, min(RESERVED_BUFFERS, layout.parts))

    @classmethod
    def of_copied(cls, plan: "CopyPlan") -> "Shape":
        """Return the shape of an archive of which the store copies some parts."""
        return cls(plan.part_size, plan.part_size, min(RESERVED_BUFFERS, plan.parts - len(plan.copies)))

    @classmethod
    def usual(cls, max_part_size: int) -> "Shape":
        """Return the shape of an archive that is not known yet: it must not depend on which response came first."""
        part_size = min(DEFAULT_PART_SIZE, max_part_size)
        return cls(part_size, part_size)


class StoredBuild:
    """
    The build of one stored archive. *files*: its members, or what is asked for in one pass; see `Gather`. *part_size*:
    chosen unless given. *max_bodies*: bytes of all files together. *copying*: what the store copies by itself of the
    members, which are all known then. *gain*: what copies would save, in one pass; None if there may be none.
    """

    def __init__(
        self,
        files: Sequence[DraftFile | Member],
        budget: BufferPool,
        fetcher: Fetcher,
        upload: ArchiveUpload,
        *,
        part_size: int | None = None,
        max_bodies: int | None = None,
        copying: "Copying | None" = None,
        gain: "CopyGain | None" = None,
    ) -> None:
        self._files = files
        self._budget = budget
        self._fetcher = fetcher
        self._upload = upload
        self._part_size = part_size
        self._max_bodies = max_bodies
        self._copying = copying
        self._gain = gain
        self._max_part_size = part_size or budget.total // RESERVED_BUFFERS
        self._room = Room(budget, ROOM_BEFORE_RESERVATION)
        max_body = min(MAX_BODY_BYTES, self._max_part_size // 2)
        self._gather = Gather(files, fetcher, self._room, max_body, upload.kept.whole, gain=gain)
        self._room.on_revoked = self._gather.line.give_up_bodies

    async def run(self, progress: Progress) -> tuple[StoredArchive, Sequence[Member]]:
        """
        Build and publish the archive; return it and its members.

        Raises SourceUnavailable, SourceChanged, CredentialsRefused, TransientError, ArchiveExists, LeaseLost,
        ConfigurationError; OutgrownError, CopiesPayError if not all files were known.
        """
        try:
            async with self._lanes():
                shape = await self._shape()
                async with self._budget.reservation(shape.buffer_size, shape.buffers, self._room) as reservation:
                    self._room.max_extra = MAX_EXTRA_ROOM
                    self._upload.set_part_size(shape.part_size)
                    ledger = self._ledger(shape)
                    assembly = Assembly(
                        ledger, reservation, self._fetcher, self._upload, progress, copying=self._copying
                    )
                    self._gather.line.check_bodies = self._checks(ledger, progress)
                    self._gather.wake_all()
                    with span("assemble"):
                        stored = await assembly.run(lambda: self._gather.line.feed(assembly, reservation))
                    return stored, ledger.members
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        finally:
            self._room.close()

    @asynccontextmanager
    async def _lanes(self) -> AsyncIterator[None]:
        """The lanes of this job, for the time of the block."""
        lanes = self._gather.lanes(min(self._fetcher.concurrency, len(self._files) + 1))
        with span("fetch"):
            async with lanes as tasks:
                hedge = tasks.create_task(self._gather.hedge(), name="gather.hedge")
                yield
                hedge.cancel()
                self._gather.end_lanes()

    def _checks(self, ledger: Ledger, progress: Progress) -> Callable[[int], None]:
        """Return what is checked before each member that has waited."""
        gain, line = self._gain, self._gather.line
        if gain is None:
            return ledger.check_bodies

        def check(bodies: int) -> None:
            ledger.check_bodies(bodies)
            gain.check(line.arrived, progress.bytes)

        return check

    def _ledger(self, shape: Shape) -> Ledger:
        if self._copying is not None:
            from archiver.core.copy_ledger import CopyLedger  # noqa: PLC0415 - nothing of it where it is off

            return CopyLedger(self._copying.plan)
        return Ledger(shape.part_size, max_length=MAX_PARTS * shape.part_size, max_bodies=self._max_bodies)

    async def _shape(self) -> Shape:
        """
        Wait until all is known that can be known before buffers are reserved. Raises Rejected (`too_large`),
        OutgrownError, CopiesPayError.
        """
        if self._copying is not None:
            return Shape.of_copied(self._copying.plan)
        members = [file for file in self._files if isinstance(file, Member)]
        if len(members) < len(self._files):
            await self._gather.full.wait()
            members = self._gather.line.waiting
            if self._gain is not None:
                self._gain.check(len(members), 0)
        if len(members) < len(self._files):
            self._check_estimate(members)
            return Shape.usual(self._max_part_size)
        if self._part_size is not None:
            return Shape.of(await run_offloaded_if_large(len(members), Layout, members, self._part_size))
        return Shape.of(await run_offloaded_if_large(len(members), Layout.for_max_part, members, self._max_part_size))

    def _check_estimate(self, members: Sequence[Member]) -> None:
        """
        Raise OutgrownError if the files will probably have more than *max_bodies* bytes, as *members*, some of them,
        tell: it is better to know that before anything is sent.
        """
        if self._max_bodies is not None and len(members) >= MIN_SAMPLES:
            estimate = sum(member.size for member in members) * len(self._files) // len(members)
            if estimate > self._max_bodies:
                raise OutgrownError(f"probably {estimate:,} bytes of files, more than {self._max_bodies:,}")
