"""What becomes of an object that is to be changed: deleted, copied, or created."""

from dataclasses import dataclass
from typing import Literal

from archiver.core.locations import Location

Outcome = Literal[
    "done",
    "source_changed",
    "source_missing",
    "source_denied",
    "name_conflict",
    "not_conditional",
    "not_copied",
]
"""
`done`, or why the object is as it was: it is another version; it is not there; permission is refused; another object
has the target's key; the store can't delete on a condition; its copy could not be made, or is not the same.
"""


@dataclass(frozen=True, slots=True)
class Original:
    """One version of an object: *etag* with quotes, *size* in bytes, and the CRC-32 of its bytes."""

    location: Location
    etag: str
    size: int
    crc32: int
