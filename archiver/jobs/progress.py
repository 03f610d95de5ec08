"""
How a job goes, told while it goes: `accepted`, then `building` with what is done of how much.

Whoever wants to know is told as far as can be: a queue that does not take these events delays no job and fails none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from archiver.core.messages import Stage, progress_event
from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.jobs.identity import JobIdentity
from archiver.ports import Notifier
from archiver.stages.progress import Progress

log = structlog.get_logger(__name__)

EVENT_INTERVAL = 2.0  # seconds between two events of one job, at least
SEND_TIMEOUT = 5.0  # seconds for sending one


@asynccontextmanager
async def reporting_progress(
    notifier: Notifier | None, job: JobIdentity, progress: Progress, confirm: Callable[[], None]
) -> AsyncIterator[None]:
    """
    Tell *notifier* (None: nobody) how far *progress* is while the block runs. After the block nothing more is said, so
    that the answer comes last.
    """
    if notifier is None:
        yield
        return
    sender = asyncio.create_task(_send_events(notifier, job, progress, confirm), name=f"progress.{job.message.id}")
    try:
        yield
    finally:
        sender.cancel()
        cancelled = None
        while not sender.done():
            try:
                await asyncio.wait([sender])
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled


async def _send_events(notifier: Notifier, job: JobIdentity, progress: Progress, confirm: Callable[[], None]) -> None:
    last_sent: tuple[int, int, int] | None = None
    stage: Stage = "accepted"
    failed = False
    while True:
        now = (progress.files, progress.bytes, progress.files_planned)
        if stage == "accepted" or (progress.files_planned and now != last_sent):
            note = job.event(stage, notifier, lambda room: progress_event(job.envelope, stage, progress, room))  # noqa: B023
            try:
                confirm()
                async with asyncio.timeout(SEND_TIMEOUT):
                    await notifier.send(note)
            except LeaseLost:
                return
            except (TransientError, ConfigurationError, TimeoutError) as error:
                if not failed:
                    log.warning("progress.unsent", reason=str(error) or "no answer in time", status=stage)
                failed = True
            last_sent, stage = now, "building"
        await asyncio.sleep(EVENT_INTERVAL)
