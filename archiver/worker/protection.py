"""
Scale-in protection: while jobs run, the orchestrator is asked not to stop this task when it scales in.

    response                  effect
    protected                 requested again every ten minutes, while jobs run
    too many are protected    jobs continue, with the protection that is left or with none; requested again every
                              minute; released as soon as no job runs, so that scaling in can continue
    none, or an invalid one   jobs continue the same way; requested again with growing pauses

No job waits for a response: a task that is not protected in time is stopped like any other, and releases its messages.
Protection covers scaling in and deployments, but neither Spot interruptions nor tasks that are stopped by hand.

A task that always has a job would always be protected, and a deployment would wait for it indefinitely. So a task whose
revision was replaced stops receiving, finishes its jobs under protection, and exits. It must be certain: that the new
revision runs at its full count is seen twice, ten minutes apart.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from archiver.core.backoff import configuration_retry_delay
from archiver.errors import TransientError

log = structlog.get_logger(__name__)


class ProtectionRefused(Exception):
    """The orchestrator protects no further task at present: the maximum number is protected."""


class Protector(Protocol):
    """The orchestrator, which decides which tasks are stopped."""

    async def protect(self, minutes: int) -> None:
        """Protect this task for *minutes*. Raises ProtectionRefused, TransientError, within a few seconds."""

    async def release(self) -> None:
        """End the protection. Raises ProtectionRefused, TransientError."""

    async def replaced(self) -> bool:
        """Whether another revision than this task's is deployed and runs at its full count. Raises TransientError."""


@dataclass(frozen=True, slots=True)
class ProtectionConfig:
    """
    Protection is requested for *minutes*, or for twice the time that jobs have run without a break if that is longer,
    up to *max_minutes* (the maximum of ECS): the longer a job has run, the longer it is likely to run. It is requested
    again every *renew_every_minutes* minutes, and released after *idle_seconds* seconds without a job, since the API is
    rate-limited and short jobs follow one another.
    """

    minutes: int = 60
    max_minutes: int = 2880
    renew_every_minutes: float = 10
    retry_after_minutes: float = 1
    idle_seconds: float = 20.0
    minute_seconds: float = 60.0  # seconds; shorter in tests

    @property
    def renewal_seconds(self) -> float:
        """Seconds from one request to the next."""
        return self.renew_every_minutes * self.minute_seconds

    def minutes_for(self, seconds: float) -> int:
        """Minutes to request after *seconds* of work."""
        return min(self.max_minutes, max(self.minutes, math.ceil(2 * seconds / self.minute_seconds)))


class Protection:
    """One for the process. *drain* is called once, when the task must start no further job."""

    def __init__(self, protector: Protector, drain: Callable[[], None], config: ProtectionConfig | None = None) -> None:
        self._protector = protector
        self._drain = drain
        self._config = config or ProtectionConfig()
        self._changed = asyncio.Event()
        self._jobs = 0
        self._failures = 0
        self._refused = False
        self._check_at: float | None = None
        self._times_replaced = 0

    def on_running_changed(self, jobs: int) -> None:
        """Record the number of running *jobs*."""
        if bool(jobs) != bool(self._jobs):
            self._changed.set()
        self._jobs = jobs

    async def run(self) -> None:
        """Protect the task while jobs run, until cancelled."""
        while True:
            await self._wait_until(busy=True, seconds=None)
            await self._while_busy()

    async def _while_busy(self) -> None:
        clock = asyncio.get_running_loop().time
        protected, since = False, clock()
        due = since
        while self._jobs:
            if clock() >= due:
                protected = await self._enable(self._config.minutes_for(clock() - since)) or protected
                await self._check_replaced()
                due = clock() + self._next_delay
            await self._wait_until(busy=False, seconds=max(0.0, due - clock()))
            if not self._jobs and not self._refused:
                await self._wait_until(busy=True, seconds=self._config.idle_seconds)
        if protected:
            await self._disable()

    @property
    def _next_delay(self) -> float:
        """Seconds until the next request."""
        if self._failures:
            return configuration_retry_delay(self._failures)
        return (
            self._config.retry_after_minutes * self._config.minute_seconds
            if self._refused
            else self._config.renewal_seconds
        )

    async def _enable(self, minutes: int) -> bool:
        try:
            await self._protector.protect(minutes)
        except ProtectionRefused as reason:
            if not self._refused:
                log.warning(
                    "protection.refused", reason=str(reason), effect="jobs continue; protection is requested again"
                )
            self._refused, self._failures = True, 0
            return False
        except TransientError as error:
            if not self._failures:
                log.warning("protection.failed", reason=str(error), effect="jobs continue unprotected")
            self._failures += 1
            return False
        if self._failures or self._refused:
            log.info("protection.works", after=self._failures)
        self._refused, self._failures = False, 0
        return True

    async def _check_replaced(self) -> None:
        """Check every ten minutes whether this task was replaced; not at the start, as few tasks work for so long."""
        now = asyncio.get_running_loop().time()
        if self._check_at is None:
            self._check_at = now + self._config.renewal_seconds
        if now < self._check_at or self._times_replaced > 1:
            return
        self._check_at = now + self._config.renewal_seconds
        try:
            self._times_replaced = self._times_replaced + 1 if await self._protector.replaced() else 0
        except TransientError as error:
            log.info("protection.unseen", reason=str(error), effect="a replaced task exits when it has no job")
        if self._times_replaced > 1:
            log.warning(
                "protection.replaced", effect="receiving stopped; running jobs will finish, then the worker exits"
            )
            self._drain()

    async def _disable(self) -> None:
        """Release the task, with retries until that works or a job runs: an idle task that stays protected costs."""
        failures = 0
        while not self._jobs:
            try:
                await self._protector.release()
            except (ProtectionRefused, TransientError) as error:
                if not failures:
                    log.info("protection.kept", reason=str(error))
                failures += 1
                await self._wait_until(busy=True, seconds=configuration_retry_delay(failures))
            else:
                return

    async def _wait_until(self, *, busy: bool, seconds: float | None) -> None:
        """Return when jobs run (*busy*) or none does, or after *seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while bool(self._jobs) != busy:
                    self._changed.clear()
                    await self._changed.wait()
