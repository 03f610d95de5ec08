"""Read the number of members from the end records of a zip."""

from struct import Struct

# Bytes of zip64 end record, its locator and end record (APPNOTE 4.3.14 to 4.3.16), as both writers here write them.
TAIL_LENGTH = 98

_END64 = Struct("<4sQ2H2I4Q")
_LOCATOR = Struct("<4sIQI")
_END = Struct("<4s4H2IH")


def read_member_count(tail: bytes) -> int | None:
    """
    Return the number of entries of the central directory, from the last `TAIL_LENGTH` bytes of an archive (all of a
    shorter one). None if they are not the end of a zip.
    """
    if len(tail) < _END.size:
        return None
    signature, _, _, _, members, _, _, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6" or comment:
        return None
    if len(tail) < TAIL_LENGTH or tail[-_END.size - _LOCATOR.size :][:4] != b"PK\6\7":
        return int(members)
    signature, _, _, _, _, _, _, members, _, _ = _END64.unpack(tail[-TAIL_LENGTH : -_END.size - _LOCATOR.size])
    return int(members) if signature == b"PK\6\6" else None
