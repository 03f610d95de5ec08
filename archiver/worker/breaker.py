"""
Which stores and queues answer at present, known in one place for all jobs: a circuit breaker for each kind of call.

A failed call is tried again by whoever made it. Where a place has answered nobody for a while, the fault is not the
message's, and must use up none of its receives:

    closed     calls go through; failures in a row are counted over all jobs
    open       nothing has succeeded for PATIENCE seconds and FAILURES calls, the probe neither, where there is one:
               calls wait here, under the leases of their jobs, and nothing is received
    half-open  one of those that wait asks again after 5, 10, 20, then every 30 s; the first success lets all go on

A verdict ("no such key", "that is taken", "not these bytes") is a success here: the place has answered. A refusal of
ours (ConfigurationFault) is neither: whoever runs the job holds it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple, TypeVar

import structlog

from archiver.core.backoff import full_jitter, pause
from archiver.errors import Answered, ArchiverError, ConfigurationFault, Interrupted, Temporary
from archiver.worker.gate import Gate
from archiver.worker.lease import CONFIRM

log = structlog.get_logger(__name__)
T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]
Probe = Callable[[], Awaitable[object]]

PATIENCE = 5.0  # seconds
FAILURES = 3
AFTERWARDS = 5  # tries of a call that had to wait, before its failure is told


class Place(NamedTuple):
    """*name*: the setting that names a store or queue; *call*: the kind of call, as each can fail by itself."""

    name: str
    call: str


@dataclass(slots=True)
class _State:
    failures: int = 0  # in a row
    since: float = 0.0  # when the first of them came
    reason: str = ""
    open: bool = False
    asked: int = 0  # times since it opened
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def failed(self, error: Exception, now: float) -> None:
        if not self.failures:
            self.since = now
        self.failures += 1
        self.reason = str(error)


class Health:
    """One for the process: it shuts *gate* while a place is down. *clock* is monotonic, in seconds."""

    def __init__(self, gate: Gate, *, patience: float = PATIENCE, clock: Callable[[], float] = monotonic) -> None:
        self._gate = gate
        self._patience = patience
        self._clock = clock
        self._states: dict[Place, _State] = {}

    async def call(self, place: Place, attempt: Attempt[T], probe: Probe | None = None) -> T:
        """
        One *attempt* at *place*, or as many as it takes while the place is down. *probe* asks the same of the place for
        no message at all: without one, *attempt* has to do.

        Raises what *attempt* raises.
        """
        state = self._states.setdefault(place, _State())
        if not state.open:
            try:
                return await self._noted(state, attempt)
            except Answered:
                raise
            except Temporary:
                if not await self._is_down(state, probe):
                    raise
        with self._waiting(place, state):
            return await self._held(place, state, attempt, probe)

    async def _noted(self, state: _State, attempt: Attempt[T]) -> T:
        try:
            result = await attempt()
        except Temporary as error:
            if isinstance(error, Answered) or (isinstance(error, Interrupted) and error.received):
                state.failures = 0  # a verdict; or bytes came
            else:
                state.failed(error, self._clock())
            raise
        except ConfigurationFault:
            raise
        except ArchiverError:
            state.failures = 0
            raise
        state.failures = 0
        return result

    async def _is_down(self, state: _State, probe: Probe | None) -> bool:
        async with state.turn:
            if state.open:
                return True
            if state.failures < FAILURES or self._clock() - state.since < self._patience:
                return False
            if probe is not None and await self._answers(state, probe):
                return False
            if not state.failures:  # a call of another job succeeded meanwhile
                return False
            state.open, state.asked = True, 0
            self._gate.hold()
            return True

    async def _answers(self, state: _State, probe: Probe) -> bool:
        try:
            await self._noted(state, probe)
        except (Temporary, ConfigurationFault):
            return False
        except ArchiverError:
            return True
        return True

    @contextmanager
    def _waiting(self, place: Place, state: _State) -> Iterator[None]:
        """Who leaves last, cancelled perhaps, closes: with nobody there to ask, it would stay open for ever."""
        state.waiting += 1
        try:
            yield
        finally:
            state.waiting -= 1
            if not state.waiting:
                self._close(place, state)

    def _close(self, place: Place, state: _State) -> None:
        if state.open:
            state.open = False
            self._gate.release()
            log.info("worker.resumed", place=place.name, call=place.call, after=state.asked)

    async def _held(self, place: Place, state: _State, attempt: Attempt[T], probe: Probe | None) -> T:
        tries = 0
        while True:
            async with state.turn:  # one at a time, in the order of asking
                told = await self._half_open(place, state, attempt, probe) if state.open else None
            if told is not None:
                return told[0]
            if state.open:
                continue
            try:
                return await self._confirmed(state, attempt)
            except Answered:
                raise
            except Temporary as error:
                tries += 1
                if tries == AFTERWARDS:
                    error.waited = True
                    raise
            await asyncio.sleep(full_jitter(tries, 0.2, 2.0, random.uniform))
            await self._is_down(state, probe)

    async def _half_open(
        self, place: Place, state: _State, attempt: Attempt[T], probe: Probe | None
    ) -> tuple[T] | None:
        """Ask again, after a pause; what *attempt* returns, where that is who asks."""
        await self._pause(place, state)
        try:
            if probe is None:
                return (await self._confirmed(state, attempt),)
            await self._answers(state, probe)
        except Answered:
            raise
        except Temporary:
            pass
        finally:
            if not state.failures:
                self._close(place, state)
        return None

    async def _confirmed(self, state: _State, attempt: Attempt[T]) -> T:
        """An attempt after a wait: who asked for it had looked at the lease before."""
        CONFIRM.get()()
        return await self._noted(state, attempt)

    async def _pause(self, place: Place, state: _State) -> None:
        state.asked += 1
        seconds = pause(state.asked)
        log.error(
            "worker.paused",
            reason=f"{place.name}: {state.reason}",
            call=place.call,
            attempt=state.asked,
            retry_in=seconds,
        )
        await asyncio.sleep(seconds)
