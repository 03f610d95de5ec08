"""What is known of a part, or of a large member, while its bytes arrive in any order."""

from dataclasses import dataclass, field

from archiver.stages.checksums import combine_crcs, crc32

MAX_CRC_PIECES = 64  # of one part


@dataclass(slots=True)
class PartBuffer:
    """
    The buffer of one part, which begins at the offset *begin* of the archive. *remaining*: bytes that are not placed
    yet. *pieces*: (start, length, CRC-32) of the bytes that are placed. Combining these is cheaper than a second pass
    over the part, which costs a tenth of all work. None: too many pieces for that to be cheaper.
    """

    view: memoryview
    begin: int
    room: int
    """Bytes of the part, as far as they are known."""
    pieces: list[tuple[int, int, int]] | None = field(default_factory=list)
    remaining: int = field(init=False)

    def __post_init__(self) -> None:
        self.remaining = self.room

    def place(self, offset: int, header: bytes, body: bytes | memoryview) -> bool:
        """
        Put *header* and *body* at *offset* of the archive, as it is done for most small members. Return False if they
        are not in this part alone, or complete it, or if the part's CRC-32 is combined from theirs.
        """
        start = offset - self.begin
        body_start = start + len(header)
        end = body_start + len(body)
        if start < 0 or end > self.room or end - start >= self.remaining or self.pieces is not None:
            return False
        self.view[start:body_start] = header
        self.view[body_start:end] = body
        self.remaining -= end - start
        return True

    def add_crc(self, start: int, length: int, crc: int) -> None:
        if self.pieces is not None:
            self.pieces.append((start, length, crc))
            if len(self.pieces) > MAX_CRC_PIECES:
                self.pieces = None

    def crc32(self, size: int) -> int:
        return crc32(self.view[:size]) if self.pieces is None else combine_crcs(self.pieces)


@dataclass(slots=True)
class PartialMember:
    """A member that is read in several ranges: the bytes still missing and the CRCs of the ranges received."""

    remaining: int
    crcs: list[tuple[int, int, int]] = field(default_factory=list)  # (start, length, CRC-32)
