"""One event outside Lambda: in the ECS task that a function handed it on to, or on a laptop. There is time for it."""

import asyncio
import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from archiver.awslambda.event_run import MAX_ATTEMPTS, EventRun, Invocation, NotDone
from archiver.awslambda.job import read_object
from archiver.awslambda.service import Service, open_service
from archiver.core.backoff import redelivery_delay
from archiver.core.events import to_record
from archiver.core.locations import Location
from archiver.errors import Rejected
from archiver.settings import Settings

log = structlog.get_logger(__name__)

MAX_EVENT_BYTES = 16 * 1024 * 1024  # a message of 1 MiB, with all its characters escaped, fits
FUNCTION = "handle"  # where a request comes from that no queue brought


@dataclass(frozen=True, slots=True)
class Handled:
    """*answers*: those to requests, and what stands for them; *unfinished*: some request has none."""

    answers: list[Any]
    unfinished: bool


async def handle_event(
    settings: Settings, event: Location | str, name: str, stop: asyncio.Event, write: Callable[[str], object]
) -> Handled:
    """
    Do *event*, JSON or the place of it, with all tries that it may need. *name* identifies it, as far as it does not
    itself. When *stop* is set, jobs have SHUTDOWN_GRACE_SECONDS left. Raises SettingsError, ArchiverError.
    """
    answers: list[Any] = []
    async with open_service(settings, write) as service:
        data = await _read(event, service)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            invocation = Invocation(name, FUNCTION, math.inf, monotonic(), is_task=True, attempt=attempt)
            run = EventRun(service, invocation)
            await _run_until_stopped(run, data, stop, settings.grace_seconds)
            answers += [entry.answer for entry in run.entries if entry.is_done]
            undone = [entry for entry in run.entries if not entry.is_done]
            if not undone or stop.is_set() or attempt == MAX_ATTEMPTS:
                break
            delay = redelivery_delay(attempt, random.uniform)
            log.warning("event.tried", attempt=attempt, retry_in=delay, reason=undone[0].reason)
            data = {"Records": [to_record(entry.event) for entry in undone]}
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stop.wait()
        await service.flush(settings.grace_seconds)
    return Handled(answers, bool(undone))


async def _read(event: Location | str, service: Service) -> object:
    try:
        if isinstance(event, Location):
            event = (await read_object(event, service.fetcher, MAX_EVENT_BYTES, "event")).decode("utf-8-sig")
        return json.loads(event)
    except (ValueError, RecursionError):
        raise Rejected("invalid_json", "the event is not JSON") from None


async def _run_until_stopped(run: EventRun, data: object, stop: asyncio.Event, grace: float) -> None:
    stopping = asyncio.create_task(_stop_later(run, stop, grace), name="event.stop")
    try:
        await run.run(data)
    except NotDone:
        pass
    finally:
        stopping.cancel()
        await asyncio.wait([stopping])


async def _stop_later(run: EventRun, stop: asyncio.Event, grace: float) -> None:
    await stop.wait()
    await asyncio.sleep(grace)
    run.stop()
