"""Replies and dead letters on a broker in memory."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from fakes.amqp import FakeBroker, FakeConnection

from archiver.amqp.connection import Connection
from archiver.amqp.publishing import (
    AmqpDeadLetters,
    AmqpNotifier,
    AmqpProgress,
    Publisher,
    Route,
    announce,
    make_properties,
)
from archiver.amqp.source import AmqpSource
from archiver.errors import ConfigurationError, TransientError, Undeliverable
from archiver.ports import Attribute, Message, OutgoingMessage, Rejection

NOTE = OutgoingMessage(
    "{}", "n-1", "group", {"Correlation-Id": Attribute("String", "c-1"), "n": Attribute("Number", "3")}
)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(exchanges={"job_response": {}})


@pytest.fixture
def connection(broker: FakeBroker) -> FakeConnection:
    return FakeConnection(broker)


@pytest.fixture
def publisher(connection: FakeConnection) -> Publisher:
    return Publisher(cast("Connection", connection))


async def test_a_reply_is_persistent_json_with_ids_and_headers(publisher: Publisher, broker: FakeBroker) -> None:
    notifier = AmqpNotifier(publisher, "job_response", "job_completed")
    assert notifier.max_body_bytes({}) == 1 << 20
    await notifier.send(NOTE)
    [(exchange, key, body, told)] = broker.published
    assert (exchange, key, body) == ("job_response", "job_completed", b"{}")
    assert (told.delivery_mode, told.content_type, told.message_id) == (2, "application/json", "n-1")
    assert (told.correlation_id, told.headers) == ("c-1", {"n": 3})


async def test_one_channel_is_used_until_it_is_closed(
    publisher: Publisher, connection: FakeConnection, broker: FakeBroker
) -> None:
    route, told = Route("job_response", "k"), make_properties("n", {})
    await publisher.publish(route, b"", told)
    await publisher.publish(route, b"", told)
    connection.channels[0].wire.close()
    await publisher.publish(route, b"", told)
    assert (len(connection.channels), len(broker.published)) == (2, 3)


async def test_progress_events_alone_go_to_their_routing_key(publisher: Publisher, broker: FakeBroker) -> None:
    progress = AmqpProgress(publisher, "job_response", "job_progression")
    for status in ("accepted", "waiting", "building", "succeeded", "failed", "cancelled"):
        await progress.send(OutgoingMessage(status, f"n-{status}", "", status=status))
    assert [body for _, _, body, _ in broker.published] == [b"accepted", b"waiting", b"building"]


async def test_a_worker_describes_itself_where_a_queue_is_for_that(
    publisher: Publisher, broker: FakeBroker, connection: FakeConnection
) -> None:
    await announce(publisher, {"label": "Archiver"})
    connection.errors = [ConfigurationError("refused"), TransientError("closed")]
    for _ in range(2):
        await announce(Publisher(cast("Connection", connection)), {})
    [(exchange, key, body, told)] = broker.published
    assert (exchange, key, body) == ("", "worker_discovery", b'{"label": "Archiver"}')
    assert (told.content_type, told.delivery_mode) == ("application/json", 2)


async def test_a_missing_exchange_is_a_fault_of_the_set_up(publisher: Publisher) -> None:
    with pytest.raises(ConfigurationError, match="no exchange 'elsewhere'"):
        await AmqpNotifier(publisher, "elsewhere", "k").send(NOTE)


async def test_a_full_queue_may_have_room_later(publisher: Publisher, broker: FakeBroker) -> None:
    broker.full.add("job_completed")
    with pytest.raises(TransientError, match="its queue may be full"):
        await AmqpNotifier(publisher, "job_response", "job_completed").send(NOTE)


async def test_a_message_beyond_the_brokers_size_is_undeliverable(publisher: Publisher) -> None:
    with pytest.raises(Undeliverable, match="message size"):
        await publisher.publish(Route("", "q"), bytes((1 << 27) + 1), make_properties("n", {}))


async def test_a_broker_that_blocks_publishing_is_told_before_and_after(
    publisher: Publisher, connection: FakeConnection, broker: FakeBroker
) -> None:
    connection.blocked = True
    with pytest.raises(TransientError, match="its alarm for memory or disk"):
        await AmqpNotifier(publisher, "job_response", "k").send(NOTE)
    assert broker.published == []


async def test_two_messages_of_one_id_are_not_under_way_together(
    publisher: Publisher, connection: FakeConnection, broker: FakeBroker
) -> None:
    """The client knows a returned message by its id alone."""
    under_way, most = 0, 0
    channel = await publisher._open()

    async def publish(*_: Any, **__: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    cast("Any", channel).wire.basic_publish = publish
    route = Route("", "q")
    await asyncio.gather(*(publisher.publish(route, b"", make_properties("same", {})) for _ in range(3)))
    assert most == 1
    await asyncio.gather(*(publisher.publish(route, b"", make_properties(f"n{n}", {})) for n in range(3)))
    assert most == 3


MESSAGE = Message("m-1", "", "receipt", 0.0, 1, datetime(2026, 3, 1, tzinfo=UTC))
REJECTION = Rejection("invalid_json", "no JSON", "group", "dedup")


class _Source:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def delivered(self, message: Message) -> Any:
        found = self._broker.messages["jobs"]
        return found[0] if found else None


async def test_a_dead_letter_has_the_bytes_and_the_reason_and_no_end(publisher: Publisher, broker: FakeBroker) -> None:
    broker.put("jobs", b"\xff", expiration="5", user_id="guest", headers={"n": 3}, content_type="x/y")
    letters = AmqpDeadLetters(publisher, cast("AmqpSource", _Source(broker)), "dead")
    await letters.put(MESSAGE, REJECTION)
    [(exchange, key, body, told)] = broker.published
    assert (exchange, key, body, told.content_type) == ("", "dead", b"\xff", "x/y")
    assert (told.expiration, told.user_id, told.delivery_mode) == (None, None, 2)
    assert told.headers == {"n": 3, "ErrorCode": "invalid_json", "ErrorMessage": "no JSON", "MessageId": "m-1"}


async def test_properties_that_decoding_made_longer_fit_into_a_dead_letter(
    publisher: Publisher, broker: FakeBroker
) -> None:
    """255 bytes that are no text are 765 bytes of replacement characters."""
    texts = ("content_type", "content_encoding", "correlation_id", "message_id", "message_type", "app_id")
    broker.put("jobs", b"", **dict.fromkeys(texts, "\ufffd" * 255))
    await AmqpDeadLetters(publisher, cast("AmqpSource", _Source(broker)), "dead").put(MESSAGE, REJECTION)
    [(_, _, _, told)] = broker.published
    assert {getattr(told, name) for name in texts} == {"\ufffd" * 85}


async def test_headers_that_do_not_fit_in_a_frame_of_this_broker_stay_behind(
    publisher: Publisher, connection: FakeConnection, broker: FakeBroker
) -> None:
    """A broker of a short frame_max would end the connection, and the message circle."""
    note = OutgoingMessage("{}", "n-1", "", {"long": Attribute("String", "x" * 5000)})
    for connection.frame_max in (131_072, 4096):
        await AmqpNotifier(publisher, "job_response", "k").send(note)
    assert [bool(told.headers) for _, _, _, told in broker.published] == [True, False]


async def test_a_dead_letter_that_nobody_holds_or_takes_is_an_error(publisher: Publisher, broker: FakeBroker) -> None:
    letters = AmqpDeadLetters(publisher, cast("AmqpSource", _Source(broker)), "dead")
    with pytest.raises(TransientError, match="not held"):
        await letters.put(MESSAGE, REJECTION)
