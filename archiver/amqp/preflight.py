"""The checks of `archiver check` for the RabbitMQ door."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex

from archiver.amqp.connection import Address, Connection
from archiver.amqp.faults import EntityMissing, Mismatch, Unrouted
from archiver.amqp.publishing import Publisher, PublishingBlocked, Route, make_properties
from archiver.amqp.topology import Topology
from archiver.core.amqp_rules import COMPLETED, DELAYED, ERROR, RESPONSE
from archiver.core.preflight import CheckResult
from archiver.errors import ConfigurationError, TransientError

EXISTS = "{} exists"
_NETWORK = "check the network, AMQP_HOSTNAME and AMQP_PORT, and try again"
_AS_IS = "declare it as docs/rabbitmq.md says, or set AMQP_DECLARE=0 to use it as it is"


async def check_broker(
    address: Address, queue: str, dead_letter_queue: str | None, ack_timeout: int, *, declares: bool
) -> list[CheckResult]:
    """
    Connect, and look at the queues; nothing is created. *declares*: the worker would create what is missing, and needs
    what exists to have its arguments. *ack_timeout* in seconds.
    """
    connection = Connection(address, "check")
    try:
        try:
            version = await connection.connect()
        except ConfigurationError as error:
            return [CheckResult("broker", "bad", str(error), "see the reason; the broker's log says more")]
        except TransientError as error:
            return [CheckResult("broker", "unknown", str(error), _NETWORK)]
        by = "TLS" if address.tls else "no TLS"
        told = f"RabbitMQ {version} at {address}, virtual host {address.vhost}, as {address.username}, {by}"
        results = [CheckResult("broker", "ok", told)]
        results += await check_topology(Topology(connection, queue), queue, dead_letter_queue, declares=declares)
        results.append(await check_publishing(Publisher(connection)))
    finally:
        await connection.close()
    told = f"jobs end before {ack_timeout} s"
    remedy = f"make sure that the broker's consumer_timeout is {ack_timeout * 1000} ms or more: AMQP does not tell it"
    return [*results, CheckResult("acknowledgement", "ok", told, remedy)]


async def check_publishing(publisher: Publisher) -> CheckResult:
    """
    Publish messages that no queue takes: the broker drops them. A broker that is short of memory or disk answers all
    else, and tells only those who publish; the first message that a connection publishes it still takes.
    """
    what, nowhere = "publishing", token_hex(16)
    try:
        for _ in range(2):
            with suppress(Unrouted):
                await publisher.publish(Route("", f"archiver-check-{nowhere}"), b"", make_properties(nowhere, {}))
    except PublishingBlocked as error:
        return CheckResult(
            what, "bad", str(error), "jobs are held meanwhile; rabbitmqctl list_alarms tells which it is"
        )
    except TransientError as error:
        return CheckResult(what, "unknown", str(error), _NETWORK)
    except ConfigurationError as error:
        return CheckResult(what, "unknown", f"can't be tried: {error}")
    return CheckResult(what, "ok", "the broker takes messages")


async def check_topology(
    topology: Topology, queue: str, dead_letter_queue: str | None, *, declares: bool
) -> list[CheckResult]:
    """The same, for the queues alone."""
    return await _Checks(topology, declares).run(queue, dead_letter_queue)


class _Checks:
    def __init__(self, topology: Topology, declares: bool) -> None:
        self._topology = topology
        self._declares = declares

    async def run(self, queue: str, dead_letter_queue: str | None) -> list[CheckResult]:
        results = [await self._queue("AMQP queue", queue)]
        if self._declares:
            results.append(await self._queue("delay queue", DELAYED))
        if dead_letter_queue is not None:
            what = "dead-letter queue"
            results.append(await self._exists(what, dead_letter_queue, missing_is_bad=not self._declares))
        return [*results, *[await self._reply(key) for key in (COMPLETED, ERROR)]]

    async def _queue(self, what: str, name: str) -> CheckResult:
        if not self._declares:
            return await self._exists(what, name, missing_is_bad=True)
        found = await self._exists(what, name, missing_is_bad=False)
        if found.told != EXISTS.format(name):
            return found
        told = f"{name} exists, with the arguments that the worker needs"
        return await _result(what, lambda: self._topology.compare_queue(name), told)

    async def _exists(self, what: str, name: str, *, missing_is_bad: bool) -> CheckResult:
        try:
            return await _result(what, lambda: self._topology.find_queue(name), EXISTS.format(name))
        except EntityMissing as error:
            if missing_is_bad:
                return CheckResult(what, "bad", str(error), "create it, or set AMQP_DECLARE=1 and let the worker do so")
            return CheckResult(what, "ok", f"{name} does not exist: the worker creates it at its start")

    async def _reply(self, key: str) -> CheckResult:
        """Bindings can't be listed by AMQP: the backend's queues have the names of their routing keys."""
        try:
            return await _result(f"replies {key}", lambda: self._topology.find_queue(key), f"the queue {key} exists")
        except EntityMissing:
            told = f"there is no queue {key}: jobs are held until a queue takes their reply"
            remedy = (
                f"bind a queue to the exchange {RESPONSE} with the routing key {key}, unless one of another name is"
            )
            return CheckResult(f"replies {key}", "warning", told, remedy)


async def _result(what: str, check: Callable[[], Awaitable[None]], told: str) -> CheckResult:
    """Raises EntityMissing."""
    try:
        await check()
    except EntityMissing:
        raise
    except Mismatch as error:
        return CheckResult(what, "bad", str(error), _AS_IS)
    except ConfigurationError as error:
        return CheckResult(what, "bad", str(error), "give the user this right")
    except TransientError as error:
        return CheckResult(what, "unknown", str(error), _NETWORK)
    return CheckResult(what, "ok", told)
