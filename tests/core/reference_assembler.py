"""The simplest assembler there is: the whole archive in memory, filled in a random order."""

from array import array
from random import Random
from zlib import crc32

from archiver.core.layout import Layout
from archiver.core.plan import Member


def inline_bodies(members: list[Member]) -> list[bytes]:
    """The bodies of members that bring their own."""
    return [member.content for member in members if isinstance(member.content, bytes)]


def assemble(layout: Layout, seed: int = 0) -> list[bytearray]:
    """
    Build the parts of *layout*, whose members are inline. Every byte is placed exactly once, or this fails.

    Reads come in a random order, headers after all of them.
    """
    bodies = inline_bodies(list(layout.members))
    parts = [bytearray(layout.part_length(part)) for part in range(layout.parts)]
    missing = [len(part) for part in parts]

    def put(offset: int, data: bytes) -> None:
        taken = 0
        for part, start, length in layout.split(offset, len(data)):
            assert start + length <= len(parts[part])
            parts[part][start : start + length] = data[taken : taken + length]
            missing[part] -= length
            taken += length
        assert taken == len(data)

    reads = list(layout.reads())
    Random(seed).shuffle(reads)
    for read in reads:
        put(read.offset, bodies[read.member][read.start : read.start + read.length])
    crcs = array("I", map(crc32, bodies))
    for index, crc in enumerate(crcs):
        put(layout.header_offset(index), layout.header_bytes(index, crc))
    offset = layout.directory_offset
    for block in layout.directory(crcs):
        put(offset, block)
        offset += len(block)
    assert offset == layout.length
    assert not any(missing)
    return parts
