"""
Builds that resume: the next worker goes on with the upload that an earlier one has left.

    record ─▶ same archive? ─▶ parts in the store ─▶ what is kept of them

An upload is gone on with only if its record has the digest of the members that were planned now, with the ETags that
their objects have now. Otherwise it is aborted, and the build begins anew.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from archiver.core.archive_metadata import ArchiveMetadata, to_s3_metadata
from archiver.core.build_record import BuildRecord, digest_of
from archiver.core.kept import Checksums, StoredPart, keep
from archiver.core.layout import BUFFERS_PER_JOB, Layout
from archiver.core.ledger import Ledger
from archiver.core.plan import Plan
from archiver.core.receipt import Receipt
from archiver.errors import ArchiverError, LeaseLost
from archiver.jobs.record_keeper import Place, RecordKeeper
from archiver.jobs.records import Bucket, Records
from archiver.ports import Hold, Target
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.retry import retry_transient
from archiver.stages.upload import Resumable

if TYPE_CHECKING:
    from archiver.core.copies import CopyPlan

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """
    One build of an archive that can be left. *token* and *part_size*: of its upload. *copied*: what the store copies of
    it, None: nothing.
    """

    token: str
    part_size: int
    resumable: Resumable
    copied: "CopyPlan | None" = None


class Resumes:
    """
    Opens builds of at least *threshold* bytes of files. *source*: hash of the source of messages. *budget*: bytes of
    buffers; a part has at most a third of it.
    """

    def __init__(self, bucket: Bucket, *, threshold: int, source: str, budget: int) -> None:
        self._bucket = bucket
        self._records = Records(bucket)
        self.threshold = threshold
        self._source = source
        self._max_part_size = budget // BUFFERS_PER_JOB

    async def open(
        self, plan: Plan, target: Target, hold: Hold, copied: "CopyPlan | None" = None, *, may_copy: bool = True
    ) -> Session | None:
        """
        Return a build that goes on with what an earlier worker has left, or one that can be left; None if the archive
        is too small for that, or compressed: then no part has an address before all before it are made.

        *copied*: what the store copies of a build that is begun now. What an earlier worker has left goes on with the
        parts that its record tells of, copied or not, unless not *may_copy*.

        Raises LeaseLost, Rejected (`too_large`).
        """
        if plan.deflates or sum(member.size for member in plan.members) < self.threshold:
            return None
        for listed in await self._records.list(target.key):
            session = await self._try_to_resume(listed.key, plan, target, hold, may_copy=may_copy)
            if session is not None:
                return session
        ledger = await self._ledger(plan, copied)
        receipt = Receipt(self._bucket.name, target.key, secrets.token_hex(16), plan.request_hash, plan.outcome)
        digest = await self._digest(plan, target, ledger.part_size, copied)
        record = BuildRecord(receipt, "", ledger.part_size, digest, self._source, target.message_id)
        return self._session(
            replace(record, copies=copied.limits if copied is not None else None), ledger, hold, target, copied
        )

    def _session(
        self, record: BuildRecord, ledger: Ledger, hold: Hold, target: Target, copied: "CopyPlan | None"
    ) -> Session:
        sums = Checksums()
        place = Place(self._bucket.receipts, target.attributes.of_receipt, hold)
        keeper = RecordKeeper(place, record, ledger, sums)
        return Session(record.receipt.token, ledger.part_size, Resumable(keeper, hold, sums), copied)

    async def _ledger(self, plan: Plan, copied: "CopyPlan | None", part_size: int | None = None) -> Ledger:
        """*part_size*: chosen unless given."""
        count, members = len(plan.members), plan.members
        if copied is not None:
            from archiver.core.copy_ledger import copied_ledger  # noqa: PLC0415 - nothing of it where it is off

            return await run_offloaded_if_large(count, copied_ledger, members, copied)
        if part_size is not None:
            return await run_offloaded_if_large(count, Layout, members, part_size)
        return await run_offloaded_if_large(count, Layout.for_max_part, members, self._max_part_size)

    async def _digest(self, plan: Plan, target: Target, part_size: int, copied: "CopyPlan | None") -> str:
        options = target.attributes.headers
        return await run_offloaded_if_large(
            len(plan.members), digest_of, plan.members, plan.request_hash, part_size, options, copied
        )

    async def _try_to_resume(
        self, key: str, plan: Plan, target: Target, hold: Hold, *, may_copy: bool
    ) -> Session | None:
        record = await self._records.read(key, len(plan.members))
        if record is None:
            return None
        try:
            copied = await self._copied(record, plan, may_copy=may_copy)
            if record.digest == await self._digest(plan, target, record.part_size, copied):
                return await self._resume(record, plan, target, hold, copied)
            reason = "it is of other objects, or of other versions of them"
        except LeaseLost:
            raise
        except (ValueError, ArchiverError) as error:  # also of a store that can't list parts
            reason = str(error)
        log.info("build.begun_anew", key=key, reason=reason)
        await self._records.discard(key, record, hold)
        return None

    async def _copied(self, record: BuildRecord, plan: Plan, *, may_copy: bool) -> "CopyPlan | None":
        """
        Return what the store copies of the build of *record*, whatever this worker's settings are. Raises ValueError if
        this worker can't go on with it.
        """
        if record.part_size > self._max_part_size:
            raise ValueError("its parts are larger than a third of MEMORY_BUDGET_MIB")
        if record.copies is None:
            return None
        if not may_copy:
            raise ValueError("the store has refused to copy")
        from archiver.core.copies import plan_copies  # noqa: PLC0415 - nothing of it where it is off

        copied = await run_offloaded_if_large(len(plan.members), plan_copies, plan.members, record.copies)
        if copied is None or copied.part_size != record.part_size:
            raise ValueError("its parts are not those of these objects")
        return copied

    async def _resume(
        self, record: BuildRecord, plan: Plan, target: Target, hold: Hold, copied: "CopyPlan | None"
    ) -> Session:
        """Raises ValueError: the upload is gone, or its parts are not those of the archive."""
        token = record.receipt.token
        metadata = ArchiveMetadata(plan.request_hash, token, plan.outcome.files, plan.outcome.status, target.message_id)
        described = replace(target, metadata=to_s3_metadata(metadata), part_size=record.part_size)
        found = await retry_transient(lambda: self._bucket.uploads.resume(described, record.upload), tries=3)
        if found is None:
            raise ValueError("the store has no such upload any more")
        multipart, stored = found
        ledger = await self._ledger(plan, copied, record.part_size)
        kept = await run_offloaded_if_large(len(plan.members), keep, ledger, record.crcs, record.parts, stored)
        own = replace(record, source=self._source, message=target.message_id, parts={**record.parts, **kept.parts})
        session = self._session(own, ledger, hold, target, copied)
        resumable = session.resumable
        resumable.sums.parts.update(kept.parts)
        resumable.kept, resumable.multipart = kept, multipart
        await resumable.record.begin(record.upload)
        log.info("build.resumed", key=target.key, kept=len(kept.parts), parts=ledger.parts, stored=_total(stored))
        return session


def _total(stored: Sequence[StoredPart]) -> int:
    return sum(part.size for part in stored)
