"""
Stored archives: members get their addresses in order, and each byte is put directly into the buffer of its part.

Members come in the archive's order (`stages.gather`): small ones with their body at hand, which is copied; others
without, which are received directly into their place, many at once and in any order. A large object is read in ranges,
cut at the part boundaries. A part that contains a local header is complete only when that member's CRC-32 is known.
So headers contain true values, no data descriptor is needed, and every streaming unzipper can read the archive. Parts
are uploaded in the order in which they become complete.

The store may copy the end of large members by itself (`stages.copying`): then such a part needs no buffer, and the
member's CRC-32 is combined from what was read and what the store computed. A copy ends by itself, as a read does.

Memory: at most `Reservation.reserved` + extra buffers of one part each, all from the one `BufferPool`.

Why this can't deadlock:

- A job holds a reservation of three buffers that no other job can take. Buffers are acquired in part order, by one
  task at a time, for one member after another.
- Suppose that the task waits for the buffer of part *c*, for member *j*. Every member before *j* was added: its body is
  in place, or its reads have been started and have their buffers, so they end. Then its header is written. Let *h* be
  the part where *j*'s header begins: every part before *h* is complete and is uploaded, which needs no buffer.
- At most two of the parts from *h* to *c* - 1 remain incomplete. If *j* is larger than a part, the parts between its
  header and *c* contain only bytes of *j* whose reads were started, so they complete. *h* remains, and *h* + 1 if the
  header straddles the boundary. If *j* fits in a part, header and body touch at most three parts, so *c* ≤ *h* + 2.
  (A header is shorter than a part: S3's smallest part is 5 MiB.)
- So the third buffer of the reservation becomes free and the task continues. The directory, at the end, needs one
  buffer at a time.
- The third buffer may be spared for bodies that wait for their turn (`stages.room`). A member that touches two parts
  needs only two buffers; before one that touches more is added, its bytes are taken back, and the bodies in them are
  given up. Nobody waits for room, so it can be no part of a circle.
- Between jobs: a reservation is granted completely or not at all, to jobs that hold no buffer yet, and what they hold
  of early bodies is taken from them where it is in the way; see `stages.budget`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from archiver.core.kept import divide
from archiver.core.ledger import Ledger, PartSlice, ReadRange
from archiver.core.plan import Member, ObjectVersion
from archiver.core.receipt import Contents
from archiver.core.zip_records import local_header
from archiver.errors import TransientError
from archiver.ports import StoredArchive
from archiver.stages.budget import Reservation
from archiver.stages.checksums import combine_crcs, combine_view_crcs, crc32, crc32_combine
from archiver.stages.fetch import Fetcher
from archiver.stages.part_buffers import PartBuffer, PartialMember
from archiver.stages.progress import Progress
from archiver.stages.receive import receive
from archiver.stages.upload import ArchiveUpload

if TYPE_CHECKING:
    from archiver.stages.copying import Copying

RESERVED_BUFFERS = 3  # of each job; see "Why this can't deadlock"
MAX_CONCURRENT_UPLOADS = 4  # parts of one job


class Assembly:
    """One archive being assembled: `run` is called once; what it is given adds the members, in order."""

    def __init__(
        self,
        ledger: Ledger,
        reservation: Reservation,
        fetcher: Fetcher,
        upload: ArchiveUpload,
        progress: Progress,
        *,
        copying: "Copying | None" = None,
    ) -> None:
        self.ledger = self._ledger = ledger
        self._reservation = reservation
        self._fetcher = fetcher
        self._upload = upload
        self._progress = progress
        self._parts: dict[int, PartBuffer] = {}
        self._parts_acquired = 0  # parts for which a buffer was acquired, or that need none
        self._acquired_until = 0  # offset of the first byte that may have none
        self._part: PartBuffer | None = None  # where the last small member ended, while it is filled
        self._copying = copying
        self._partial: dict[int, PartialMember] = {}
        self._kept = upload.kept  # of an earlier worker's parts
        self._crcs, self._part_crcs = upload.sums.members, upload.sums.parts
        self._reads = asyncio.TaskGroup()
        self._uploads = asyncio.TaskGroup()
        self._read_slots = asyncio.Semaphore(fetcher.concurrency)
        self._upload_slots = asyncio.Semaphore(MAX_CONCURRENT_UPLOADS)
        self._failed = False

    async def run(self, add_members: Callable[[], Awaitable[None]]) -> StoredArchive:
        """
        Build and publish the archive of the members that *add_members* adds. Raises SourceChanged, SourceUnavailable,
        TransientError, ArchiveExists, LeaseLost, ConfigurationError, in exception groups.
        """
        async with self._uploads:
            async with self._reads:
                if self._copying is not None:
                    self._copying.start(self._reads)
                await add_members()
            self._ledger.finish()
            self._progress.estimate()
            await self._write_directory()
        ledger = self._ledger
        contents = Contents(ledger.members, self._crcs, ledger.header_offsets)
        if ledger.parts == 1:
            return await self._upload.put(self._parts[0].view[: ledger.length], self._part_crcs[0], contents)
        total = 0
        for number in range(ledger.parts):
            total = crc32_combine(total, self._part_crcs[number], ledger.part_length(number))
        return await self._upload.complete(ledger.length, total, contents)

    # Adding members, in order

    def place(self, member: Member, crc: int, body: bytes | memoryview) -> bool:
        """
        Add *member*, whose body has the CRC-32 *crc*, if that needs no wait for a buffer. Return whether it was added.
        """
        start = self._ledger.directory_offset
        header = local_header(member.path.encode(), member.size, member.modified, crc)
        end = start + len(header) + len(body)
        if end > self._acquired_until and not self._have_parts_until(end):
            return False
        index = self._ledger.append(member)
        if self._kept.crcs:
            self._upload.check_kept(index, crc)
        self._crcs.append(crc)
        if self._part is None or not self._part.place(start, header, body):
            self._write(start, header)
            self._write(start + len(header), body, crc)
            self._part = self._parts.get(self._ledger.part_at(end)[0])
        self._progress.add(1, len(body))
        return True

    async def add(self, member: Member, crc: int, body: bytes | memoryview | None) -> None:
        """Add *member*. Without *body*, begin to read it: this returns when its reads have their buffers."""
        if body is not None and self.place(member, crc, body):
            return
        start = self._ledger.directory_offset
        index = self._ledger.append(member)
        self._crcs.append(self._kept.crcs.get(index, crc))
        if body is not None:
            self._upload.check_kept(index, crc)
            header = self._ledger.header_bytes(index, crc)
            await self._write_acquiring(start, header)
            await self._write_acquiring(start + len(header), body)
            self._progress.add(1, len(body))
            return
        for read in await self._add_kept(index) if self._kept.parts else self._ledger.member_reads(index):
            await self._read_slots.acquire()
            await self._acquire_until(read.offset + read.length)
            views = [self._view(piece) for piece in self._ledger.split(read.offset, read.length)]
            self._reads.create_task(self._receive(read, views), name=f"assemble.read.{index}")
        if self._copying is not None and self._ledger.copied_bytes(index):
            self._reads.create_task(self._await_copies(self._copying, index), name=f"assemble.copied.{index}")

    async def _add_kept(self, index: int) -> Iterable[ReadRange]:
        """Take what is kept of the member, whose body is not at hand; return the reads of the rest."""
        there, missing = divide(self._ledger, self._kept, index)
        await self._acquire_until(self._ledger.body_offset(index))  # for the header
        if index in self._kept.crcs:
            self._write_header(index, self._kept.crcs[index])
        for read, crc in there:
            self._progress.add(0, read.length)
            if index not in self._kept.crcs:
                self._add_range(read, crc)
        return missing

    def _have_parts_until(self, end: int) -> bool:
        """Acquire the buffers of all parts with a byte before *end*, in part order, as far as that needs no wait."""
        while (begin := self._ledger.part_begin(self._next_part())) < end:
            view = self._reservation.try_acquire()
            if view is None:
                return False
            self._add_part(view)
        self._acquired_until = begin
        return True

    def _next_part(self) -> int:
        """Return the next part that needs a buffer."""
        while self._ledger.is_copied(self._parts_acquired) or self._parts_acquired in self._kept.parts:
            self._parts_acquired += 1
        return self._parts_acquired

    async def _acquire_until(self, end: int) -> None:
        while not self._have_parts_until(end):
            self._add_part(await self._reservation.acquire())

    def _add_part(self, view: memoryview) -> None:
        number = self._parts_acquired
        self._parts[number] = PartBuffer(view, self._ledger.part_begin(number), self._ledger.part_room(number))
        self._parts_acquired += 1

    def _view(self, piece: PartSlice) -> memoryview:
        return self._parts[piece.part].view[piece.start : piece.start + piece.length]

    # Reading

    async def _receive(self, read: ReadRange, views: list[memoryview]) -> None:
        member = self._ledger.members[read.member]
        if not isinstance(member.content, ObjectVersion):
            raise TypeError("bytes at hand are not read")
        is_whole_member = read.length == member.size
        try:
            crcs = await receive(self._fetcher, member.content, read.start, views, is_whole=is_whole_member)
        finally:
            self._read_slots.release()
        self._progress.add(0, read.length)
        crc = crcs[0] if len(crcs) == 1 else combine_view_crcs(crcs, views)
        if is_whole_member:
            self._upload.check_kept(read.member, crc)
        if is_whole_member and read.member not in self._kept.crcs:
            self._write_header(read.member, crc)
        elif read.member not in self._kept.crcs:
            self._add_range(read, crc)
        for piece, piece_crc in zip(self._ledger.split(read.offset, read.length), crcs, strict=True):
            self._on_bytes_placed(piece, piece_crc)

    def _add_range(self, read: ReadRange, crc: int) -> None:
        """Record one range of a large member; after its last range, write its header with the CRC of all ranges."""
        member = self._ledger.members[read.member]
        state = self._partial.setdefault(read.member, PartialMember(member.size))
        state.crcs.append((read.start, read.length, crc))
        state.remaining -= read.length
        if state.remaining:
            return
        del self._partial[read.member]
        total = combine_crcs(state.crcs)
        if isinstance(member.content, ObjectVersion) and member.content.crc32 not in (None, total):
            self._upload.distrust()
            raise TransientError(f"{member.content.location}: the bytes received do not have the object's CRC-32")
        self._write_header(read.member, total)

    async def _await_copies(self, copying: "Copying", index: int) -> None:
        """Add the CRCs of what the store copied of a member."""
        for each, crc in await copying.of(index):
            self._progress.add(0, each.length)
            if index not in self._kept.crcs:
                self._add_range(ReadRange(index, each.start, each.length, 0), crc)

    # Writing

    def _write_header(self, member: int, crc: int) -> None:
        self._crcs[member] = crc
        self._progress.add(1, 0)
        self._write(self._ledger.header_offset(member), self._ledger.header_bytes(member, crc))

    async def _write_directory(self) -> None:
        ledger = self._ledger
        for number, part in self._parts.items():  # the last of them may be the archive's last, and shorter
            part.remaining -= part.room - ledger.part_length(number)
        offset = ledger.directory_offset
        for block in ledger.directory(self._crcs):
            await self._write_acquiring(offset, block)
            offset += len(block)
        if offset != ledger.length:
            raise AssertionError(f"the archive ends at {offset}, not at {ledger.length} as planned")

    async def _write_acquiring(self, offset: int, data: bytes | memoryview) -> None:
        """Put *data* at *offset*, with one buffer after the other."""
        done = 0
        for piece in self._ledger.split(offset, len(data)):
            await self._acquire_until(offset + done + piece.length)
            self._write(offset + done, data[done : done + piece.length])
            done += piece.length

    def _write(self, offset: int, data: bytes | memoryview, crc: int | None = None) -> None:
        """Put *data* at *offset*. *crc*: its CRC-32, if known."""
        done = 0
        for piece in self._ledger.split(offset, len(data)):
            whole = piece.length == len(data)
            piece_data = data if whole else data[done : done + piece.length]
            done += piece.length
            if piece.part not in self._kept.parts:
                self._view(piece)[:] = piece_data
                self._on_bytes_placed(piece, crc if whole and crc is not None else crc32(piece_data))

    def _on_bytes_placed(self, piece: PartSlice, crc: int) -> None:
        number, part, ledger = piece.part, self._parts[piece.part], self._ledger
        part.remaining -= piece.length
        part.add_crc(piece.start, piece.length, crc)
        if part.remaining or self._failed:
            return
        size = ledger.part_room(number)
        self._part_crcs[number] = part.crc32(size)
        if not ledger.length or ledger.parts > 1:  # a directory follows, so there are more parts
            self._uploads.create_task(self._upload_part(number, part.view, size), name=f"assemble.part.{number + 1}")

    async def _upload_part(self, number: int, view: memoryview, size: int) -> None:
        try:
            async with self._upload_slots:
                await self._upload.upload_part(number + 1, view[:size], self._part_crcs[number])
        except BaseException:
            self._failed = True  # the group takes no more tasks
            raise
        self._progress.estimate()
        del self._parts[number]
        self._reservation.release(view)
