"""The bytes of one range of an object, received into their final place and checked."""

from typing import TYPE_CHECKING

from archiver.core.plan import ObjectVersion
from archiver.errors import TransientError
from archiver.stages.checksums import combine_view_crcs, crc32

if TYPE_CHECKING:
    from archiver.stages.fetch import Fetcher


async def receive(
    fetcher: "Fetcher", pinned: ObjectVersion, start: int, views: list[memoryview], *, is_whole: bool
) -> list[int]:
    """
    Read the object's bytes from *start* into *views* and return the CRC-32 of each view. *is_whole*: they are all its
    bytes, so that they are checked against the store's CRC-32. Raises as `Fetcher.read` does.
    """
    for _ in range(2):  # bytes damaged in transit may arrive intact the second time
        await fetcher.read(pinned, start, views)
        crcs = [crc32(view) for view in views]
        if not is_whole or pinned.crc32 is None or combine_view_crcs(crcs, views) == pinned.crc32:
            return crcs
    raise TransientError(f"{pinned.location}: the bytes received do not have the object's CRC-32")
