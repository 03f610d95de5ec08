"""Jobs that would outlast the invocation are handed on to ECS tasks, with the same message."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import structlog

from archiver.aws.dsn_session import open_access
from archiver.aws.tasks import EcsTasks
from archiver.awslambda.job import OutlastsInvocation
from archiver.core.dsn import parse_dsn
from archiver.core.estimate import Lookups, estimate
from archiver.core.events import EventMessage, to_record
from archiver.core.function_time import seconds_in_function
from archiver.core.messages import Request
from archiver.core.tasks import StartedTask, TaskTarget, fits_overrides, run_task_call
from archiver.doors.tasks import task_target
from archiver.jobs.archive import ArchiveOrder, ArchiveWork
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result, Work
from archiver.ports import Hold, ObjectStore
from archiver.settings import Settings
from archiver.stages.offload import run_offloaded_if_large
from archiver.stages.progress import Progress
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient
from archiver.stages.upload import find

log = structlog.get_logger(__name__)

CALL_SECONDS = 15.0
LATENCY = 0.05  # seconds: S3's first byte, from a function
EVENTS_PREFIX = "orders/"  # of the destination bucket: what is too long for a task's overrides


@dataclass(frozen=True, slots=True)
class HandOn:
    """
    Starts *tasks*. *bucket*: for messages that are too long for a task's overrides. *always*: all archives are handed
    on, without an estimate.
    """

    tasks: EcsTasks
    target: TaskTarget
    bucket: str
    always: bool

    def judged(
        self, work: Work[ArchiveOrder], store: ObjectStore, budget: int, ends_at: float, memory_mib: int
    ) -> "Judged":
        """Return *work*, for a job that must have ended at *ends_at*, in a function with *memory_mib* MiB."""
        return Judged(cast("ArchiveWork", work), store, budget, ends_at, memory_mib, self.always)

    async def start(self, receipts: Receipts, message: EventMessage, hold: Hold) -> StartedTask:
        """
        Start a task with *message*; calls for the same message start one. Raises TransientError, ConfigurationError.
        """
        order = json.dumps({"Records": [to_record(message)]})
        token = hashlib.sha256(f"{message.source}\n{message.id}".encode(errors="surrogatepass")).hexdigest()
        if not fits_overrides(self.target.container, order):
            key, body = f"{EVENTS_PREFIX}{token}.json", order.encode()

            async def put() -> None:
                hold.confirm()
                await receipts.put(key, body)

            await retry_transient(put)
            order = f"s3://{self.bucket}/{key}"
        call = run_task_call(self.target, order, token)

        async def run() -> StartedTask:
            hold.confirm()
            return await self.tasks.run(call)

        started = await retry_transient(run)
        log.info("job.handed_on", task=started.arn, by_s3=order.startswith("s3://"))
        return started


@asynccontextmanager
async def open_hand_on(settings: Settings) -> AsyncIterator[HandOn]:
    """Raises SettingsError if no task is named, ConfigurationError where credentials are refused."""
    target = task_target(settings)
    dsn = parse_dsn(settings.ecs_dsn.get_secret_value()) if settings.ecs_dsn else None
    async with open_access(dsn).client("ecs", read=CALL_SECONDS) as client:
        yield HandOn(EcsTasks(client), target, settings.destination_bucket, settings.lambda_runs == "ecs-always")


@dataclass(frozen=True, slots=True)
class Judged:
    """
    The work of archives, done only if it will end in time: *ends_at*, by *clock*. Else `do` raises OutlastsInvocation
    before anything is written. *always*: it never is done here.
    """

    work: ArchiveWork
    store: ObjectStore
    budget: int
    ends_at: float
    memory_mib: int
    always: bool
    clock: Callable[[], float] = monotonic

    def prepare(self, request: Request, job: JobIdentity) -> ArchiveOrder:
        return self.work.prepare(request, job)

    async def do(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> Result:
        if await find(self.store, order.target.key) is None and await self._outlasts(order):
            raise OutlastsInvocation
        return await self.work.do(order, hold, progress)

    async def _outlasts(self, order: ArchiveOrder) -> bool:
        """Estimate from the plan. Raises as `ArchiveWork.do` does, for what no longer time can help."""
        if self.always:
            return True
        if order.draft.wait is not None and order.draft.wait.longest > self.ends_at - self.clock():
            return True
        draft = await self.work.select(order.draft)
        if draft.is_blank:
            return False
        plan = await self.work.plan(draft)
        lookups = Lookups(len({file.location for file in draft.files}.difference(draft.known)), draft.listings)
        told: Any = await run_offloaded_if_large(len(draft.files), estimate, plan, lookups, self.budget, LATENCY)
        seconds = seconds_in_function(told, self.memory_mib)
        left = self.ends_at - self.clock()
        log.info("job.estimated", seconds=round(seconds, 1), left=round(left, 1), bytes=told.size)
        return seconds > left
