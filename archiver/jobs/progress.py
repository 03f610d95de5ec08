"""
How a job goes, told while it goes: `accepted`, then `building` with what is done of how much.

Whoever wants to know is told as far as can be: a queue that does not take these events delays no job and fails none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from archiver.core.messages import Stage, progress_event
from archiver.errors import ConfigurationFault, LeaseLost, Temporary
from archiver.jobs.identity import Identity
from archiver.ports import Notifier
from archiver.stages.progress import Progress

log = structlog.get_logger(__name__)

EVERY = 2.0  # seconds between two events of one job, at least
PATIENCE = 5.0  # seconds for sending one


@asynccontextmanager
async def reported(
    notifier: Notifier | None, job: Identity, progress: Progress, confirm: Callable[[], None]
) -> AsyncIterator[None]:
    """
    Tell *notifier* (None: nobody) how far *progress* is while the block runs. After the block nothing more is said, so
    that the answer comes last.
    """
    if notifier is None:
        yield
        return
    telling = asyncio.create_task(_tell(notifier, job, progress, confirm), name=f"progress.{job.message.id}")
    try:
        yield
    finally:
        telling.cancel()
        cancelled = None
        while not telling.done():
            try:
                await asyncio.wait([telling])
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled


async def _tell(notifier: Notifier, job: Identity, progress: Progress, confirm: Callable[[], None]) -> None:
    told: tuple[int, int, int] | None = None
    stage: Stage = "accepted"
    failed = False
    while True:
        now = (progress.files, progress.bytes, progress.files_planned)
        if stage == "accepted" or (progress.files_planned and now != told):
            note = job.event(stage, notifier, lambda room: progress_event(job.envelope, stage, progress, room))  # noqa: B023
            try:
                confirm()
                async with asyncio.timeout(PATIENCE):
                    await notifier.send(note)
            except LeaseLost:
                return
            except (Temporary, ConfigurationFault, TimeoutError) as error:
                if not failed:
                    log.warning("progress.unsent", reason=str(error) or "no answer in time", status=stage)
                failed = True
            told, stage = now, "building"
        await asyncio.sleep(EVERY)
