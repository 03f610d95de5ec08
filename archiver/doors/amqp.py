"""The RabbitMQ door: a queue of requests, an exchange for replies, and a dead-letter queue if one is set."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from archiver.amqp.connection import Address, Connection
from archiver.amqp.faults import EntityMissing, Mismatch
from archiver.amqp.publishing import AmqpDeadLetters, AmqpNotifier, AmqpProgress, Publisher, announce
from archiver.amqp.source import AmqpSource, read_facts
from archiver.amqp.topology import DELAY, Topology
from archiver.core.amqp_rules import COMPLETED, ERROR, PROGRESSION, RESPONSE, is_host
from archiver.core.backoff import configuration_retry_delay
from archiver.doors.description import description_of
from archiver.doors.door import Door, Surroundings, WaysOut
from archiver.doors.start import StartupResources, check_resources, log_and_pause, run_until_stopped
from archiver.errors import ConfigurationError, TransientError
from archiver.jobs.answers import Answers, Fanout
from archiver.settings import Environment, Settings, SettingsError
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.guarded import GuardedDeadLetters, GuardedNotifier
from archiver.worker.heartbeat import Heartbeat

TLS_PORT, PLAIN_PORT = 5671, 5672


@asynccontextmanager
async def open_amqp_door(
    settings: Settings, surroundings: Surroundings, ways_out: WaysOut, stop: asyncio.Event
) -> AsyncIterator[Door | None]:
    """
    Check the buckets of *settings* and the *ways_out*, connect, and declare or find the queues; close the connections
    at the end. None: stopped meanwhile. Raises SettingsError.
    """
    address = broker_address(settings)
    resources = StartupResources(surroundings.clients, {}, surroundings.reader, ways_out.checks)
    problems = await check_resources(settings, resources, stop)
    if problems:
        raise SettingsError(problems)
    receiving, sending = Connection(address, "receives"), Connection(address, "replies")
    try:
        delay = await _prepare(settings, receiving, surroundings.heartbeat, stop)
        if delay is None:
            yield None
            return
        facts = read_facts(
            settings.amqp_vhost, str(settings.amqp_queue), settings.amqp_ack_timeout, settings.amqp_max_receives
        )
        async with AmqpSource(
            receiving, str(settings.amqp_queue), facts, wait_seconds=settings.wait_seconds, delay=delay or None
        ) as source:
            publisher = Publisher(sending)
            if settings.amqp_declare:
                await run_until_stopped(announce(publisher, description_of(settings)), stop)
            dead_letters = (
                GuardedDeadLetters(
                    AmqpDeadLetters(publisher, source, settings.amqp_dead_letter_queue), surroundings.breakers
                )
                if settings.amqp_dead_letter_queue
                else None
            )
            yield Door(source, dead_letters, _answers(publisher, ways_out, surroundings.breakers))
    finally:
        await sending.close()
        await receiving.close()


def broker_address(settings: Environment) -> Address:
    """Return where *settings* say that the broker is. Raises SettingsError: no host, no certificates."""
    host = settings.amqp_hostname.removeprefix("[").removesuffix("]")
    if not is_host(host):  # it may be a URL, with a password
        told = "should be a host's name or address alone: its port is AMQP_PORT, the virtual host AMQP_VHOST"
        raise SettingsError([f"AMQP_HOSTNAME: {told}"])
    tls = _tls(settings) if settings.amqp_by_tls else None
    return Address(
        host,
        settings.amqp_port or (TLS_PORT if tls else PLAIN_PORT),
        settings.amqp_vhost,
        settings.amqp_username,
        settings.amqp_password.get_secret_value(),
        tls,
    )


def _tls(settings: Environment) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.amqp_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError([f"AMQP_CA_FILE: {settings.amqp_ca_file} can't be used: {error}"]) from None
    if settings.amqp_cert_file is not None:
        try:
            # Without the callback, OpenSSL would ask the terminal for the passphrase of an encrypted key.
            context.load_cert_chain(settings.amqp_cert_file, settings.amqp_key_file, password=lambda: b"")
        except (OSError, ValueError) as error:
            names = " and ".join(name for name in (settings.amqp_cert_file, settings.amqp_key_file) if name)
            raise SettingsError([f"AMQP_CERT_FILE: {names} can't be used: {error}"]) from None
    return context


async def _prepare(
    settings: Settings, connection: Connection, heartbeat: Heartbeat, stop: asyncio.Event
) -> float | None:
    """
    Connect, and declare or find the queues; again while that fails. Return the seconds after which rejected messages
    come back, 0 if they don't; None: stopped meanwhile. Raises SettingsError: a queue is missing, or another one.
    """
    attempt = 0
    while not stop.is_set():
        try:
            delay = await run_until_stopped(_open_queues(settings, connection), stop)
        except (EntityMissing, Mismatch) as error:
            advice = "create it as this user needs it, or set AMQP_DECLARE=0 to use it as it is"
            raise SettingsError([f"AMQP_QUEUE: {error} ({advice})"]) from None
        except (ConfigurationError, TransientError) as error:
            attempt += 1
            heartbeat.failed()
            await log_and_pause(f"RabbitMQ can't be used: {error}", configuration_retry_delay(attempt), stop)
        else:
            if delay is not None:
                heartbeat.received()
            return delay
    return None


async def _open_queues(settings: Settings, connection: Connection) -> float:
    topology = Topology(connection, str(settings.amqp_queue))
    dead = settings.amqp_dead_letter_queue
    if not settings.amqp_declare:
        await topology.find()
        if dead is not None:
            await topology.find_queue(dead)
        return 0.0
    ours = await topology.declare()
    if dead is not None:
        await topology.create_queue(dead)
    return DELAY if ours else 0.0


def _answers(publisher: Publisher, ways_out: WaysOut, breakers: CircuitBreakers) -> Answers:
    """Replies wait while the broker does not take them; progress events do not."""
    success, failure = (
        GuardedNotifier(AmqpNotifier(publisher, RESPONSE, key), key, breakers) for key in (COMPLETED, ERROR)
    )
    return Answers(
        Fanout(success, *ways_out.notifiers),
        Fanout(failure, *ways_out.notifiers),
        progress=AmqpProgress(publisher, RESPONSE, PROGRESSION),
        callbacks=ways_out.callbacks,
        by_reference=bool(ways_out.notifiers or ways_out.callbacks),
    )
