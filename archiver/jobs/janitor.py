"""
Removes what no message comes back for: unfinished uploads, and the records that they were left with.

    upload of a finished job     aborted with all others of its key, when the job ends
    of a rejected message        aborted, if that message was the last one that was worked on
    older than any message       aborted by each worker, once an hour, and by `archiver sweep`
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from archiver.core.receipt import is_record
from archiver.errors import ArchiverError
from archiver.jobs.records import Bucket, Records
from archiver.ports import Hold, UnfinishedUpload

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 3600.0
LONGEST_JOB = timedelta(hours=13)  # the longest lease, and an hour for clocks that differ

_ARCHIVE_KEY = re.compile(r"[0-9a-f]{64}/[^/]+\.zip")


@dataclass(frozen=True, slots=True)
class Leftover:
    """An unfinished *upload* (id; "" if it is gone) of *key*, its *record* (key; "": none), and how old they are."""

    key: str
    upload: str
    record: str
    since: datetime


class Janitor:
    """
    Of one source, whose messages are kept for *retention*. *source*: its hash; records of others are left alone.
    """

    def __init__(self, bucket: Bucket, source: str, retention: timedelta) -> None:
        self._bucket = bucket
        self._records = Records(bucket)
        self._source = source
        self._retention = max(retention, LONGEST_JOB)

    async def after_cancellation(self, archive_key: str, hold: Hold) -> None:
        """Discard all builds of a cancelled job. Raises LeaseLost."""
        for listed in await self._records.list(archive_key):
            record = await self._records.read(listed.key)
            if record is not None:
                await self._records.discard(listed.key, record, hold)

    async def after_rejection(self, archive_key: str, message_id: str, hold: Hold) -> bool:
        """
        Discard the builds that the rejected message has left, unless another message of the job goes on with them.
        Return whether there are such builds. Raises LeaseLost.
        """
        spared, alive = False, datetime.now(UTC) - LONGEST_JOB
        for listed in await self._records.list(archive_key):
            record = await self._records.read(listed.key)
            if record is not None and record.source == self._source and record.message == message_id:
                await self._records.discard(listed.key, record, hold)
            else:
                spared |= listed.modified >= alive
        return spared

    async def find(self, now: datetime, *, unrecorded: bool = False) -> AsyncIterator[Leftover]:
        """
        Yield the uploads with records of this source that no message comes back for. *unrecorded*: also those without
        one, which only their own worker could finish. Raises TransientError, ConfigurationError.
        """
        for upload in await self._bucket.uploads.list():
            if upload.begun >= now - (LONGEST_JOB if unrecorded else self._retention):
                continue
            if _ARCHIVE_KEY.fullmatch(upload.key) and (found := await self._judge(upload, now, unrecorded=unrecorded)):
                yield found

    async def _judge(self, upload: UnfinishedUpload, now: datetime, *, unrecorded: bool) -> Leftover | None:
        """Return *upload* if it is left over. Raises TransientError, ConfigurationError: it may have a record."""
        for listed in await self._records.find(upload.key):
            record = await self._records.read(listed.key)
            if record is None or record.upload == upload.id:
                own = record is not None and record.source == self._source
                old = max(upload.begun, listed.modified) < now - self._retention
                return Leftover(upload.key, upload.id, listed.key, upload.begun) if own and old else None
        return Leftover(upload.key, upload.id, "", upload.begun) if unrecorded else None

    async def find_records(self, now: datetime) -> AsyncIterator[Leftover]:
        """
        Yield the records of this source that no message comes back for, whether their upload exists or not. It looks at
        every key of the bucket. Raises as `find` does.
        """
        for first in "0123456789abcdef":  # so that not all keys are in memory at once
            for listed in await self._bucket.receipts.list(first):
                if not is_record(listed.key) or listed.modified >= now - self._retention:
                    continue
                record = await self._records.read(listed.key)
                if record is not None and record.source == self._source:
                    yield Leftover(record.receipt.key, record.upload, listed.key, listed.modified)

    async def remove(self, leftover: Leftover) -> None:
        """Raises TransientError, ConfigurationError."""
        if leftover.record:
            await self._bucket.receipts.delete(leftover.record)
        if leftover.upload:  # as the last, since the bucket's lifecycle rule would abort it
            await self._bucket.uploads.abort(leftover.key, leftover.upload)
        log.info("build.swept", key=leftover.key, since=leftover.since.isoformat(timespec="seconds"))

    async def sweep(self) -> None:
        """Remove the uploads with records that no message comes back for. Each failure is logged, and the rest done."""
        try:
            async for leftover in self.find(datetime.now(UTC)):
                try:
                    await self.remove(leftover)
                except ArchiverError as error:
                    log.warning("build.unswept", key=leftover.key, reason=str(error))
        except ArchiverError as error:
            log.warning("build.unswept", reason=str(error))

    @asynccontextmanager
    async def sweeping(self, seconds: float = SWEEP_SECONDS) -> AsyncIterator[None]:
        """Sweep once in so many *seconds*, for the time of the block."""

        async def work() -> None:
            while True:
                await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - workers that started together
                await self.sweep()

        task = asyncio.create_task(work(), name="janitor")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
