"""
Verify an archive: its records, its CRC-32 in the store, or the contents of each member.

Without *deep*, no body is read. The central directory of a stored archive from this service determines all bytes
before it: each local header can be rebuilt from it, and it holds each body's CRC-32. Combined, these are the CRC-32 of
the whole archive. If the store has the same CRC-32 (S3 keeps one), every byte is proved, with two small requests.

Memory: about half a kilobyte for each member (at most `MAX_MEMBERS`), and the windows of `archiver.stages.read_ahead`.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from archiver.core.receipt_check import WholeReceipt, archive_problems
from archiver.core.zip_parser import (
    DEFLATED,
    ENCRYPTED,
    LOCAL_HEADER_FIXED_LENGTH,
    MAX_END_LENGTH,
    STORED,
    Directory,
    DirectoryParser,
    Entry,
    check_local_header,
    expected_segments,
    find_directory,
    find_structure_problems,
    read_local_header_length,
)
from archiver.stages import read_ahead
from archiver.stages.checksums import crc32, crc32_combine
from archiver.stages.progress import Progress
from archiver.stages.read_ahead import ByteSource, ReadAheadStream, read_bytes

INFLATE_BLOCK_BYTES = 1024 * 1024  # bytes of a member that are inflated at once


@dataclass(slots=True)
class VerificationReport:
    """
    The result. *problems*: what is wrong, one sentence each. *unchecked*: what could not be checked, and why. *proof*:
    what was compared. *unpacked*: total size of the members in bytes. *crc32* of the whole archive, if all was read.
    *changed*: the sources that are not as they were archived.
    """

    size: int
    members: int = 0
    unpacked: int = 0
    crc32: int | None = None
    proof: str = ""
    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.problems or self.changed)


async def verify(
    archive: ByteSource,
    stored_crc32: int | None,
    *,
    deep: bool,
    progress: Progress,
    receipt: WholeReceipt | None = None,
) -> VerificationReport:
    """
    Verify *archive*. *stored_crc32*: its CRC-32 according to the store. *deep*: read the contents of every member.
    *receipt*: compare the archive with it.

    Raises UnreadableError, TransientError, SourceChanged.
    """
    report = VerificationReport(archive.size)
    tail = await read_bytes(archive, max(0, archive.size - MAX_END_LENGTH), min(MAX_END_LENGTH, archive.size))
    directory = find_directory(tail, archive.size)
    found, end_crc32 = await _read_directory(archive, directory)
    report.members, report.unpacked = len(found), sum(entry.size for entry in found)
    report.problems += find_structure_problems(found, directory)
    if receipt is not None:
        report.problems += archive_problems(receipt, found, archive.size, stored_crc32)
    if directory.prefix_length:
        report.unchecked.append(f"the zip starts after {directory.prefix_length} other bytes, which were not checked")
    if deep:
        found.sort(key=lambda entry: entry.offset)
        await _read_all(archive, found, directory.offset, report, progress)
        if stored_crc32 not in (None, report.crc32):
            report.problems.append(
                f"the store has the CRC-32 {stored_crc32:08x} for the archive; its bytes have {report.crc32:08x}"
            )
    else:
        _compare_crc32(found, directory, end_crc32, stored_crc32, report)
    return report


async def _read_directory(archive: ByteSource, directory: Directory) -> tuple[list[Entry], int]:
    """Read the directory and all after it, in blocks of `WINDOW_BYTES`. Return the members, and the CRC-32 of all."""
    reader, found, crc, at = DirectoryParser(directory.prefix_length), list[Entry](), 0, directory.offset
    while at < archive.size:
        block = await read_bytes(archive, at, min(read_ahead.WINDOW_BYTES, archive.size - at))
        entries = block[: max(0, directory.offset + directory.length - at)]  # without the end records
        found += await asyncio.to_thread(reader.feed, entries)
        crc, at = crc32_combine(crc, crc32(block), len(block)), at + len(block)
    reader.end()
    return found, crc


def _compare_crc32(
    found: list[Entry], directory: Directory, end_crc32: int, stored: int | None, report: VerificationReport
) -> None:
    segments = expected_segments(found, directory)
    if stored is None:
        report.unchecked.append("contents: the store keeps no CRC-32 of the whole; --deep reads every member")
    elif segments is None:
        report.unchecked.append("contents: not an archive of stored members as archiver writes them; --deep reads them")
    else:
        total = 0
        for header, crc, size in segments:
            total = crc32_combine(crc32_combine(total, crc32(header), len(header)), crc, size)
        total = crc32_combine(total, end_crc32, report.size - directory.offset)
        report.proof = f"the members' CRC-32s make up the store's own of the whole archive, {stored:08x}"
        if total != stored:
            report.proof = ""
            report.problems.append(
                f"the store has the CRC-32 {stored:08x} for the archive; its members' CRC-32s combine to {total:08x}: "
                "--deep shows which are damaged"
            )


async def _read_all(
    archive: ByteSource, found: Sequence[Entry], limit: int, report: VerificationReport, progress: Progress
) -> None:
    """Check every member of *found*, which are sorted by offset. *limit*: offset that no member may exceed."""
    progress.files_planned, progress.bytes_planned = len(found), archive.size
    async with ReadAheadStream(archive, progress) as stream:
        for entry in found:
            if entry.offset < stream.at:
                continue  # it overlaps the previous member: `find_structure_problems` has reported it
            await stream.skip(entry.offset - stream.at)
            problems, unchecked = await _check_member(stream, entry, limit)
            report.problems += [f"{entry.path}: {problem}" for problem in problems]
            report.unchecked += [f"{entry.path}: {reason}" for reason in unchecked]
            progress.files += 1
        await stream.skip(archive.size - stream.at)
    report.proof = "every member was read"
    report.crc32 = stream.crc32


async def _check_member(stream: ReadAheadStream, entry: Entry, limit: int) -> tuple[list[str], list[str]]:
    """Return the problems of one member, and what could not be checked. *limit*: offset that it may not exceed."""
    header = await stream.take(min(LOCAL_HEADER_FIXED_LENGTH, limit - stream.at))
    if len(header) == LOCAL_HEADER_FIXED_LENGTH and header.startswith(b"PK\3\4"):
        header += await stream.take(
            max(
                0,
                min(read_local_header_length(header), limit - stream.at + LOCAL_HEADER_FIXED_LENGTH)
                - LOCAL_HEADER_FIXED_LENGTH,
            )
        )
    head = check_local_header(header, entry)
    problems = list(head.problems)
    if not head.length:
        return problems, []
    if stream.at + entry.compressed_size > limit:
        return [*problems, "reaches into the central directory"], []
    if entry.flags & ENCRYPTED:
        return problems, ["is encrypted: only its place was checked"]
    if entry.method not in (STORED, DEFLATED):
        return problems, [
            f"is compressed with method {entry.method}, which is not supported: only its place was checked"
        ]
    crc, size, problem = await _digest_contents(stream, entry)
    if problem:
        problems.append(problem)
    elif size != entry.size:
        problems.append(f"has {size} bytes, and should have {entry.size}")
    elif crc != entry.crc32:
        problems.append(f"has the CRC-32 {crc:08x}, and should have {entry.crc32:08x}")
    return problems, []


async def _digest_contents(stream: ReadAheadStream, entry: Entry) -> tuple[int, int, str]:
    """Return CRC-32 and length of the unpacked member, and the problem found ("": none)."""
    check = _MemberDigest(entry.method, entry.size)
    left = entry.compressed_size
    try:
        while left and not check.problem:
            piece = await stream.take(min(left, read_ahead.WINDOW_BYTES))
            left -= len(piece)
            await asyncio.to_thread(check.add, piece)
    except asyncio.CancelledError:
        check.problem = "was not read to its end"  # also stops the thread: a window may inflate to gigabytes
        raise
    return check.crc32, check.size, check.problem or ("" if check.ended else "its compressed data ends too early")


class _MemberDigest:
    """
    Computes length and CRC-32 of one member's unpacked bytes, without keeping them. More than *max_size* bytes are a
    problem at once: a zip bomb is not inflated to its end.
    """

    def __init__(self, method: int, max_size: int | None = None) -> None:
        self.crc32 = 0
        self.size = 0
        self.problem = ""
        self._max_size = max_size
        self._inflate = zlib.decompressobj(-15) if method == DEFLATED else None

    @property
    def ended(self) -> bool:
        return self._inflate is None or self._inflate.eof

    def add(self, piece: bytes) -> None:
        if self._inflate is None:
            self._count(piece)
            return
        try:
            # If as many bytes came out as were requested, more may follow, even if all input was consumed.
            more = bool(piece)
            while more and not self.problem:
                if self._inflate.eof:
                    self.problem = "other bytes follow its compressed data"
                    return
                data = self._inflate.decompress(piece, INFLATE_BLOCK_BYTES)
                self._count(data)
                piece = self._inflate.unconsumed_tail or self._inflate.unused_data
                more = bool(piece) or (len(data) == INFLATE_BLOCK_BYTES and not self._inflate.eof)
        except zlib.error as error:
            self.problem = f"can't be inflated: {error}"

    def _count(self, data: bytes) -> None:
        self.crc32 = crc32_combine(self.crc32, crc32(data), len(data))
        self.size += len(data)
        if self._max_size is not None and self.size > self._max_size:
            self.problem = f"has more bytes than the expected {self._max_size}"
