"""
Circuit breakers: which stores and queues respond at present, for all jobs, with one breaker for each kind of call.

The caller retries a failed call. If a place has not responded to any job for a while, that is no fault of a message,
and must use up none of its receives:

    closed     calls pass; failures in a row are counted over all jobs
    open       no call has succeeded for MIN_OUTAGE_SECONDS and MIN_FAILURES calls, and neither has the probe, if there
               is one: calls wait here, under the leases of their jobs, and nothing is received
    half-open  one waiting call tries again after 5, 10, 20, then every 30 s; the first success releases all

A negative response ("no such key", "the key exists", "invalid bytes") is a success: the place has responded. A
ConfigurationError counts neither way: the settler holds the job.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple, TypeVar

import structlog

from archiver.core.backoff import configuration_retry_delay, full_jitter
from archiver.errors import ArchiverError, ConfigurationError, RequestRefused, TransferInterrupted, TransientError
from archiver.worker.gate import ReceiveGate
from archiver.worker.lease import CONFIRM

log = structlog.get_logger(__name__)
T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]
Probe = Callable[[], Awaitable[object]]

MIN_OUTAGE_SECONDS = 5.0  # seconds
MIN_FAILURES = 3
MAX_TRIES_AFTER_PAUSE = 5  # attempts of a call that had to wait, before its failure is raised


class Place(NamedTuple):
    """*name*: the setting that names a store or queue; *call*: the kind of call, since each can fail by itself."""

    name: str
    call: str


@dataclass(slots=True)
class _Circuit:
    failures: int = 0  # in a row
    since: float = 0.0  # when the first of them came
    reason: str = ""
    open: bool = False
    probes: int = 0  # times since it opened
    waiting: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def failed(self, error: Exception, now: float) -> None:
        if not self.failures:
            self.since = now
        self.failures += 1
        self.reason = str(error)


class CircuitBreakers:
    """One for the process. It closes *gate* while a place is down. *clock* is monotonic, in seconds."""

    def __init__(
        self, gate: ReceiveGate, *, min_outage: float = MIN_OUTAGE_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._gate = gate
        self._min_outage = min_outage
        self._clock = clock
        self._states: dict[Place, _Circuit] = {}

    async def call(self, place: Place, attempt: Attempt[T], probe: Probe | None = None) -> T:
        """
        Make one *attempt* at *place*, or as many as needed while the place is down. *probe* makes the same kind of call
        for no message; without one, *attempt* is the probe.

        Raises what *attempt* raises.
        """
        state = self._states.setdefault(place, _Circuit())
        if not state.open:
            try:
                return await self._run_counted(state, attempt)
            except RequestRefused:
                raise
            except TransientError:
                if not await self._is_down(state, probe):
                    raise
        with self._count_waiting(place, state):
            return await self._call_after_pause(place, state, attempt, probe)

    async def _run_counted(self, state: _Circuit, attempt: Attempt[T]) -> T:
        try:
            result = await attempt()
        except TransientError as error:
            if isinstance(error, RequestRefused) or (isinstance(error, TransferInterrupted) and error.received):
                state.failures = 0  # a response, or bytes
            else:
                state.failed(error, self._clock())
            raise
        except ConfigurationError:
            raise
        except ArchiverError:
            state.failures = 0
            raise
        state.failures = 0
        return result

    async def _is_down(self, state: _Circuit, probe: Probe | None) -> bool:
        async with state.lock:
            if state.open:
                return True
            if state.failures < MIN_FAILURES or self._clock() - state.since < self._min_outage:
                return False
            if probe is not None and await self._probe_succeeds(state, probe):
                return False
            if not state.failures:  # a call of another job succeeded meanwhile
                return False
            state.open, state.probes = True, 0
            self._gate.pause_receiving()
            return True

    async def _probe_succeeds(self, state: _Circuit, probe: Probe) -> bool:
        try:
            await self._run_counted(state, probe)
        except (TransientError, ConfigurationError):
            return False
        except ArchiverError:
            return True
        return True

    @contextmanager
    def _count_waiting(self, place: Place, state: _Circuit) -> Iterator[None]:
        """The last waiting call closes the breaker when it leaves: without a caller it would stay open."""
        state.waiting += 1
        try:
            yield
        finally:
            state.waiting -= 1
            if not state.waiting:
                self._close(place, state)

    def _close(self, place: Place, state: _Circuit) -> None:
        if state.open:
            state.open = False
            self._gate.resume_receiving()
            log.info("worker.resumed", place=place.name, call=place.call, after=state.probes)

    async def _call_after_pause(self, place: Place, state: _Circuit, attempt: Attempt[T], probe: Probe | None) -> T:
        tries = 0
        while True:
            async with state.lock:  # one at a time, in order
                returned = await self._half_open(place, state, attempt, probe) if state.open else None
            if returned is not None:
                return returned[0]
            if state.open:
                continue
            try:
                return await self._run_under_lease(state, attempt)
            except RequestRefused:
                raise
            except TransientError as error:
                tries += 1
                if tries == MAX_TRIES_AFTER_PAUSE:
                    error.was_paused = True
                    raise
            await asyncio.sleep(full_jitter(tries, 0.2, 2.0, random.uniform))
            await self._is_down(state, probe)

    async def _half_open(
        self, place: Place, state: _Circuit, attempt: Attempt[T], probe: Probe | None
    ) -> tuple[T] | None:
        """Try again after a pause. Return what *attempt* returns, if it is the probe."""
        await self._pause(place, state)
        try:
            if probe is None:
                return (await self._run_under_lease(state, attempt),)
            await self._probe_succeeds(state, probe)
        except RequestRefused:
            raise
        except TransientError:
            pass
        finally:
            if not state.failures:
                self._close(place, state)
        return None

    async def _run_under_lease(self, state: _Circuit, attempt: Attempt[T]) -> T:
        """Make an attempt after a wait: the lease that the caller had confirmed may be lost since."""
        CONFIRM.get()()
        return await self._run_counted(state, attempt)

    async def _pause(self, place: Place, state: _Circuit) -> None:
        state.probes += 1
        seconds = configuration_retry_delay(state.probes)
        log.error(
            "worker.paused",
            reason=f"{place.name}: {state.reason}",
            call=place.call,
            attempt=state.probes,
            retry_in=seconds,
        )
        await asyncio.sleep(seconds)
