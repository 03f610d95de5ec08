"""Read the manifest of a request, pinned to one version, piece by piece."""

import asyncio

from archiver.core.locations import Location
from archiver.core.manifest import MAX_MANIFEST_BYTES, ManifestParser, ManifestRules
from archiver.core.objects import ObjectInfo
from archiver.core.outline import Outline
from archiver.core.plan import ObjectVersion
from archiver.errors import Rejected, SourceChanged
from archiver.stages.fetch import Fetcher

PIECE_BYTES = 256 * 1024
"""Bytes that are read at once, and then parsed in a thread."""

MAX_READS = 4  # of a manifest that keeps changing, the first one included


async def read_manifest(location: Location, info: ObjectInfo, fetcher: Fetcher, rules: ManifestRules) -> Outline:
    """
    Return the outline of the manifest's entries. *info*: of its first version; if it changes, it is read anew.

    Raises Rejected (`invalid_request`, `too_large`, `source_changed`, and what `ManifestParser` raises),
    SourceUnavailable, TransientError, CredentialsRefused.
    """
    for _ in range(MAX_READS):
        try:
            return await _read_version(ObjectVersion(location, info.etag), info.size, fetcher, rules)
        except SourceChanged as error:
            reason = error.detail
            info = await fetcher.head(location)
    raise Rejected("source_changed", f"the manifest {location} changed each time that it was read: {reason}")


async def _read_version(version: ObjectVersion, size: int, fetcher: Fetcher, rules: ManifestRules) -> Outline:
    if size > MAX_MANIFEST_BYTES:
        raise Rejected(
            "too_large", f"the manifest {version.location} has {size:,} bytes; at most {MAX_MANIFEST_BYTES:,} are read"
        )
    parser = ManifestParser(str(version.location), rules)
    piece = bytearray(min(size, PIECE_BYTES))
    for start in range(0, size, PIECE_BYTES):
        view = memoryview(piece)[: min(PIECE_BYTES, size - start)]
        await fetcher.read(version, start, [view])
        await asyncio.to_thread(parser.feed, bytes(view))
    return await asyncio.to_thread(parser.finish)
