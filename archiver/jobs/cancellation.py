"""
Cancelling jobs: a mark beside the archive's key ends the job, as long as its archive is not being published.

    who        `archiver cancel JOB_ID`, or a message {"cancel": "JOB_ID"}, writes the mark
    running    the job looks for it at its start and once in a lease renewal, wherever it is: planning, building, parked
    published  from the moment the archive is being published, the job goes on: a finished archive can't be cancelled
    later      a job that comes while the mark is there is answered `cancelled`, too, until `archiver cancel --undo`
"""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog

from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import archive_digest, archive_key
from archiver.core.messages import Cancelled, Request
from archiver.core.receipt import mark_key
from archiver.errors import ConfigurationError, JobCancelled, LeaseLost, TransientError
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold, ObjectStore, QueueFacts
from archiver.stages.progress import Progress
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient
from archiver.stages.upload import find

log = structlog.get_logger(__name__)

MARK = gzip.compress(b'{"cancelled":true}\n', mtime=0)
RENEWAL_FRACTION = 1 / 3  # of the visibility timeout, as the lease


class Cancellation:
    """Looks for marks, every *period* seconds while a job runs. *store* has the archives."""

    def __init__(self, store: ObjectStore, period: float) -> None:
        self._store = store
        self._period = period

    @classmethod
    def of(cls, store: ObjectStore, facts: QueueFacts) -> "Cancellation":
        """Looks as often as leases are renewed."""
        return cls(store, facts.visibility * RENEWAL_FRACTION)

    @asynccontextmanager
    async def watch(self, archive_key: str, hold: Hold) -> AsyncIterator[Hold]:
        """
        Yield the hold to publish the archive at *archive_key* with: from its first `confirm` on, nothing is cancelled.
        Before that, a mark cancels the block. Raises JobCancelled.
        """
        if await self._is_marked(archive_key):
            raise JobCancelled(archive_key)
        scope = asyncio.timeout(None)
        publishing = _Publishing(hold, scope)
        try:
            async with scope:
                watcher = asyncio.create_task(self._watch(archive_key, publishing), name="cancel.watch")
                try:
                    yield publishing
                finally:
                    watcher.cancel()
                    await asyncio.wait([watcher])
        except LeaseLost:
            raise
        except Exception as error:
            # A task group that was failing already swallows the cancellation: ignore its error.
            if scope.expired():
                raise JobCancelled(archive_key) from error
            raise

    async def _watch(self, archive_key: str, publishing: "_Publishing") -> None:
        while not publishing.begun:
            await asyncio.sleep(self._period)
            try:
                marked = await self._is_marked(archive_key)
            except (TransientError, ConfigurationError) as error:
                log.warning("cancel.unseen", key=archive_key, reason=str(error))
                continue
            if marked:
                publishing.cancel()
                return

    async def _is_marked(self, archive_key: str) -> bool:
        return await find(self._store, mark_key(archive_key)) is not None


class _Publishing:
    """The Hold that an archive is published with. *scope* is the block that can be cancelled."""

    def __init__(self, inner: Hold, scope: asyncio.Timeout) -> None:
        self._inner = inner
        self._scope = scope
        self.begun = False

    def cancel(self) -> None:
        if not self.begun:
            self._inner.end()
            self._scope.reschedule(asyncio.get_running_loop().time())

    def confirm(self) -> None:
        self._inner.confirm()
        if self._scope.when() is not None:
            raise JobCancelled("before the archive was published")
        self.begun = True

    def parked(self) -> AbstractAsyncContextManager[None]:
        return self._inner.parked()

    def end(self) -> None:
        self._inner.end()


class CancelWork:
    """The work of `{"cancel": "JOB_ID"}`: it writes the mark. *source_id*: of the source that the jobs come from."""

    def __init__(self, rules: ArchiveRules, source_id: str, store: ObjectStore, receipts: Receipts) -> None:
        self._rules = rules
        self._source_id = source_id
        self._store = store
        self._receipts = receipts

    def prepare(self, request: Request, job: JobIdentity) -> tuple[str, str]:
        """Return the job id, and the key of the archive that its job would make."""
        del job
        job_id = request.cancel or ""
        digest = archive_digest(self._rules.key_secret, self._source_id, job_id, "")
        return job_id, archive_key(digest, self._rules.file_prefix)

    async def do(self, order: tuple[str, str], hold: Hold, progress: Progress) -> Result:
        """Raises TransientError, ConfigurationError, LeaseLost."""
        del progress
        job_id, key = order

        async def mark() -> None:
            hold.confirm()
            await self._receipts.put(mark_key(key), MARK)

        if await find(self._store, key) is None:
            await retry_transient(mark)
        finished = await find(self._store, key) is not None
        log.info("job.cancelling", cancelled=job_id, finished=finished)
        return Result("cancelled", files=0, size=0, cancelled=Cancelled(job_id, accepted=not finished))
