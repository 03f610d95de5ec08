"""Records of unfinished uploads, as they are found in the bucket of the archives."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from archiver.core.build_record import BuildRecord, decode_record
from archiver.core.locations import Location
from archiver.core.receipt import ListedObject, folder_of, is_record
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
            listed = await retry_transient(
                lambda: self._bucket.receipts.list(folder_of(archive_key)), tries=3, seconds=0
            )
        except LeaseLost:
            raise
        except ArchiverError as error:
            log.warning("build.records_unknown", key=archive_key, reason=str(error))
            return ()
        return sorted((one for one in listed if is_record(one.key)), key=lambda one: one.modified, reverse=True)

    async def read(self, key: str) -> BuildRecord | None:
        """Return the record at *key*; None, which is logged, if there is none that can be read. Raises LeaseLost."""
        parser = ReceiptParser()
        try:
            found = await find_receipt(self._bucket.fetcher, Location(self._bucket.name, key))
            if found is None:
                return None
            members = [member async for member in read_members(self._bucket.fetcher, found, parser)]
            return decode_record(parser, members)
        except LeaseLost:
            raise
        except (ArchiverError, UnreadableReceiptError) as error:
            log.warning("build.record_unreadable", key=key, reason=str(error))
            return None

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
