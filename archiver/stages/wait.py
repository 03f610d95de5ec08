"""Wait for the objects of a request, in its slot until the first look, then parked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.waiting import Wait
from archiver.core.watch import Watch
from archiver.errors import SourceArchived, SourceUnavailable, TransientError
from archiver.ports import Hold, ObjectRestorer
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.resolve import run_distinct
from archiver.stages.select import MAX_CONCURRENT_LISTINGS

log = structlog.get_logger(__name__)

CONCURRENT_RESTORES = 16  # of one job
PARKED_LOOKS, HEADS_PER_LOOK, LISTINGS_PER_LOOK = 4, 8, 2
"""
Concurrent looks of all parked jobs, and HEADs and listings of each: jobs that work need most of the connections, and a
page of a listing takes memory.
"""

Select = Callable[[Draft, int], Awaitable[Draft]]
"""Returns a draft with all its files, from so many concurrent listings."""


@dataclass(slots=True)
class _Waiting:
    """One job that waits. *began*: in the event loop's time."""

    draft: Draft
    wait: Wait
    watch: Watch
    hold: Hold
    began: float
    is_parked: bool = False

    @property
    def elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self.began


class Waiter:
    """
    Waits for all jobs of the process. *select* lists prefixes and reads manifests, anew for each look: a parked job
    keeps only its request, and what it waits for. *restorer*: None if no object may be restored.
    """

    def __init__(
        self, fetcher: Fetcher, credentials: CredentialCheck, select: Select, restorer: ObjectRestorer | None = None
    ) -> None:
        self._fetcher = fetcher
        self._credentials = credentials
        self._select = select
        self._restorer = restorer
        self._looks = asyncio.Semaphore(PARKED_LOOKS)

    async def wait(self, draft: Draft, wait: Wait, hold: Hold, progress: Progress) -> None:
        """
        Return once all that *draft* asks for is there, or waiting longer can't help: the next plan has the verdict.

        A look that fails is repeated like one that finds nothing. Raises Rejected, ConfigurationError, LeaseLost;
        TransientError if the first look has a verdict that only the last receive turns into a rejection.
        """
        began = asyncio.get_running_loop().time() - wait.spent
        job = _Waiting(draft, wait, Watch(wait), hold, began)
        if not await self._look(job):
            return
        job.is_parked = True
        log.info("job.waiting", objects=job.watch.count, seconds=round(wait.longest - wait.spent))
        try:
            async with hold.parked():
                goes_on = True
                while goes_on:
                    progress.awaited = job.watch.count
                    await asyncio.sleep(job.watch.pause(job.elapsed))
                    async with self._looks:
                        goes_on = await self._look(job)
        finally:
            progress.awaited = 0
        log.info("job.waited", seconds=round(job.elapsed))

    async def _look(self, job: _Waiting) -> bool:
        """Look once. Return whether the wait goes on."""
        try:
            draft, found = await self._find(job)
        except TransientError as error:
            if error.rejection is not None and not job.is_parked:
                raise
            log.info("job.look_failed", reason=str(error))
            job.watch.record_failure(job.elapsed)
            return not job.watch.is_over
        archived = dict(job.watch.record(draft, found, job.elapsed))
        if archived and self._restorer is not None:
            await self._restore(self._restorer, job, archived)
        return not job.watch.is_over

    async def _find(self, job: _Waiting) -> tuple[Draft, Mapping[Location, object]]:
        """Return the draft as it is now, and what HEAD tells of the objects that are to look at."""
        if (manifest := job.draft.unread_manifest) is not None:
            found = await self._head(job, [manifest])
            if isinstance(found[manifest], SourceUnavailable):
                return job.draft, found
        draft = await self._select(job.draft, LISTINGS_PER_LOOK if job.is_parked else MAX_CONCURRENT_LISTINGS)
        unknown = (file.location for file in draft.files if file.location not in draft.known)
        return draft, await self._head(job, job.watch.to_look(unknown))

    async def _head(self, job: _Waiting, locations: list[Location]) -> Mapping[Location, object]:
        concurrency = HEADS_PER_LOOK if job.is_parked else self._fetcher.concurrency
        return await run_distinct(locations, self._fetcher.head, concurrency, self._credentials)

    async def _restore(
        self, restorer: ObjectRestorer, job: _Waiting, archived: Mapping[Location, SourceArchived]
    ) -> None:
        """Ask for the restore of each of *archived*. A temporary failure is tried again after the next look."""
        wait, watch = job.wait, job.watch

        async def ask(at: Location) -> None:
            job.hold.confirm()
            try:
                await restorer.restore(at, wait.tier, None if archived[at].tiered else wait.days)
            except TransientError as error:
                log.info("restore.failed", source=str(at), reason=str(error))
            else:
                watch.asked.add(at)

        answers = await run_distinct(archived, ask, CONCURRENT_RESTORES, self._credentials)
        refused = {at: one for at, one in answers.items() if isinstance(one, SourceUnavailable)}
        for at in refused:
            watch.record_refused(at)
        if refused:
            at, one = next(iter(refused.items()))
            log.warning("restore.refused", objects=len(refused), source=str(at), reason=str(one))
        log.info("restore.requested", objects=len(archived.keys() & watch.asked), tier=wait.tier)
