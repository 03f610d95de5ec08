"""The contract of MessageSource and DeadLetters on RabbitMQ: the tests of tests/contract, and RabbitMQ's own cases."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from contract.test_message_source import *  # noqa: F403
from contract.test_message_source import VISIBILITY, Build, Harness, one

from archiver.amqp.connection import Address, Connection
from archiver.amqp.publishing import AmqpDeadLetters, Publisher
from archiver.amqp.source import AmqpSource, read_facts
from archiver.amqp.topology import Topology
from archiver.ports import Attribute, Message

from .amqp_client import AmqpClient
from .rabbit import CHANNELS, Broker

DELAY = 0.3  # seconds in the delay queue
ACK_TIMEOUT = 1800


@dataclass(eq=False)
class AmqpHarness(Harness):
    connection: Connection | None = None
    client: AmqpClient | None = None
    queue: str = ""


def to_headers(attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    return {name: int(one.value) if one.type == "Number" else one.value for name, one in attributes.items()}


def from_headers(headers: Mapping[str, Any]) -> dict[str, Attribute]:
    return {
        name: Attribute("Number" if isinstance(value, int) else "String", str(value)) for name, value in headers.items()
    }


def address(broker: Broker, vhost: str) -> Address:
    return Address("127.0.0.1", broker.port, vhost, "guest", "guest")


@pytest.fixture(scope="module")
def vhost(broker: Broker) -> str:
    return broker.vhost()


@pytest.fixture(scope="module")
def client(broker: Broker, vhost: str) -> Any:
    with AmqpClient(broker.port, vhost) as opened:
        yield opened


async def open_harness(
    broker: Broker,
    client: AmqpClient,
    stack: AsyncExitStack,
    vhost: str,
    *,
    dead_letters: bool = True,
    ours: bool = True,
) -> AmqpHarness:
    queue, dead = f"q-{uuid.uuid4().hex[:8]}", f"dead-{uuid.uuid4().hex[:8]}"
    if dead_letters:
        client.declare(dead)
    receiving, sending = (Connection(address(broker, vhost), "tests") for _ in range(2))
    stack.push_async_callback(sending.close)
    stack.push_async_callback(receiving.close)
    if ours:
        assert await Topology(receiving, queue, DELAY).declare()
    else:
        client.declare(queue)
    facts = replace(read_facts(vhost, queue, ACK_TIMEOUT, 3), visibility=VISIBILITY)
    delay = DELAY if ours else None
    source = await stack.enter_async_context(AmqpSource(receiving, queue, facts, wait_seconds=0.6, delay=delay))
    return AmqpHarness(
        source=source,
        dead_letters=AmqpDeadLetters(Publisher(sending), source, dead),
        send=lambda body, attributes: client.publish(body, queue, headers=to_headers(attributes)),
        rejected=lambda: [(reply.body, from_headers(reply.headers)) for reply in client.take_all(dead)],
        clock=time.monotonic,
        let_pass=asyncio.sleep,
        longest=1740,
        id=f"amqp:{vhost}/q-",
        return_delay=DELAY + 0.2,
        tells_first_receive=False,
        max_attributes=100,
        connection=receiving,
        client=client,
        queue=queue,
    )


@pytest.fixture(name="build", params=["rabbitmq"])
async def on_rabbitmq(
    request: pytest.FixtureRequest, broker: Broker, client: AmqpClient, vhost: str
) -> AsyncIterator[Build]:
    async with AsyncExitStack() as stack:

        async def rabbit(*, dead_letters: bool = True, ours: bool = True) -> AmqpHarness:
            return await open_harness(broker, client, stack, vhost, dead_letters=dead_letters, ours=ours)

        yield rabbit


async def test_channels_are_used_again_however_many_messages_come(build: Build) -> None:
    """The client's own numbers only grow while a channel is open, and beyond the broker's limit it ends them all."""
    harness = await build()
    assert isinstance(harness, AmqpHarness)
    assert harness.client is not None
    harness.client.publish_all([str(number) for number in range(CHANNELS + 20)], harness.queue)
    kept = await one_of(harness)
    done: list[str] = []
    while len(done) < CHANNELS + 19:
        for message in await harness.source.receive(1):
            await harness.source.delete(message)
            done.append(message.body)
    assert len(set(done)) == CHANNELS + 19
    await harness.source.delete(kept)


async def one_of(harness: Harness) -> Message:
    [message] = await harness.source.receive(1)
    return message


async def test_the_message_of_a_closed_connection_comes_to_another_worker_at_once(build: Build) -> None:
    harness = await build(ours=False)
    assert isinstance(harness, AmqpHarness)
    assert harness.connection is not None
    harness.send("{}", {})
    message = await one(harness)
    assert message.gone is not None
    await harness.connection.close()
    assert message.gone.is_set()
    again = await one(harness)
    assert (again.id, again.receive_count) == (message.id, 2)
