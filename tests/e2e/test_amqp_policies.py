"""Priorities, and policies that change while a worker runs: no message that it holds is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from archiver.amqp.connection import Address, Connection
from archiver.amqp.source import AmqpSource, read_facts
from archiver.amqp.topology import Topology
from archiver.ports import Message

from .amqp_client import AmqpClient
from .rabbit import Broker

DELAY = 0.3  # seconds in the delay queue
QUEUE = "requests"


@asynccontextmanager
async def opened(broker: Broker, vhost: str) -> AsyncIterator[AmqpSource]:
    connection = Connection(Address("127.0.0.1", broker.port, vhost, "guest", "guest"), "tests")
    try:
        assert await Topology(connection, QUEUE, DELAY).declare()
        facts = read_facts(vhost, QUEUE, 1800, 5)
        async with AmqpSource(connection, QUEUE, facts, wait_seconds=1, delay=DELAY) as source:
            yield source
    finally:
        await connection.close()


async def received(source: AmqpSource) -> Message:
    async with asyncio.timeout(20):
        while not (messages := await source.receive(1)):
            pass
    return messages[0]


async def test_a_priority_above_the_queues_own_is_its_highest_also_of_a_retry(broker: Broker) -> None:
    vhost = broker.vhost()
    with AmqpClient(broker.port, vhost) as client:
        async with opened(broker, vhost) as source:
            for priority in (1, 255, 99):
                client.publish(str(priority), QUEUE, priority=priority)
            first = await received(source)
            await source.release(first, 0)
            while client.depth(QUEUE) < 3:
                await asyncio.sleep(0.05)
            again = [await received(source) for _ in range(3)]

    assert [(one.body, one.receive_count) for one in again] == [("255", 2), ("99", 1), ("1", 1)]


@pytest.mark.parametrize(
    "policy",
    [
        {"dead-letter-exchange": "", "dead-letter-routing-key": "elsewhere"},
        {"message-ttl": 100},
        {"max-length": 1},
        {"max-length": 1, "overflow": "reject-publish"},
    ],
    ids=["dead letters", "time to live", "length", "refusals"],
)
async def test_a_policy_that_changes_under_a_worker_takes_no_message_that_it_holds(
    broker: Broker, policy: dict[str, object]
) -> None:
    """Its lease goes on; its retry is counted, and comes back by the delay queue's own way."""
    vhost = broker.vhost()
    with AmqpClient(broker.port, vhost) as client:
        client.declare("elsewhere")
        async with opened(broker, vhost) as source:
            client.publish("one", QUEUE)
            held = await received(source)
            broker.control("set_policy", "-p", vhost, "p", f"^{QUEUE}$", json.dumps(policy), "--apply-to", "queues")
            await asyncio.sleep(0.2)
            await source.extend(held, 30)
            await source.release(held, 0)
            again = await received(source)
            await source.delete(again)

            assert (again.body, again.receive_count) == ("one", 2)
            assert (client.depth("elsewhere"), client.depth(QUEUE), client.depth("job_delayed")) == (0, 0, 0)
