"""
After an archive: it is looked at again, its receipt is read, and what the request asks for is done.

    archive verified ─▶ receipt read ─▶ objects deleted or moved ─▶ flag ─▶ answer

A redelivery begins with the archive, which is there, and repeats the rest.
"""

from collections.abc import AsyncIterator

import structlog

from archiver.core.after import AfterOrder, AfterResult
from archiver.core.archive_metadata import from_s3_metadata
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.core.receipt import receipt_key
from archiver.core.receipt_parser import ReceiptMember, ReceiptParser, UnreadableReceiptError
from archiver.ports import Hold, ObjectStore, StoredArchive
from archiver.stages.after import AfterStage
from archiver.stages.fetch import Fetcher
from archiver.stages.receipt import find_receipt, read_head, read_members
from archiver.stages.upload import find

log = structlog.get_logger(__name__)


class AfterJob:
    """One for the process. *store*: where the archives are; *fetcher* reads their receipts."""

    def __init__(self, stage: AfterStage, store: ObjectStore, fetcher: Fetcher) -> None:
        self._stage = stage
        self._store = store
        self._fetcher = fetcher

    async def run(self, order: AfterOrder, archive: Location, hold: Hold) -> AfterResult:
        """
        Do what *order* says with the objects in *archive*. Raises TransientError, ConfigurationError, LeaseLost.
        """
        result = await self._run(order, archive, hold)
        log.info(
            "job.after",
            action=result.action,
            done=result.done,
            kept=len(result.kept),
            problem=result.problem,
            flag=result.flag is not None,
        )
        return result

    async def _run(self, order: AfterOrder, archive: Location, hold: Hold) -> AfterResult:
        existing = await find(self._store, archive.key)
        metadata = None if existing is None else from_s3_metadata(existing.metadata)
        if existing is None or metadata is None:
            return AfterResult(order.action, problem="archive_unverified")
        location = Location(archive.bucket, receipt_key(archive.key, metadata.token))
        try:
            found = await find_receipt(self._fetcher, location)
            if found is None:
                return AfterResult(order.action, problem="receipt_missing")
            if not await self._is_whole(found, existing, archive):
                return AfterResult(order.action, problem="archive_unverified")
            return await self._stage.run(order, lambda: self._members(found), hold.confirm)
        except UnreadableReceiptError as error:
            log.warning("receipt.unreadable", key=location.key, reason=str(error))
            return AfterResult(order.action, problem="receipt_missing")

    async def _is_whole(self, found: tuple[ObjectVersion, int], existing: StoredArchive, archive: Location) -> bool:
        """
        Whether the archive is the one that the receipt is of, with all of its bytes. Without a CRC-32 of the store's
        own that is not known. The receipt itself has to be whole as well: its last line says so.
        """
        receipt = await read_head(self._fetcher, found)
        if (receipt.bucket, receipt.key) != (archive.bucket, archive.key):
            return False
        if (receipt.size, receipt.crc32) != (existing.size, existing.crc32):
            return False
        async for _ in self._members(found):  # raises unless it is complete
            pass
        return True

    def _members(self, found: tuple[ObjectVersion, int]) -> AsyncIterator[ReceiptMember]:
        return read_members(self._fetcher, found, ReceiptParser())
