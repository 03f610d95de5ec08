"""The ways out beside the door's own: SNS, EventBridge, Lambda and webhooks, for successes and failures alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from archiver.aws.clients import Clients
from archiver.aws.session import ca_bundle_of
from archiver.doors.door import Surroundings, WaysOut
from archiver.doors.start import ResourceCheck, as_settings_errors
from archiver.jobs.best_effort import BackgroundSends, BestEffortNotifier
from archiver.ports import Notifier
from archiver.settings import Settings
from archiver.worker.guarded import GuardedNotifier

if TYPE_CHECKING:
    from archiver.core.webhooks import CallbackRules
    from archiver.http.pool import HttpPool, HttpTimeouts
    from archiver.jobs.webhook import Webhooks


class _Checked(Notifier, Protocol):
    async def check(self) -> None: ...


_Opened = tuple[str, str, _Checked]
"""The setting that names a resource, the kind of resource, and its notifier."""


@asynccontextmanager
async def open_ways_out(
    settings: Settings, surroundings: Surroundings, callback_rules: "CallbackRules | None" = None
) -> AsyncIterator[WaysOut]:
    """
    Open what *settings* name, and the callbacks of requests, if there are *callback_rules*; close it, and give pending
    answers a few seconds, at the end. Raises SettingsError.
    """
    async with AsyncExitStack() as stack:
        webhooks = _WebhookOpener(settings, surroundings.clients, stack)
        webhook = webhooks.of_settings()
        callbacks = await webhooks.callbacks(callback_rules) if callback_rules else None
        opened = await _open_all(settings, surroundings.clients, stack)
        sends = await stack.enter_async_context(BackgroundSends())  # ends before its connections

        def held(name: str, notifier: Notifier) -> Notifier:
            if name == "NOTIFY_LAMBDA" and settings.notify_lambda_type == "RequestResponse":
                return BestEffortNotifier(notifier, name, sends)
            return GuardedNotifier(notifier, name, surroundings.breakers)

        notifiers = [held(name, notifier) for name, _, notifier in opened]
        if webhook is not None:
            notifiers.append(BestEffortNotifier(webhook, "NOTIFY_WEBHOOK_URL", sends))
        checks = tuple((name, kind, notifier.check) for name, kind, notifier in opened)

        async def drain(seconds: float) -> None:
            await asyncio.gather(*(one.drain(seconds) for one in (sends, *webhooks.sends)))

        yield WaysOut(tuple(notifiers), checks, callbacks, drain)


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


class _WebhookOpener:
    """Opens the webhooks of *settings* and of requests, with their connections, on *stack*."""

    def __init__(self, settings: Settings, clients: Clients, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle_of(clients.session)
        self._stack = stack
        self.sends: list[BackgroundSends] = []  # those of callbacks

    def of_settings(self) -> Notifier | None:
        """The one of NOTIFY_WEBHOOK_URL: the operator's own, at any address, through a proxy if there is one."""
        if (secret_url := self._settings.notify_webhook_url) is None:
            return None
        from archiver.core.webhooks import parse_url  # noqa: PLC0415 - nothing of it where it is off
        from archiver.http.pool import HttpPool  # noqa: PLC0415
        from archiver.http.proxy import Proxies  # noqa: PLC0415

        url = parse_url(secret_url.get_secret_value())
        if url is None:  # the settings were checked
            raise AssertionError
        return self._webhooks(HttpPool(_limits(), self._ca_bundle, Proxies())).notifier(url)

    async def callbacks(self, rules: "CallbackRules") -> Callable[[str], Notifier]:
        """Those of requests: public addresses only, and no proxy, which would connect to others."""
        from archiver.http.dns import DnsCache  # noqa: PLC0415
        from archiver.http.guard import public_only  # noqa: PLC0415
        from archiver.http.pool import HttpPool  # noqa: PLC0415
        from archiver.jobs.webhook import Callbacks  # noqa: PLC0415

        limits = _limits()
        pool = HttpPool(limits, self._ca_bundle, names=DnsCache(limits.dns_ttl, resolve=public_only()))
        webhooks = self._webhooks(pool)
        sends = await self._stack.enter_async_context(BackgroundSends())  # ends before its connections
        self.sends.append(sends)
        return Callbacks(rules, webhooks, sends).notifier

    def _webhooks(self, pool: "HttpPool") -> "Webhooks":
        from archiver.core.webhooks import decode_secret  # noqa: PLC0415
        from archiver.jobs.webhook import Webhooks  # noqa: PLC0415

        self._stack.push_async_callback(pool.close)
        secret = self._settings.notify_webhook_secret
        return Webhooks(pool, decode_secret(secret.get_secret_value()) if secret else None)


def _limits() -> "HttpTimeouts":
    from archiver.http.pool import HttpTimeouts  # noqa: PLC0415
    from archiver.jobs.best_effort import MAX_PENDING  # noqa: PLC0415
    from archiver.jobs.webhook import TRY_SECONDS  # noqa: PLC0415

    return HttpTimeouts(response=TRY_SECONDS, stall=TRY_SECONDS, window=TRY_SECONDS, connections=MAX_PENDING)
