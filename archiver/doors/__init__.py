"""
Doors: from the settings to where messages come from and where answers go.

    door    what every door consists of
    start   startup checks
    sqs     the SQS door
"""

import asyncio

from archiver.doors.door import Door, Surroundings
from archiver.settings import Settings


async def open_door(settings: Settings, surroundings: Surroundings, stop: asyncio.Event) -> Door | None:
    """
    Open the door that *settings* name, once everything that they name was checked. None: *stop* was set meanwhile.

    Raises SettingsError.
    """
    from archiver.doors.sqs import open_sqs_door  # noqa: PLC0415 - late: only the door that is used

    return await open_sqs_door(settings, surroundings, stop)
