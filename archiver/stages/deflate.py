"""
Compressed archives: bytes go in order through stream-zip, in a dedicated thread.

    reads, several ahead ─▶ chunks, in order ─▶ [thread: stream_zip] ─▶ parts ─▶ upload

A member's compressed size is unknown until it is written, so no address is known in advance: the archive is one stream.
stream-zip is synchronous, so it needs a thread. asyncio's default executor is not used because it also resolves host
names: if archives filled it while their reads wait for a name, they would deadlock. The thread has always ended when
`deflate` returns or raises.

Memory: three buffers of one part each, from the one `BufferPool`. One is divided into chunks that are read ahead. Two
are parts: one is filled while the other is sent.
"""

import asyncio
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from stream_zip import MemberFile, stream_zip

from archiver.core.layout import max_compressed_size, part_size_for
from archiver.core.paths import is_folder
from archiver.core.plan import Member, ObjectVersion
from archiver.core.receipt import Contents
from archiver.core.zip_end import TAIL_LENGTH, read_member_count
from archiver.errors import TransientError, root_cause
from archiver.ports import StoredArchive
from archiver.stages.budget import BufferPool
from archiver.stages.checksums import crc32, crc32_combine
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.tracing import span
from archiver.stages.upload import ArchiveUpload
from archiver.stages.zip_methods import zip_method

READ_AHEAD_CHUNKS = 8  # with the size of one part in total: 1 MiB each for parts of 8 MiB
FILE_MODE, FOLDER_MODE = 0o100644, 0o040755


async def deflate(
    members: Sequence[Member], budget: BufferPool, fetcher: Fetcher, upload: ArchiveUpload, progress: Progress
) -> StoredArchive:
    """
    Build a zip of *members* and publish it through *upload*. Members with `deflate` are compressed, others stored.

    Raises SourceChanged, TransientError, ArchiveExists, LeaseLost, ConfigurationError; Rejected (`too_large`).
    """
    size = compressed_part_size(members, budget.total // 3)
    async with budget.reservation(size, 3) as reservation:
        window, *parts = [await reservation.acquire() for _ in range(3)]
        stream = _ZipStream(members, parts, asyncio.get_running_loop())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_fetch(members, window, fetcher, stream, progress), name="deflate.read")
                sending = tasks.create_task(_upload_parts(stream, upload), name="deflate.send")
                stream.start()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        finally:
            await stream.end()
        return await sending.result().finish(upload, Contents(members, stream.crcs))


def compressed_part_size(members: Sequence[Member], max_part_size: int) -> int:
    """Return the size of all parts but the last, at most *max_part_size* bytes. Raises Rejected (`too_large`)."""
    return part_size_for(max_compressed_size(members), max_part_size)


@dataclass(slots=True)
class _Chunk:
    """A piece of one member for the thread. *view* is a part of the buffer *slot*. *last*: the member's last piece."""

    view: memoryview
    slot: memoryview
    last: bool


async def _fetch(
    members: Sequence[Member], window: memoryview, fetcher: Fetcher, stream: "_ZipStream", progress: Progress
) -> None:
    with span("fetch"):
        await _read_ahead(members, window, fetcher, stream, progress)


async def _read_ahead(
    members: Sequence[Member], window: memoryview, fetcher: Fetcher, stream: "_ZipStream", progress: Progress
) -> None:
    """Read chunks concurrently and pass them to the thread in order. A slot is reused after the thread has read it."""
    size = len(window) // READ_AHEAD_CHUNKS
    for start in range(0, READ_AHEAD_CHUNKS * size, size):
        stream.slots.put_nowait(window[start : start + size])
    pending: asyncio.Queue[asyncio.Task[_Chunk] | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as reads:
        reads.create_task(_forward_in_order(pending, stream, progress), name="deflate.order")
        for member in members:
            for start in range(0, max(member.size, 1), size):
                slot = await stream.slots.get()
                length = min(size, member.size - start)
                read = reads.create_task(_read(member, start, slot[:length], slot, fetcher), name="deflate.chunk")
                pending.put_nowait(read)
        pending.put_nowait(None)


async def _read(member: Member, start: int, view: memoryview, slot: memoryview, fetcher: Fetcher) -> _Chunk:
    if isinstance(member.content, bytes):
        view[:] = member.content[start : start + len(view)]
    elif len(view):
        await fetcher.read(member.content, start, [view])
        if len(view) == member.size and member.content.crc32 not in (None, crc32(view)):
            await fetcher.read(member.content, start, [view])  # bytes damaged in transit may arrive intact this time
    return _Chunk(view, slot, start + len(view) == member.size)


async def _forward_in_order(
    pending: "asyncio.Queue[asyncio.Task[_Chunk] | None]", stream: "_ZipStream", progress: Progress
) -> None:
    while (read := await pending.get()) is not None:
        chunk = await read
        progress.bytes += len(chunk.view)
        progress.files += chunk.last
        stream.chunks.put(chunk)


@dataclass(slots=True)
class _FilledPart:
    """A filled part from the thread. *last*: the archive ends with it."""

    view: memoryview
    last: bool


class _StreamCancelled(BaseException):
    """Raised in the thread if its job ends before the archive is complete."""


class _ZipStream:
    """
    The thread with its queues: chunks in, parts out. Queues to the thread block; queues from the thread are asyncio's.
    *crcs*: the CRC-32 of each member whose body was read.
    """

    def __init__(self, members: Sequence[Member], parts: Sequence[memoryview], loop: asyncio.AbstractEventLoop) -> None:
        self.members = members
        self.loop = loop
        self.chunks: SimpleQueue[_Chunk | None] = SimpleQueue()
        self.slots: asyncio.Queue[memoryview] = asyncio.Queue()
        self.free_parts: SimpleQueue[memoryview | None] = SimpleQueue()
        self.parts: asyncio.Queue[_FilledPart | BaseException] = asyncio.Queue()
        self.crcs = array("I")
        self._finished = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="archiver.deflate", daemon=True)
        for part in parts:
            self.free_parts.put(part)

    def start(self) -> None:
        self._thread.start()

    async def end(self) -> None:
        """Stop the thread at its next chunk or part, and wait for it."""
        if self._thread.ident is None:
            return
        self.chunks.put(None)
        self.free_parts.put(None)
        finished = asyncio.ensure_future(self._finished.wait())
        try:
            await asyncio.shield(finished)
        except asyncio.CancelledError:
            await finished  # the thread takes a few milliseconds; until then its buffers must not be reused
            raise
        finally:
            self._thread.join()  # does not block: the thread has set `_finished`

    # In the thread

    def _run(self) -> None:
        try:
            self._split_parts(stream_zip(self._files(), chunk_size=256 * 1024))
        except _StreamCancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - the task that waits for parts raises it
            self._publish(error)
        finally:
            self.loop.call_soon_threadsafe(self._finished.set)

    def _publish(self, part: "_FilledPart | BaseException") -> None:
        self.loop.call_soon_threadsafe(self.parts.put_nowait, part)

    def _split_parts(self, blocks: Iterable[bytes]) -> None:
        part, used = self._free_part(), 0
        for block in blocks:
            done = 0
            while done < len(block):
                if used == len(part):
                    self._publish(_FilledPart(part, last=False))
                    part, used = self._free_part(), 0
                taken = min(len(block) - done, len(part) - used)
                part[used : used + taken] = block[done : done + taken]
                done, used = done + taken, used + taken
        self._publish(_FilledPart(part[:used], last=True))

    def _free_part(self) -> memoryview:
        part = self.free_parts.get()
        if part is None:
            raise _StreamCancelled
        return part

    def _files(self) -> Iterator[MemberFile]:
        for member in self.members:
            first = self._chunk()
            body = self._body(member, first)
            mode = FOLDER_MODE if is_folder(member.path) else FILE_MODE
            yield member.path, member.modified, mode, zip_method(member, first.view if first.last else None), body
            for _ in body:  # stream-zip has read it all; this returns the slots even if the body is empty
                pass

    def _body(self, member: Member, chunk: _Chunk) -> Iterator[bytes]:
        total = 0
        while True:
            total = crc32_combine(total, crc32(chunk.view), len(chunk.view))
            if len(chunk.view):
                yield bytes(chunk.view)
            slot, last = chunk.slot, chunk.last
            self.loop.call_soon_threadsafe(self.slots.put_nowait, slot)
            if last:
                break
            chunk = self._chunk()
        self.crcs.append(total)
        if isinstance(member.content, ObjectVersion) and member.content.crc32 not in (None, total):
            raise TransientError(f"{member.content.location}: the bytes received do not have the object's CRC-32")

    def _chunk(self) -> _Chunk:
        chunk = self.chunks.get()
        if chunk is None:
            raise _StreamCancelled
        return chunk


@dataclass(slots=True)
class _UploadState:
    """The archive so far: parts, bytes and CRC-32. *single_part*: the only part, which is not sent yet."""

    count: int = 0
    size: int = 0
    crc: int = 0
    single_part: memoryview | None = None

    async def finish(self, upload: ArchiveUpload, contents: Contents) -> StoredArchive:
        if self.single_part is not None:
            return await upload.put(self.single_part, self.crc, contents)
        return await upload.complete(self.size, self.crc, contents)


async def _upload_parts(stream: _ZipStream, upload: ArchiveUpload) -> _UploadState:
    """Send parts in order, each while the next one is filled. A single part is returned instead, for PutObject."""
    sent, tail, last = _UploadState(), b"", False
    while not last:
        part = await stream.parts.get()
        if isinstance(part, BaseException):
            raise part
        view, last = part.view, part.last
        tail = (tail + bytes(view[-TAIL_LENGTH:]))[-TAIL_LENGTH:]
        crc = crc32(view)
        sent.count, sent.size = sent.count + 1, sent.size + len(view)
        sent.crc = crc32_combine(sent.crc, crc, len(view))
        if last and sent.count == 1:
            sent.single_part = view
        else:
            await upload.upload_part(sent.count, view, crc)
            stream.free_parts.put(view)
    validate_end_records(tail, len(stream.members))
    return sent


def validate_end_records(tail: bytes, members: int) -> None:
    """
    Check that *tail*, the archive's last bytes, has end records that count *members* members. Otherwise the writer
    stopped early without an error (some versions of stream-zip do), and the archive must not be published.

    Raises TransientError.
    """
    if read_member_count(tail) != members:
        raise TransientError("the zip writer stopped early: the archive does not end as planned")
