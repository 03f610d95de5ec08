"""
Scale-in protection: while jobs run, the orchestrator is asked not to take this task away for having too many.

    the answer                 what follows
    protected                  asked again after three quarters of the time, while jobs run
    refused                    nothing more is received; what runs is ended, and then the process
    no answer, or no sense     the jobs go on unprotected, and it is asked again, with growing pauses

No job waits for an answer: whoever is not protected in time is stopped like anyone else, and gives its messages back.
Protection covers scaling in and deployments. It covers neither Spot interruptions nor a task that is stopped by hand.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from archiver.core.backoff import pause
from archiver.errors import Temporary

log = structlog.get_logger(__name__)


class ProtectionRefused(Exception):
    """The orchestrator wants to stop this task."""


class Protector(Protocol):
    """Whoever decides which tasks are stopped."""

    async def protect(self, minutes: int) -> None:
        """Raises ProtectionRefused, Temporary; both within a few seconds."""

    async def release(self) -> None:
        """Raises ProtectionRefused, Temporary."""


@dataclass(frozen=True, slots=True)
class Terms:
    """
    *minutes* of protection, asked for again after *renew_at* of them; given up after *idle* seconds without a job,
    as the API is rate-limited and short jobs come one after the other.
    """

    minutes: int = 10
    renew_at: float = 0.75
    idle: float = 20.0
    minute: float = 60.0  # seconds, but in tests

    @property
    def renewal(self) -> float:
        """Seconds from one request to the next."""
        return self.minutes * self.renew_at * self.minute


class Protection:
    """One for the process. *refused* is called once, when the task is to take no further work."""

    def __init__(self, protector: Protector, refused: Callable[[], None], terms: Terms | None = None) -> None:
        self._protector = protector
        self._refused = refused
        self._terms = terms or Terms()
        self._changed = asyncio.Event()
        self._jobs = 0
        self._failures = 0

    def busy(self, jobs: int) -> None:
        """So many *jobs* run now."""
        if bool(jobs) != bool(self._jobs):
            self._changed.set()
        self._jobs = jobs

    async def keep(self) -> None:
        """See to it until cancelled, or until it is refused."""
        try:
            while True:
                await self._until(busy=True, seconds=None)
                await self._while_busy()
        except ProtectionRefused as reason:
            log.warning("protection.refused", reason=str(reason), effect="no more is received; what runs is ended")
            self._refused()

    async def _while_busy(self) -> None:
        clock = asyncio.get_running_loop().time
        protected, due = False, clock()
        while self._jobs:
            if clock() >= due:
                protected = await self._ask() or protected
                due = clock() + (pause(self._failures) if self._failures else self._terms.renewal)
            await self._until(busy=False, seconds=max(0.0, due - clock()))
            if not self._jobs:
                await self._until(busy=True, seconds=self._terms.idle)
        if protected:
            await self._give_up()

    async def _ask(self) -> bool:
        try:
            await self._protector.protect(self._terms.minutes)
        except Temporary as error:
            if not self._failures:
                log.warning("protection.failed", reason=str(error), effect="jobs go on unprotected")
            self._failures += 1
            return False
        if self._failures:
            log.info("protection.works", after=self._failures)
        self._failures = 0
        return True

    async def _give_up(self) -> None:
        try:
            await self._protector.release()
        except (ProtectionRefused, Temporary) as error:  # it ends by itself
            log.info("protection.kept", reason=str(error), minutes=self._terms.minutes)

    async def _until(self, *, busy: bool, seconds: float | None) -> None:
        """Return when jobs run (*busy*) or none does, or after *seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while bool(self._jobs) != busy:
                    self._changed.clear()
                    await self._changed.wait()
