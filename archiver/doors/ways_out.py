"""The ways out beside the door's own: SNS, EventBridge and Lambda, for successes and failures alike."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from archiver.aws.clients import Clients
from archiver.doors.door import Surroundings, WaysOut
from archiver.doors.start import ResourceCheck, as_settings_errors
from archiver.jobs.best_effort import BackgroundSends, BestEffortNotifier
from archiver.ports import Notifier
from archiver.settings import Settings
from archiver.worker.guarded import GuardedNotifier


class _Checked(Notifier, Protocol):
    async def check(self) -> None: ...


_Opened = tuple[str, str, _Checked]
"""The setting that names a resource, the kind of resource, and its notifier."""


@asynccontextmanager
async def open_ways_out(settings: Settings, surroundings: Surroundings) -> AsyncIterator[WaysOut]:
    """Open what *settings* name; close it, and give pending answers a few seconds, at the end. Raises SettingsError."""
    async with AsyncExitStack() as stack:
        sends = await stack.enter_async_context(BackgroundSends())
        opened = await _open_all(settings, surroundings.clients, stack)

        def held(name: str, notifier: Notifier) -> Notifier:
            if name == "NOTIFY_LAMBDA" and settings.notify_lambda_type == "RequestResponse":
                return BestEffortNotifier(notifier, name, sends)
            return GuardedNotifier(notifier, name, surroundings.breakers)

        notifiers = tuple(held(name, notifier) for name, _, notifier in opened)
        yield WaysOut(notifiers, tuple((name, kind, notifier.check) for name, kind, notifier in opened))


@asynccontextmanager
async def open_checks(settings: Settings, clients: Clients) -> AsyncIterator[list[ResourceCheck]]:
    """Yield the checks of what *settings* name. Raises SettingsError."""
    async with AsyncExitStack() as stack:
        yield [(name, kind, one.check) for name, kind, one in await _open_all(settings, clients, stack)]


async def _open_all(settings: Settings, clients: Clients, stack: AsyncExitStack) -> list[_Opened]:
    opener = _Opener(settings, clients, stack)
    with as_settings_errors():
        return [*await opener.topic(), *await opener.bus(), *await opener.function()]


class _Opener:
    """Opens the notifiers of *settings*, with their clients, on *stack*."""

    def __init__(self, settings: Settings, clients: Clients, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._clients = clients
        self._stack = stack
        self._calls = settings.max_concurrent_jobs + 1

    async def topic(self) -> list[_Opened]:
        if (topic := self._settings.notify_sns_topic) is None:
            return []
        from archiver.aws.notifiers import open_client  # noqa: PLC0415 - nothing of it where it is off
        from archiver.aws.sns import SnsNotifier  # noqa: PLC0415

        client = await open_client(self._stack, self._clients, "sns", topic, calls=self._calls)
        return [("NOTIFY_SNS_TOPIC", "topic", SnsNotifier(client, topic))]

    async def bus(self) -> list[_Opened]:
        if (bus := self._settings.notify_event_bus) is None:
            return []
        from archiver.aws.event_bus import EventBusNotifier  # noqa: PLC0415
        from archiver.aws.notifiers import open_client  # noqa: PLC0415

        client = await open_client(self._stack, self._clients, "events", bus, calls=self._calls)
        partition = self._clients.sqs_control.meta.partition
        notifier = EventBusNotifier(client, bus, self._settings.destination_bucket, partition)
        return [("NOTIFY_EVENT_BUS", "event bus", notifier)]

    async def function(self) -> list[_Opened]:
        if (function := self._settings.notify_lambda) is None:
            return []
        from archiver.aws.functions import RESPONSE_SECONDS, FunctionNotifier  # noqa: PLC0415
        from archiver.aws.notifiers import CALL_SECONDS, open_client  # noqa: PLC0415
        from archiver.jobs.best_effort import MAX_PENDING  # noqa: PLC0415

        waits = self._settings.notify_lambda_type == "RequestResponse"
        client = await open_client(
            self._stack,
            self._clients,
            "lambda",
            function,
            calls=MAX_PENDING if waits else self._calls,
            read=RESPONSE_SECONDS if waits else CALL_SECONDS,
        )
        return [("NOTIFY_LAMBDA", "function", FunctionNotifier(client, function, waits=waits))]
