"""Pictures to archive: a few real ones that are shipped, and as many small ones as asked for, drawn on the spot."""

import struct
import zlib
from importlib.resources import files

PICTURES = ("source.jpg", "dunes.jpg", "forest.jpg", "map.png", "rings.png")

SIDE_PIXELS = 32  # pixels of a drawn picture


def read_sample(name: str) -> bytes:
    """The bytes of the shipped picture *name*, one of PICTURES."""
    return (files("archiver.local") / "samples" / name).read_bytes()


def draw_picture(number: int) -> bytes:
    """A valid PNG of 32 × 32 pixels, RGB, about 1 KiB; another one for every *number*, the same at every call."""
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
    """One chunk, PNG specification section 5.3: length, type, data, CRC-32 of type and data."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
