"""CRC-32, ten times as fast as zlib's, of whole bodies and of bodies that came in pieces."""

from collections.abc import Sequence

from isal import isal_zlib

crc32_combine = isal_zlib.crc32_combine
"""(CRC-32 of a, CRC-32 of b, length of b) → CRC-32 of a + b."""


def crc32(data: memoryview | bytes) -> int:
    return isal_zlib.crc32(data)


def combine_crcs(pieces: Sequence[tuple[int, int, int]]) -> int:
    """The CRC-32 of bytes that came as *pieces*, (start, length, CRC-32) each, in whatever order, without a gap."""
    total = 0
    for _, length, crc in sorted(pieces):
        total = crc32_combine(total, crc, length)
    return total
