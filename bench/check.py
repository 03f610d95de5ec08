"""
Every archive is read by a stranger (zipfile) and compared with what it had to be, byte for byte.

The load server keeps an upload as a recipe: stretches of its random block, and the bytes between them. From that any
byte of the archive can be read again without storing gigabytes, and a member's content is compared with the object's
stretch by stretch. Nothing is taken on trust of a CRC: both the bytes and the CRC of every member are checked.
"""

import io
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from server import LoadServer

LITERAL = (1 << 64) - 1
LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class WrongArchiveError(Exception):
    """An archive is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Segment:
    """*length* bytes of an archive: of the block from *start* on (wrapping), or *literal* ones."""

    length: int
    start: int
    literal: bytes | None = None


def read_recipe(recipe: bytes) -> Iterator[Segment]:
    at = 0
    while at < len(recipe):
        start, length = struct.unpack_from("=QQ", recipe, at)
        at += 16
        if start == LITERAL:
            yield Segment(length, 0, recipe[at : at + length])
            at += length
        else:
            yield Segment(length, start)


class Block:
    """The load server's random block, and its objects as slices of it."""

    def __init__(self, server: LoadServer) -> None:
        self._bytes = server.block
        self._numbers = server.numbers
        self.crc = lru_cache(maxsize=100_000)(self._crc)

    def start(self, key: str) -> int:
        """Where the content of the object *key* begins."""
        load, _, name = key.partition("/")
        place = (self._numbers[load] * 1_000_003 + int(name[:6])) * 2_654_435_761
        return 8 * (place % (len(self._bytes) // 8))

    def pieces(self, start: int, length: int) -> Iterator[memoryview]:
        view, start = memoryview(self._bytes), start % len(self._bytes)
        while length:
            piece = view[start : start + length]
            yield piece
            length -= len(piece)
            start = 0

    def read(self, start: int, length: int) -> bytes:
        return b"".join(self.pieces(start, length))

    def _crc(self, key: str, size: int) -> int:
        crc = 0
        for piece in self.pieces(self.start(key), size):
            crc = zlib.crc32(piece, crc)
        return crc

    def same(self, start: int, other: int) -> bool:
        return (start - other) % len(self._bytes) == 0


class Archive(io.RawIOBase):
    """An uploaded archive as a file to read; the whole of it is never in memory."""

    def __init__(self, block: Block, segments: Sequence[Segment]) -> None:
        self._block = block
        self._segments = segments
        self._offsets = [0]
        for segment in segments:
            self._offsets.append(self._offsets[-1] + segment.length)
        self._at = 0

    def overlap(self, at: int, length: int) -> Iterator[tuple[int, Segment, int, int]]:
        """The segments within [at, at + length): offset in the archive, segment, from, to (within the segment)."""
        number = bisect_right(self._offsets, at) - 1
        while length and number < len(self._segments):
            segment, low = self._segments[number], at - self._offsets[number]
            high = min(segment.length, low + length)
            if high > low:
                yield at, segment, low, high
            at, length, number = at + high - low, length - (high - low), number + 1

    def read(self, length: int = -1) -> bytes:
        if length < 0:
            length = self._offsets[-1] - self._at
        taken = []
        for _, segment, low, high in self.overlap(self._at, length):
            literal = segment.literal
            taken.append(self._block.read(segment.start + low, high - low) if literal is None else literal[low:high])
        data = b"".join(taken)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._offsets[-1]}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def differs(self, at: int, start: int, length: int) -> int | None:
        """Where, within [at, at + length), the bytes cease to be the block's from *start* on; None: nowhere."""
        covered = 0
        for offset, segment, low, high in self.overlap(at, length):
            wanted = start + offset - at
            if segment.literal is None:
                good = self._block.same(segment.start + low, wanted)
            else:
                good = segment.literal[low:high] == self._block.read(wanted, high - low)
            if not good:
                return offset
            covered += high - low
        return None if covered == length else at + covered


class Checker:
    """Checks the archives of one load server."""

    def __init__(self, server: LoadServer) -> None:
        self._server = server
        self._block = Block(server)

    def check(self, archive_key: str, keys: Sequence[str], size: int) -> None:
        """Raises WrongArchiveError unless the archive is the objects *keys*, *size* bytes each, in this order."""
        try:
            archive = Archive(self._block, list(read_recipe(self._server.ask(f"/_recipe/{archive_key}"))))
            with zipfile.ZipFile(archive) as opened:
                infos = opened.infolist()
        except (LookupError, zipfile.BadZipFile) as error:
            raise WrongArchiveError(f"{archive_key}: {error}") from error
        if [info.filename for info in infos] != list(keys):
            raise WrongArchiveError(
                f"{archive_key}: {len(infos)} members, not the {len(keys)} that were asked for, in order"
            )
        end = 0
        for info, key in zip(infos, keys, strict=True):
            if info.header_offset < end:
                raise WrongArchiveError(f"{archive_key}: {key} overlaps the member before it")
            end = check_member(self._block, archive, info, key, size)


def check_member(block: Block, archive: Archive, info: zipfile.ZipInfo, key: str, size: int) -> int:
    """Returns the offset behind the member's content."""
    archive.seek(info.header_offset)
    fields = LOCAL_HEADER.unpack(archive.read(LOCAL_HEADER.size))
    name = archive.read(fields[9])
    if fields[0] != b"PK\3\4" or name != key.encode() or info.compress_type != zipfile.ZIP_STORED or fields[3] != 0:
        raise WrongArchiveError(f"{key}: its local header is wrong")
    if (info.file_size, info.compress_size) != (size, size):
        raise WrongArchiveError(f"{key}: {info.file_size} bytes, not {size}")
    crcs = {info.CRC} if fields[2] & 8 else {info.CRC, fields[6]}
    if crcs != {block.crc(key, size)}:
        raise WrongArchiveError(f"{key}: its CRC is wrong")
    at: int = info.header_offset + LOCAL_HEADER.size + fields[9] + fields[10]
    wrong = archive.differs(at, block.start(key), size)
    if wrong is not None:
        raise WrongArchiveError(f"{key}: its content is wrong about byte {wrong - at}")
    return at + size
