"""
Receipts: written before their archive appears, read to answer a job again, and swept if no archive has them.

Who may delete a receipt, and why no archive is left without its own:

- The upload that wrote it, if its archive can't appear any more: nothing was sent to publish it, or the store refused
  it, or the key has another archive.
- A finished job: all others of its key, because a later write to a key that has an archive is refused. The uploads of
  the key are aborted before that.
- A rejected job: those older than any lease, except the one of the archive at the key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from archiver.core.archive_metadata import ArchiveMetadata, from_s3_metadata
from archiver.core.attributes import NO_ATTRIBUTES, Attributes
from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.plan import ArchiveSummary, summarize_without_receipt
from archiver.core.receipt import Contents, Receipt, encode_receipt, folder_of, leftover_receipts, receipt_key
from archiver.core.receipt_parser import UnreadableReceiptError
from archiver.ports import Hold, ObjectStore
from archiver.stages.fetch import Fetcher
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.receipt import Receipts, find_receipt, read_head
from archiver.stages.retry import retry_transient

log = structlog.get_logger(__name__)

WRITE_RETRY_SECONDS = 60.0  # as for the other calls of an upload
CLEANUP_SECONDS = 15.0  # for one clean-up with all its tries: a job is ending, and the next one cleans up as well


class ReceiptWriter:
    """
    The Seal of one upload, to be written at *key* with *attributes*. *receipt*: what is known before the archive is
    built.
    """

    def __init__(
        self, receipts: Receipts, receipt: Receipt, hold: Hold, attributes: Attributes = NO_ATTRIBUTES
    ) -> None:
        self._receipts = receipts
        self._receipt = receipt
        self._hold = hold
        self._attributes = attributes
        self.key = receipt_key(receipt.key, receipt.token)
        self._may_exist = False

    async def write(self, contents: Contents, size: int, crc32: int) -> None:
        receipt = replace(self._receipt, size=size, crc32=crc32, created=datetime.now(UTC))
        body = await run_offloaded_if_large(len(contents.members), encode_receipt, receipt, contents)

        async def put() -> None:
            self._hold.confirm()
            self._may_exist = True
            await self._receipts.put(self.key, body, self._attributes)

        await retry_transient(put, seconds=WRITE_RETRY_SECONDS)

    async def discard(self) -> None:
        if self._may_exist:
            await clean_up("receipt.orphaned", self.key, lambda: self._receipts.delete(self.key))


async def describe_finished(
    fetcher: Fetcher, draft: Draft, archive: Location, metadata: ArchiveMetadata
) -> tuple[ArchiveSummary, str | None]:
    """
    Return what the *archive* of *draft* contains, from its receipt, and the receipt's key; None if it is gone.

    Without the receipt, the request says what was asked for, and the archive's *metadata* how much of it is there.
    Raises TransientError, ConfigurationError.
    """
    receipt = Location(archive.bucket, receipt_key(archive.key, metadata.token))
    try:
        found = await find_receipt(fetcher, receipt)
        if found is None:
            return summarize_without_receipt(draft, metadata.files, metadata.outcome), None
        return (await read_head(fetcher, found)).outcome, receipt.key
    except UnreadableReceiptError as error:
        log.warning("receipt.unreadable", key=receipt.key, reason=str(error))
        return summarize_without_receipt(draft, metadata.files, metadata.outcome), receipt.key


async def sweep_others(receipts: Receipts, archive_key: str, own: str | None, hold: Hold) -> None:
    """
    Delete all receipts of *archive_key* but *own*, that of its finished archive. *hold* is confirmed before each: a
    process that was suspended for days may find another archive. A failure is logged.
    """

    async def sweep() -> None:
        for key in leftover_receipts(archive_key, await receipts.list(folder_of(archive_key))):
            if key != own:
                hold.confirm()
                await receipts.delete(key)

    await clean_up("receipt.unswept", archive_key, sweep)


async def sweep_abandoned(
    receipts: Receipts, store: ObjectStore, archive_key: str, before: datetime, hold: Hold
) -> None:
    """
    Delete the receipts of *archive_key* from *before* that time that no archive has, as `sweep_others` does.
    """

    async def sweep() -> None:
        listed = await receipts.list(folder_of(archive_key))
        leftover = leftover_receipts(archive_key, listed, before)
        if not leftover:
            return
        existing = await store.find(archive_key)
        metadata = from_s3_metadata(existing.metadata) if existing else None
        if metadata is None and (existing or any(one.key == archive_key for one in listed)):
            return  # which receipt belongs to the archive can't be read
        own = receipt_key(archive_key, metadata.token) if metadata else None
        for key in leftover:
            if key != own:
                hold.confirm()
                await receipts.delete(key)

    await clean_up("receipt.unswept", archive_key, sweep)


async def clean_up(event: str, key: str, call: Callable[[], Awaitable[None]]) -> None:
    """Try *call* a few times. Never raises: what remains is logged as *event*, and swept later."""
    try:
        async with asyncio.timeout(CLEANUP_SECONDS):
            await retry_transient(call, tries=3, seconds=0)
    except Exception as error:  # noqa: BLE001 - it must not replace the outcome of the job
        log.warning(event, key=key, reason=str(error) or "no answer in time")
