"""Archives as the small S3 keeps them: parts in one nameless file, in whatever order they came, read as one."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from isal import isal_zlib

MIN_PART_BYTES = 5 * 1024 * 1024


class StoredPart(NamedTuple):
    """*size* bytes at *offset* of the file."""

    offset: int
    size: int
    crc32: int


@dataclass
class StoredUpload:
    """A multipart upload, or a finished archive. *headers* came with its beginning."""

    key: str
    headers: dict[str, str]
    parts: dict[int, StoredPart] = field(default_factory=dict)

    @property
    def in_order(self) -> list[StoredPart]:
        return [self.parts[number] for number in sorted(self.parts)]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts.values())

    def crc32(self) -> int:
        """The CRC-32 of the whole, from those of the parts."""
        whole = 0
        for part in self.in_order:
            whole = isal_zlib.crc32_combine(whole, part.crc32, part.size)
        return whole

    def problem(self, size: int | None, crc32: int | None, numbers: list[int]) -> str:
        """Why this upload can't be completed as it is asked; empty where it can."""
        if numbers != sorted(self.parts):
            return "InvalidPart"
        if any(part.size < MIN_PART_BYTES for part in self.in_order[:-1]):
            return "EntityTooSmall"
        if size != self.size:
            return "InvalidRequest"
        return "" if crc32 == self.crc32() else "BadDigest"


class JoinedParts(io.RawIOBase):
    """*parts* of the file *fd* as one file that can only be read."""

    def __init__(self, fd: int, parts: Sequence[StoredPart]) -> None:
        self._fd = fd
        self._parts = parts
        self._starts = [0, *accumulate(part.size for part in parts)]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        return self._at

    def readinto(self, into: Any) -> int:
        if self._at >= self._starts[-1]:
            return 0
        index = bisect_right(self._starts, self._at) - 1
        skip, part = self._at - self._starts[index], self._parts[index]
        count = os.preadv(self._fd, [memoryview(into)[: part.size - skip]], part.offset + skip)
        self._at += count
        return count
