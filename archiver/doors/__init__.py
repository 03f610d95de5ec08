"""
Doors: from the settings to where messages come from and where answers go.

    door        what every door consists of
    start       startup checks
    sources     the roles that objects are read with, and restores
    sqs         the SQS door
    orders      the door of order files
    amqp        the RabbitMQ door
    events      the door of AWS events, for the Lambda function
    works       commands, in commands, profiles
    ways_out    where else answers go
    policy      POLICY_FILE
    references  settings by reference
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.settings import Settings

if TYPE_CHECKING:
    from archiver.core.webhooks import CallbackRules


@asynccontextmanager
async def open_door(
    settings: Settings, surroundings: Surroundings | None, stop: asyncio.Event
) -> AsyncIterator[Door | None]:
    """
    Open the door that *settings* name, once everything that they name was checked. None: *stop* was set meanwhile, or
    there are no *surroundings*.

    Raises SettingsError.
    """
    async with AsyncExitStack() as stack:
        ways_out = await stack.enter_async_context(open_ways_out_of(settings, surroundings))
        yield await _open(settings, surroundings, ways_out, stop, stack) if surroundings else None


async def _open(
    settings: Settings, surroundings: Surroundings, ways_out: WaysOut, stop: asyncio.Event, stack: AsyncExitStack
) -> Door | None:
    """Open the one door that *settings* name. Only that one is imported."""
    if settings.amqp_queue is not None:
        from archiver.doors.amqp import open_amqp_door  # noqa: PLC0415

        return await stack.enter_async_context(open_amqp_door(settings, surroundings, ways_out, stop))
    if settings.source_orders is not None:
        from archiver.doors.orders import open_orders_door  # noqa: PLC0415

        return await open_orders_door(settings, surroundings, ways_out, stop)
    from archiver.doors.sqs import open_sqs_door  # noqa: PLC0415

    return await open_sqs_door(settings, surroundings, ways_out, stop)


@asynccontextmanager
async def open_ways_out_of(settings: Settings, surroundings: Surroundings | None) -> AsyncIterator[WaysOut]:
    """Open where answers go beside the door's own ways: nowhere without *surroundings*. Raises SettingsError."""
    callbacks = _callback_rules(settings)
    if surroundings is None or not (callbacks or _has_ways_out(settings)):
        yield WaysOut()
        return
    from archiver.doors.ways_out import open_ways_out  # noqa: PLC0415 - nothing of it where it is off

    async with open_ways_out(settings, surroundings, callbacks) as ways_out:
        yield ways_out


def _has_ways_out(settings: Settings) -> bool:
    """Whether answers go further than to queues."""
    named = (
        settings.notify_sns_topic,
        settings.notify_event_bus,
        settings.notify_lambda,
        settings.notify_webhook_url,
    )
    return any(one is not None for one in named)


def _callback_rules(settings: Settings) -> "CallbackRules | None":
    """Return what requests may name as `callback_url`; None: nothing. Raises SettingsError."""
    if settings.policy_file is None:
        return None
    from archiver.doors.policy import read_policy  # noqa: PLC0415 - nothing of it where it is off

    policy = read_policy(settings)
    return policy.callbacks if policy and policy.callbacks.hosts else None
