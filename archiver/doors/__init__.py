"""
Doors: from the settings to where messages come from and where answers go.

    door        what every door consists of
    start       startup checks
    sqs         the SQS door
    ways_out    where else answers go
    policy      POLICY_FILE
    references  settings by reference
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.settings import Settings


@asynccontextmanager
async def open_door(
    settings: Settings, surroundings: Surroundings | None, stop: asyncio.Event
) -> AsyncIterator[Door | None]:
    """
    Open the door that *settings* name, once everything that they name was checked. None: *stop* was set meanwhile, or
    there are no *surroundings*.

    Raises SettingsError.
    """
    from archiver.doors.sqs import open_sqs_door  # noqa: PLC0415 - late: only the door that is used

    async with AsyncExitStack() as stack:
        ways_out = WaysOut()
        if surroundings and (settings.notify_sns_topic or settings.notify_event_bus or settings.notify_lambda):
            from archiver.doors.ways_out import open_ways_out  # noqa: PLC0415 - nothing of it where it is off

            ways_out = await stack.enter_async_context(open_ways_out(settings, surroundings))
        yield await open_sqs_door(settings, surroundings, ways_out, stop) if surroundings else None
