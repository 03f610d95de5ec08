"""Wait for the objects of a request, in its slot until the first look, then parked."""

import asyncio

import structlog

from archiver.core.draft import Draft
from archiver.core.locations import Location
from archiver.core.waiting import Wait, Watch
from archiver.errors import SourceArchived, SourceUnavailable, TransientError
from archiver.ports import Hold, ObjectRestorer
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.resolve import run_distinct

log = structlog.get_logger(__name__)

CONCURRENT_RESTORES = 16  # of one job
PARKED_LOOKS, HEADS_PER_LOOK = 4, 8
"""Concurrent looks of all parked jobs, and HEADs of each: jobs that work need most of the connections."""


class Waiter:
    """Waits for all jobs of the process. *restorer*: None if no object may be restored."""

    def __init__(self, fetcher: Fetcher, credentials: CredentialCheck, restorer: ObjectRestorer | None = None) -> None:
        self._fetcher = fetcher
        self._credentials = credentials
        self._restorer = restorer
        self._looks = asyncio.Semaphore(PARKED_LOOKS)

    async def wait(self, draft: Draft, wait: Wait, hold: Hold, progress: Progress) -> None:
        """
        Return once all objects of *draft* are there, or waiting longer can't help: the next plan has the verdict.

        A look that fails is repeated like one that finds nothing. Raises ConfigurationError, LeaseLost.
        """
        clock = asyncio.get_running_loop().time
        began = clock() - wait.spent
        watch = Watch((file.location for file in draft.files), wait, draft.rejects)
        if not await self._look(watch, wait, began, hold, self._fetcher.concurrency):
            return
        log.info("job.waiting", objects=len(watch.awaited), seconds=round(wait.longest - wait.spent))
        try:
            async with hold.parked():
                goes_on = True
                while goes_on:
                    progress.awaited = len(watch.awaited)
                    await asyncio.sleep(watch.pause(clock() - began))
                    async with self._looks:
                        goes_on = await self._look(watch, wait, began, hold, HEADS_PER_LOOK)
        finally:
            progress.awaited = 0
        log.info("job.waited", seconds=round(clock() - began))

    async def _look(self, watch: Watch, wait: Wait, began: float, hold: Hold, concurrency: int) -> bool:
        """Look once. Return whether the wait goes on. *began*: in the event loop's time."""
        found: dict[Location, object] = {}
        try:
            found |= await run_distinct(watch.to_look, self._fetcher.head, concurrency, self._credentials)
        except TransientError as error:
            log.info("job.look_failed", reason=str(error))
        archived = dict(watch.record(found, asyncio.get_running_loop().time() - began))
        if archived and self._restorer is not None:
            await self._restore(watch, wait, archived, hold)
        return not watch.is_over

    async def _restore(self, watch: Watch, wait: Wait, archived: dict[Location, SourceArchived], hold: Hold) -> None:
        """Ask for the restore of each of *archived*. A temporary failure is tried again after the next look."""
        restorer = self._restorer
        assert restorer is not None  # noqa: S101 - checked by the caller

        async def ask(at: Location) -> None:
            hold.confirm()
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
