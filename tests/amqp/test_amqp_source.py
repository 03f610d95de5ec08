"""The RabbitMQ source on a broker in memory. The same on a real one: tests/e2e/test_amqp_contract.py."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from fakes.amqp import FakeBroker, FakeConnection

from archiver.amqp import source as source_module
from archiver.amqp.connection import Connection
from archiver.amqp.source import AmqpSource, read_facts
from archiver.errors import ConfigurationError, LeaseLost, TransientError

QUEUE = "jobs"


def open_source(connection: FakeConnection, *, delay: float | None = 5.0) -> AmqpSource:
    facts = read_facts("/", QUEUE, 1800, 5)
    return AmqpSource(cast("Connection", connection), QUEUE, facts, wait_seconds=0.02, delay=delay)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(queues={QUEUE: {}, "job_delayed": {}}, exchanges={"job_delayed": {}})


@pytest.fixture
def connection(broker: FakeBroker) -> FakeConnection:
    return FakeConnection(broker)


@pytest.fixture
async def source(connection: FakeConnection) -> AsyncIterator[AmqpSource]:
    async with open_source(connection) as opened:
        yield opened


def test_the_facts_follow_from_the_brokers_limit() -> None:
    facts = read_facts("v", QUEUE, 1800, 5)
    assert (facts.id, facts.visibility, facts.longest, facts.max_receives) == ("amqp:v/jobs", 30, 1740, 5)
    assert not facts.redrives
    least = read_facts("v", QUEUE, 4, 5)
    assert (least.visibility, least.longest) == (2, 3)


async def test_each_message_has_a_channel_of_its_own(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    for number in range(3):
        broker.put(QUEUE, str(number).encode(), message_id=f"m{number}")
    messages = await source.receive(10)
    assert [(one.id, one.body) for one in messages] == [("m0", "0"), ("m1", "1"), ("m2", "2")]
    connection.channels[1].wire.close()
    assert [one.gone is not None and one.gone.is_set() for one in messages] == [False, True, False]


async def test_a_channel_is_closed_with_its_message(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    await source.delete(message)
    assert len(broker.acknowledged) == 1
    assert connection.channels[0].is_closed
    with pytest.raises(LeaseLost):
        await source.delete(message)


async def test_a_lost_channel_is_a_lost_lease(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    await source.extend(message, 30)
    assert connection.proofs == 1
    connection.channels[0].wire.close()
    for call in (source.extend(message, 30), source.delete(message), source.release(message, 0)):
        with pytest.raises(LeaseLost):
            await call


async def test_an_acknowledgement_that_the_broker_does_not_know_is_a_lost_lease(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    connection.channels[0].wire._held.clear()
    with pytest.raises(LeaseLost, match="unknown delivery tag"):
        await source.delete(message)


async def test_what_a_worker_lost_is_counted_before_it_is_begun(source: AmqpSource, broker: FakeBroker) -> None:
    broker.put(QUEUE, b"poison")
    broker.messages[QUEUE][0].redelivered = True
    broker.put(QUEUE, b"other")
    assert [one.body for one in await source.receive(10)] == ["other"]
    assert [one.body for one in broker.rejected] == [b"poison"]


async def test_a_released_message_goes_to_the_delay_queue(source: AmqpSource, broker: FakeBroker) -> None:
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    await source.release(message, 5)
    assert len(broker.rejected) == 1
    with pytest.raises(LeaseLost):
        await source.extend(message, 30)


async def test_a_longer_delay_is_waited_for_here_and_ends_with_the_source(
    connection: FakeConnection, broker: FakeBroker
) -> None:
    async with open_source(connection) as source:
        broker.put(QUEUE, b"{}")
        [message] = await source.receive(1)
        await source.release(message, 900)
        await asyncio.sleep(0)
        assert broker.rejected == []
    assert len(broker.rejected) == 1


async def test_no_more_than_some_messages_are_held_for_their_delay(
    source: AmqpSource, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MAX_RETURNING", 1)
    for _ in range(2):
        broker.put(QUEUE, b"{}")
    for message in await source.receive(2):
        await source.release(message, 900)
    assert len(broker.rejected) == 1


async def test_without_a_delay_queue_a_message_is_requeued_and_counted_as_far_as_possible(
    connection: FakeConnection, broker: FakeBroker
) -> None:
    async with open_source(connection, delay=None) as source:
        assert source.facts.max_receives is None
        broker.put(QUEUE, b"{}")
        [message] = await source.receive(1)
        await source.release(message, 0)
        [again] = await source.receive(1)
        assert (message.receive_count, again.receive_count) == (1, 2)
    assert broker.rejected == []


async def test_a_message_that_nobody_extends_is_given_back(connection: FakeConnection, broker: FakeBroker) -> None:
    """The worker forgets messages that it could not release."""
    facts = read_facts("/", QUEUE, 1800, 5)
    async with AmqpSource(cast("Connection", connection), QUEUE, facts, wait_seconds=0.02, delay=5.0) as source:
        broker.put(QUEUE, b"{}")
        [message] = await source.receive(1)
        source._held[message.receipt].expires_at = 0
        source_task = asyncio.create_task(source._expire(), name="look now")
        await asyncio.sleep(0.01)
        source_task.cancel()
    assert message.gone is not None and message.gone.is_set()
    assert broker.messages[QUEUE][0].redelivered


async def test_no_message_is_held_beyond_the_brokers_limit(source: AmqpSource, broker: FakeBroker) -> None:
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    with pytest.raises(LeaseLost):
        await source.extend(message, 1741)


async def test_messages_that_came_before_a_failure_are_returned(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    broker.put(QUEUE, b"first")
    broker.put(QUEUE, b"second")
    opened = connection.channel

    async def only_once(*arguments: Any, **options: Any) -> Any:
        channel = await opened(*arguments, **options)
        connection.errors = [TransientError("the connection was closed")]
        return channel

    connection.channel = only_once  # type: ignore[method-assign]
    assert [one.body for one in await source.receive(2)] == ["first"]
    assert connection.errors == []
    connection.channel = opened  # type: ignore[method-assign]
    assert [one.body for one in await source.receive(2)] == ["second"]


async def test_a_get_without_an_answer_casts_doubt_on_the_connection(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    await source.receive(1)

    async def silent(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    cast("Any", connection.channels[0].wire).basic_get = silent
    with pytest.raises(TransientError, match="no response in time"):
        await source.receive(1)
    assert connection.doubts == 1


async def test_a_queue_that_is_gone_is_a_fault_of_the_set_up(source: AmqpSource, broker: FakeBroker) -> None:
    del broker.queues[QUEUE]
    with pytest.raises(ConfigurationError, match="no queue 'jobs'"):
        await source.receive(1)


async def test_a_body_that_is_no_request_is_told_as_a_problem(source: AmqpSource, broker: FakeBroker) -> None:
    broker.put(QUEUE, b"\xff")
    [message] = await source.receive(1)
    assert (message.body, message.problem) == ("", "the message is not UTF-8: byte 0 is 0xff")


@pytest.mark.parametrize("gone", ["queue", "exchange"])
async def test_a_message_is_requeued_where_the_delay_queue_was_deleted(
    source: AmqpSource, broker: FakeBroker, gone: str
) -> None:
    """The broker drops what is rejected without a way."""
    broker.put(QUEUE, b"{}", message_id="m-1")
    del (broker.queues if gone == "queue" else broker.exchanges)["job_delayed"]
    [message] = await source.receive(1)
    await source.release(message, 0)
    assert not broker.rejected
    [again] = await source.receive(1)
    assert (again.id, again.receive_count) == ("m-1", 2)


async def test_a_lost_message_is_not_looked_after(
    source: AmqpSource, broker: FakeBroker, connection: FakeConnection
) -> None:
    """A worker that stops while the broker is down would wait for a connection for each of its messages."""
    broker.put(QUEUE, b"{}")
    [message] = await source.receive(1)
    await source.release(message, 60)
    connection.channels[0].wire.close()
    source._closing.set()
    await asyncio.wait(source._returning)
    assert len(connection.channels) == 1


async def test_a_message_of_forged_deaths_is_never_rejected_to_the_delay_queue(
    source: AmqpSource, broker: FakeBroker
) -> None:
    """RabbitMQ 3.10 would end the queue's process in it, and lose messages."""
    broker.put(QUEUE, b"{}", headers={"x-death": [1]})
    for receive in (1, 2):
        [message] = await source.receive(1)
        assert (message.receive_count, "x-death" in message.problem) == (receive, True)
        await source.release(message, 0)
    assert not broker.rejected
