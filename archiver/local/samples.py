"""Sample pictures: a few that are shipped with the package, and small ones that are generated."""

import struct
import zlib
from importlib.resources import files

PICTURES = ("source.jpg", "dunes.jpg", "forest.jpg", "map.png", "rings.png")

SIDE_PIXELS = 32  # width and height of a generated picture


def read_sample(name: str) -> bytes:
    """Return the bytes of the shipped picture *name*, one of PICTURES."""
    return (files("archiver.local") / "samples" / name).read_bytes()


def draw_picture(number: int) -> bytes:
    """Return a valid RGB PNG of 32 × 32 pixels, about 1 KiB; the same *number* always gives the same picture."""
    rows = bytearray()
    for y in range(SIDE_PIXELS):
        rows.append(0)  # filter type 0: as is
        for x in range(SIDE_PIXELS):
            rows += bytes(((x * 8 + number * 37) % 256, (y * 8 + number * 11) % 256, ((x ^ y) * 5 + number * 59) % 256))
    header = struct.pack(
        ">IIBBBBB", SIDE_PIXELS, SIDE_PIXELS, 8, 2, 0, 0, 0
    )  # 8 bits, colour type 2 (RGB), no interlace
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk (PNG specification, section 5.3): length, type, data, CRC-32 of type and data."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
