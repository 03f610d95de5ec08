"""Records of unfinished uploads, as they are found in the bucket of the archives."""

from array import array
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from archiver.core.build_record import BuildRecord, decode_record
from archiver.core.locations import Location
from archiver.core.plan import ObjectVersion
from archiver.core.receipt import ListedObject, folder_of, is_record, record_key
from archiver.core.receipt_parser import ReceiptParser, UnreadableReceiptError
from archiver.errors import ArchiverError, LeaseLost
from archiver.ports import Hold, UnfinishedUploads
from archiver.stages.fetch import Fetcher
from archiver.stages.receipt import Receipts, find_receipt, read_members
from archiver.stages.retry import retry_transient

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket of the archives: its *name*, the *uploads* and the *receipts* in it, and what reads these."""

    name: str
    uploads: UnfinishedUploads
    receipts: Receipts
    fetcher: Fetcher


class Records:
    """The records in *bucket*."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def list(self, archive_key: str) -> Sequence[ListedObject]:
        """
        Return the records of the unfinished uploads of *archive_key*, the last one first. None if that can't be known:
        a build may begin anew. Raises LeaseLost.
        """
        try:
            return await self.find(archive_key)
        except LeaseLost:
            raise
        except ArchiverError as error:
            log.warning("build.records_unknown", key=archive_key, reason=str(error))
            return ()

    async def find(self, archive_key: str) -> Sequence[ListedObject]:
        """Like `list`, for whoever has to know. Raises TransientError, ConfigurationError."""
        listed = await retry_transient(lambda: self._bucket.receipts.list(folder_of(archive_key)), tries=3, seconds=0)
        return sorted((one for one in listed if is_record(one.key)), key=lambda one: one.modified, reverse=True)

    async def read(self, key: str, members: int | None = None) -> BuildRecord | None:
        """
        Return the record at *key* of an archive of so many *members*; None: without the CRC-32 of any member, of an
        archive of any number. Return None, which is logged, if there is none that can be read. Raises LeaseLost.
        """
        try:
            found = await find_receipt(self._bucket.fetcher, Location(self._bucket.name, key))
            return None if found is None else await self._read(key, found, members)
        except LeaseLost:
            raise
        except (ArchiverError, UnreadableReceiptError) as error:
            log.warning("build.record_unreadable", key=key, reason=str(error))
            return None

    async def _read(self, key: str, found: tuple[ObjectVersion, int], members: int | None) -> BuildRecord:
        """Nothing is read that is longer than a record of *members*. Raises UnreadableReceiptError, as it."""
        parser, crcs = ReceiptParser(), array("I")
        async with aclosing(read_members(self._bucket.fetcher, found, parser)) as lines:
            async for member in lines:
                if members is None:
                    break
                if len(crcs) == members:
                    raise UnreadableReceiptError("it has more members than the archive")
                crcs.append(member.crc32)
        record = decode_record(parser, crcs if members is not None else None)
        if (record.receipt.bucket, record_key(record.receipt.key, record.receipt.token)) != (self._bucket.name, key):
            raise UnreadableReceiptError("it is the record of another archive")
        return record

    async def discard(self, key: str, record: BuildRecord, hold: Hold | None = None) -> bool:
        """
        Abort the upload of *record*, and delete it. Return whether that was done: a failure is logged. Raises LeaseLost
        if *hold* is lost.
        """
        if hold is not None:
            hold.confirm()
        try:
            await retry_transient(
                lambda: self._bucket.uploads.abort(record.receipt.key, record.upload), tries=3, seconds=0
            )
            await retry_transient(lambda: self._bucket.receipts.delete(key), tries=3, seconds=0)
        except LeaseLost:
            raise
        except ArchiverError as error:
            log.warning("build.undiscarded", key=key, reason=str(error))
            return False
        return True
