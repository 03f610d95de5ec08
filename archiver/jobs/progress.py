"""
Progress events: `accepted`, `waiting` while objects are awaited, then `building` with the files and bytes that are
done and planned.

Events are best effort: a queue that does not accept them neither delays nor fails a job.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import structlog

from archiver.core.messages import Stage
from archiver.errors import ConfigurationError, LeaseLost, TransientError
from archiver.jobs.identity import JobIdentity
from archiver.ports import Hold, Notifier
from archiver.stages.progress import Progress
from archiver.stages.undo import wait_for_end

log = structlog.get_logger(__name__)

EVENT_INTERVAL = 2.0  # seconds between two events of one job, at least
SEND_TIMEOUT = 5.0  # seconds for sending one


@asynccontextmanager
async def reporting_progress(
    notifier: Notifier | None, job: JobIdentity, progress: Progress, hold: Hold
) -> AsyncIterator[None]:
    """
    Send *progress* to *notifier* (None: to none) while the block runs. No event is sent after the block, so that the
    answer is the last message.
    """
    if notifier is None:
        yield
        return
    sender = asyncio.create_task(_send_events(notifier, job, progress, hold), name=f"progress.{job.message.id}")
    try:
        yield
    finally:
        sender.cancel()
        await wait_for_end(sender)


async def _send_events(notifier: Notifier, job: JobIdentity, progress: Progress, hold: Hold) -> None:
    last_sent: tuple[float | None, ...] | None = None
    failed = False
    while True:
        now = (progress.files, progress.bytes, progress.files_planned, progress.awaited, progress.fraction)
        begun = progress.files_planned or progress.awaited or progress.fraction is not None
        if last_sent is None or (now != last_sent and begun):
            stage: Stage = "accepted" if last_sent is None else "waiting" if progress.awaited else "building"
            write = partial(job.dialect.progress_event, job.echoed, stage, progress, datetime.now(UTC))
            note = job.event(stage, notifier, write)
            try:
                hold.confirm()
                async with asyncio.timeout(SEND_TIMEOUT):
                    await notifier.send(note)
            except LeaseLost:
                return
            except (TransientError, ConfigurationError, TimeoutError) as error:
                if not failed:
                    log.warning("progress.unsent", reason=str(error) or "no answer in time", status=stage)
                failed = True
            last_sent = now if stage != "accepted" else (*now[:3], 0, None)
        await asyncio.sleep(EVENT_INTERVAL)
