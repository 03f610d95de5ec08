"""Keeps the record of one unfinished upload (`core.build_record`): begun, written again, left, removed."""

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

import structlog

from archiver.core.attributes import Attributes
from archiver.core.build_record import BuildRecord, encode_record
from archiver.core.kept import Checksums
from archiver.core.layout import MIB
from archiver.core.ledger import Ledger
from archiver.core.receipt import record_key
from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.jobs.receipt import clean_up
from archiver.ports import Hold
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient

log = structlog.get_logger(__name__)

WRITE_SECONDS = 5.0  # between two writes of a record
WRITE_BYTES = 64 * MIB  # or after so many bytes of parts
MAX_SHARE = 50  # a record takes at most this part of the bytes, and of the time
LAST_WRITE_SECONDS = 5.0  # for the last write: a worker that stops has little time left


@dataclass(frozen=True, slots=True)
class Place:
    """Where records are kept, and with which *attributes*; *hold*: of the job."""

    receipts: Receipts
    attributes: Attributes
    hold: Hold


class RecordKeeper:
    """
    The Record of one upload. *record*: what is known before; *sums* grow while the archive of *layout* is built.

    It is written by the task that is about to send a part, if the last time is long ago, so that nothing is known only
    of parts that were sent since. A write that fails is logged: the next one may work, and without it the next worker
    reads some objects again.
    """

    def __init__(
        self,
        place: Place,
        record: BuildRecord,
        layout: Ledger,
        sums: Checksums,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._place = place
        self._record = record
        self._layout = layout
        self._sums = sums
        self._clock = clock
        self.key = record_key(record.receipt.key, record.receipt.token)
        self._may_exist = self._is_there = self._writing = False
        self._written_at = self._took = 0.0
        self._unwritten = self._length = 0

    async def begin(self, upload_id: str) -> None:
        self._record = replace(self._record, upload=upload_id)
        await self._try_to_write(tries=3)
        if not self._is_there:
            log.warning("build.unrecorded", key=self.key)

    async def before_part(self, size: int) -> None:
        self._unwritten += size
        if self._is_there and not self._writing and self._is_due():
            await self._try_to_write()

    def _is_due(self) -> bool:
        passed = self._clock() - self._written_at
        if passed < MAX_SHARE * self._took:
            return False
        return passed >= WRITE_SECONDS or self._unwritten >= max(WRITE_BYTES, MAX_SHARE * self._length)

    async def leave(self) -> bool:
        if not self._is_there:
            return False
        try:
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await self._try_to_write()
        except (LeaseLost, TimeoutError) as error:
            log.info("build.left_unwritten", key=self.key, reason=str(error) or "no answer in time")
        log.info("build.left", key=self.key, parts=len(self._sums.parts), of=self._layout.parts)
        return True

    async def remove(self) -> None:
        if self._may_exist:
            self._is_there = False
            await clean_up("build.orphaned", self.key, lambda: self._place.receipts.delete(self.key))

    async def _try_to_write(self, tries: int = 1) -> None:
        self._writing, begun, sent = True, self._clock(), self._unwritten
        snapshot = Checksums(array("I", self._sums.members), dict(self._sums.parts))
        try:
            body = await run_offloaded_if_large(
                len(self._layout.members), encode_record, self._record, self._layout, snapshot
            )
            await retry_transient(lambda: self._put(body), tries=tries, seconds=0)
            self._is_there, self._length = True, len(body)
            self._unwritten -= sent
        except (TransientError, ConfigurationError) as error:
            log.warning("build.unwritten", key=self.key, reason=str(error))
        finally:
            self._written_at = self._clock()
            self._writing, self._took = False, self._written_at - begun

    async def _put(self, body: bytes) -> None:
        self._place.hold.confirm()
        self._may_exist = True
        await self._place.receipts.put(self.key, body, self._place.attributes)
