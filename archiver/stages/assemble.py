"""
Stored archives: each body is received directly into its part buffer, in any order, and CRCs are combined.

Every byte's address is known (`core.layout`), so many bodies are received at once. A large object is read in ranges,
cut at the part boundaries. A part that contains a local header is complete only when that member's CRC-32 is known.
So headers contain true values, no data descriptor is needed, and every streaming unzipper can read the archive. Parts
are uploaded in the order in which they become complete.

Memory: at most `Reservation.reserved` + extra buffers of one part each, all from the one `BufferPool`.

Why this can't deadlock:

- A job holds a reservation of three buffers that no other job can take. Buffers are acquired in part order, by one
  task at a time. Reads are started in archive order.
- Suppose that a task waits for the buffer of part *c*, for a read of member *j*. Every earlier read has been started
  and has its buffers, so it ends. Then every member before *j* is complete and its header is written. Let *h* be the
  part where *j*'s header begins: every part before *h* is complete and is uploaded, which needs no buffer.
- At most two of the parts from *h* to *c* - 1 remain incomplete. If *j* is larger than a part, the parts between its
  header and *c* contain only bytes of *j* whose reads were started, so they complete. *h* remains, and *h* + 1 if the
  header straddles the boundary. If *j* fits in a part, header and body touch at most three parts, so *c* ≤ *h* + 2.
  (A header is shorter than a part: S3's smallest part is 5 MiB.)
- So the third buffer of the reservation becomes free and the task continues. The directory, at the end, needs one
  buffer at a time.
- Between jobs: a reservation is granted completely or not at all, to jobs that hold no buffer yet; see `stages.budget`.
"""

import asyncio
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from archiver.core.layout import Layout, PartSlice, ReadRange
from archiver.core.plan import ObjectVersion
from archiver.core.receipt import Contents
from archiver.errors import TransientError, root_cause
from archiver.ports import StoredArchive
from archiver.stages.budget import BufferPool, Reservation
from archiver.stages.checksums import combine_crcs, crc32, crc32_combine
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.upload import ArchiveUpload

RESERVED_BUFFERS = 3  # of each job; see "Why this can't deadlock"
MAX_CONCURRENT_UPLOADS = 4  # parts of one job
MAX_CRC_PIECES = 64  # of one part
YIELD_EVERY_MEMBERS = 1000  # members without a body that are written before the event loop runs other tasks


async def assemble(
    layout: Layout, budget: BufferPool, fetcher: Fetcher, upload: ArchiveUpload, progress: Progress
) -> StoredArchive:
    """
    Build the archive that *layout* describes and publish it through *upload*.

    Raises SourceChanged, TransientError, ArchiveExists, LeaseLost, ConfigurationError.
    """
    size = layout.part_size if layout.parts > 1 else layout.length
    async with budget.reservation(size, min(RESERVED_BUFFERS, layout.parts)) as reservation:
        assembly = Assembly(layout, reservation, fetcher, upload, progress)
        try:
            return await assembly.run()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group


@dataclass(slots=True)
class _PartBuffer:
    """
    The buffer of one part. *remaining*: bytes that are not placed yet. *pieces*: (start, length, CRC-32) of the bytes
    that are placed. Combining these is cheaper than a second pass over the part, which costs a tenth of all work.
    None: too many pieces for that to be cheaper.
    """

    view: memoryview
    remaining: int
    pieces: list[tuple[int, int, int]] | None = field(default_factory=list)

    def add_piece(self, start: int, length: int, crc: int) -> None:
        self.remaining -= length
        if self.pieces is not None:
            self.pieces.append((start, length, crc))
            if len(self.pieces) > MAX_CRC_PIECES:
                self.pieces = None

    def crc32(self, size: int) -> int:
        return crc32(self.view[:size]) if self.pieces is None else combine_crcs(self.pieces)


@dataclass(slots=True)
class _PartialMember:
    """A member that is read in several ranges: the bytes still missing and the CRCs of the ranges received."""

    remaining: int
    crcs: list[tuple[int, int, int]] = field(default_factory=list)  # (start, length, CRC-32)


class Assembly:
    """One archive being assembled. Call `run` once."""

    def __init__(
        self, layout: Layout, reservation: Reservation, fetcher: Fetcher, upload: ArchiveUpload, progress: Progress
    ) -> None:
        self._layout = layout
        self._reservation = reservation
        self._fetcher = fetcher
        self._upload = upload
        self._progress = progress
        self._reads: Iterator[ReadRange] = layout.reads()
        self._order_lock = asyncio.Lock()
        self._parts: dict[int, _PartBuffer] = {}
        self._parts_acquired = 0  # parts for which a buffer was acquired
        self._members_started = 0  # members whose read was started, or whose header was written
        self._partial: dict[int, _PartialMember] = {}
        self._crcs = array("I", bytes(4 * len(layout.members)))
        self._part_crcs = array("I", bytes(4 * layout.parts))
        self._uploads: asyncio.TaskGroup | None = None
        self._upload_slots = asyncio.Semaphore(MAX_CONCURRENT_UPLOADS)

    async def run(self) -> StoredArchive:
        async with asyncio.TaskGroup() as self._uploads:
            async with asyncio.TaskGroup() as readers:
                for number in range(
                    min(self._fetcher.concurrency, max(1, len(self._layout.members) + self._layout.parts))
                ):
                    readers.create_task(self._run_reads(), name=f"assemble.read.{number}")
            await self._write_directory()
        contents = Contents(self._layout.members, self._crcs, self._layout.header_offsets)
        if self._layout.parts == 1:
            return await self._upload.put(self._parts[0].view, self._part_crcs[0], contents)
        total = 0
        for number, crc in enumerate(self._part_crcs):
            total = crc32_combine(total, crc, self._layout.part_length(number))
        return await self._upload.complete(self._layout.length, total, contents)

    # Reading, in archive order

    async def _run_reads(self) -> None:
        while True:
            async with self._order_lock:
                read = next(self._reads, None)
                await self._write_empty_members(len(self._layout.members) if read is None else read.member)
                if read is None:
                    return
                self._members_started = read.member + 1
                await self._acquire_parts_until(read.offset + read.length)
                views = [self._view(piece) for piece in self._layout.split(read.offset, read.length)]
            await self._receive(read, views)

    async def _write_empty_members(self, before: int) -> None:
        """Write the headers of the empty members up to *before*, which have no reads, at their place in the order."""
        while self._members_started < before:
            member, self._members_started = self._members_started, self._members_started + 1
            await self._acquire_parts_until(self._layout.body_offset(member))
            self._write_header(member, 0)
            if not self._members_started % YIELD_EVERY_MEMBERS:
                await asyncio.sleep(0)

    async def _acquire_parts_until(self, end: int) -> None:
        """Acquire buffers for all parts that have a byte before *end*, in part order."""
        last = (end - 1) // self._layout.part_size
        while self._parts_acquired <= last:
            view = await self._reservation.acquire()
            self._parts[self._parts_acquired] = _PartBuffer(view, self._layout.part_length(self._parts_acquired))
            self._parts_acquired += 1

    def _view(self, piece: PartSlice) -> memoryview:
        return self._parts[piece.part].view[piece.start : piece.start + piece.length]

    async def _receive(self, read: ReadRange, views: list[memoryview]) -> None:
        member = self._layout.members[read.member]
        is_whole_member = read.length == member.size
        if isinstance(member.content, bytes):
            _copy_into(member.content[read.start : read.start + read.length], views)
            crcs = [crc32(view) for view in views]
        else:
            crcs = await self._receive_object(
                member.content, read, views, member.content.crc32 if is_whole_member else None
            )
        self._progress.bytes += read.length
        crc = crcs[0] if len(crcs) == 1 else _combine_view_crcs(crcs, views)
        if is_whole_member:
            self._write_header(read.member, crc)
        else:
            self._add_range(read, crc)
        for piece, piece_crc in zip(self._layout.split(read.offset, read.length), crcs, strict=True):
            self._on_bytes_placed(piece, piece_crc)

    async def _receive_object(
        self, pinned: ObjectVersion, read: ReadRange, views: list[memoryview], expected: int | None
    ) -> list[int]:
        """Read the object's bytes into *views* and return the CRC-32 of each view."""
        for _ in range(2):  # bytes damaged in transit may arrive intact the second time
            await self._fetcher.read(pinned, read.start, views)
            crcs = [crc32(view) for view in views]
            if expected is None or _combine_view_crcs(crcs, views) == expected:
                return crcs
        raise TransientError(f"{pinned.location}: the bytes received do not have the object's CRC-32")

    def _add_range(self, read: ReadRange, crc: int) -> None:
        """Record one range of a large member; after its last range, write its header with the CRC of all ranges."""
        member = self._layout.members[read.member]
        state = self._partial.setdefault(read.member, _PartialMember(member.size))
        state.crcs.append((read.start, read.length, crc))
        state.remaining -= read.length
        if state.remaining:
            return
        del self._partial[read.member]
        total = combine_crcs(state.crcs)
        if isinstance(member.content, ObjectVersion) and member.content.crc32 not in (None, total):
            raise TransientError(f"{member.content.location}: the bytes received do not have the object's CRC-32")
        self._write_header(read.member, total)

    # Writing

    def _write_header(self, member: int, crc: int) -> None:
        self._crcs[member] = crc
        self._progress.files += 1
        self._write(self._layout.header_offset(member), self._layout.header_bytes(member, crc))

    async def _write_directory(self) -> None:
        offset = self._layout.directory_offset
        for block in self._layout.directory(self._crcs):
            done = 0
            for piece in self._layout.split(offset, len(block)):
                await self._acquire_parts_until(offset + done + piece.length)
                self._write(offset + done, block[done : done + piece.length])
                done += piece.length
            offset += len(block)
        if offset != self._layout.length:
            raise AssertionError(f"the archive ends at {offset}, not at {self._layout.length} as planned")

    def _write(self, offset: int, data: bytes) -> None:
        done = 0
        for piece in self._layout.split(offset, len(data)):
            bytes_of_piece = data[done : done + piece.length]
            self._view(piece)[:] = bytes_of_piece
            done += piece.length
            self._on_bytes_placed(piece, crc32(bytes_of_piece))

    def _on_bytes_placed(self, piece: PartSlice, crc: int) -> None:
        number, part = piece.part, self._parts[piece.part]
        part.add_piece(piece.start, piece.length, crc)
        if part.remaining:
            return
        size = self._layout.part_length(number)
        self._part_crcs[number] = part.crc32(size)
        if self._layout.parts > 1 and self._uploads is not None:
            self._uploads.create_task(self._upload_part(number, part.view, size), name=f"assemble.part.{number + 1}")

    async def _upload_part(self, number: int, view: memoryview, size: int) -> None:
        async with self._upload_slots:
            await self._upload.upload_part(number + 1, view[:size], self._part_crcs[number])
        del self._parts[number]
        self._reservation.release(view)


def _copy_into(data: bytes, views: list[memoryview]) -> None:
    done = 0
    for view in views:
        view[:] = data[done : done + len(view)]
        done += len(view)


def _combine_view_crcs(crcs: list[int], views: list[memoryview]) -> int:
    total = crcs[0]
    for crc, view in zip(crcs[1:], views[1:], strict=True):
        total = crc32_combine(total, crc, len(view))
    return total
