"""The contract of MessageSource on the fake, on SQS and on order files; that of DeadLetters on the first two."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from emulator import EmulatedAws
from fakes import FakeDeadLetters, FakeQueue, ManualClock

from archiver.aws.clients import Clients
from archiver.aws.sqs import SqsSource
from archiver.doors.order_source import Order, OrderSource
from archiver.errors import LeaseLost, TransientError
from archiver.ports import Attribute, DeadLetters, Message, MessageSource, QueueFacts, Rejection

MIB = 1024 * 1024
VISIBILITY = 2
REJECTION = Rejection("invalid_json", "not JSON: line 1", "group-1", "dedup-1")
TRACE = {"traceparent": Attribute("String", "00-ab-cd-01"), "Count": Attribute("Number", "3")}


@dataclass
class Harness:
    """
    A source on its clock, its dead letters, how to send to its queue, what its dead-letter queue holds (bodies and
    attributes), and how to let seconds pass.

    What sources differ in: *longest* and the beginning of *id*, as in its facts; *return_delay*: seconds that a
    released message is away at least; *tells_first_receive*; *max_attributes* of a dead letter.
    """

    source: MessageSource
    dead_letters: DeadLetters
    send: Callable[[str, Mapping[str, Attribute]], object]
    rejected: Callable[[], list[tuple[str, Mapping[str, Attribute]]]]
    clock: Callable[[], float]
    let_pass: Callable[[float], Awaitable[None]]
    longest: int = 43_200
    id: str = "arn:aws:sqs:"
    return_delay: float = 0.0
    tells_first_receive: bool = True
    max_attributes: int = 10


def on_fake(*, dead_letters: bool = True) -> Harness:
    clock = ManualClock()
    dead = FakeQueue()
    facts = QueueFacts("arn:aws:sqs:eu-west-1:123456789012:source", VISIBILITY, 43_200, 3)
    queue = FakeQueue(facts, dead_letters=dead if dead_letters else None, clock=clock)

    async def let_pass(seconds: float) -> None:
        clock.advance(seconds)

    return Harness(
        source=queue,
        dead_letters=FakeDeadLetters(dead if dead_letters else None),
        send=queue.put,
        rejected=lambda: [(message.body, message.attributes) for message in dead.messages],
        clock=clock,
        let_pass=let_pass,
    )


async def on_sqs(aws: EmulatedAws, clients: Clients, *, dead_letters: bool = True) -> Harness:
    dead = aws.queue()
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": "3"})
    attributes = {"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": redrive if dead_letters else ""}
    url = aws.queue(attributes)
    source = await SqsSource.open(clients, aws.arn(url), wait_seconds=1)
    return Harness(
        source=source,
        dead_letters=source.dead_letters,
        send=lambda body, attributes: aws.sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageAttributes=told(attributes)
        ),
        rejected=lambda: [(m["Body"], untold(m.get("MessageAttributes", {}))) for m in aws.all_messages(dead)],
        clock=time.monotonic,
        let_pass=asyncio.sleep,
    )


def on_orders() -> Harness:
    clock = ManualClock()
    source = OrderSource(on_end=lambda: None, at_once=10, visibility=VISIBILITY, clock=clock)

    async def let_pass(seconds: float) -> None:
        clock.advance(seconds)

    return Harness(
        source=source,
        dead_letters=FakeDeadLetters(None),
        send=lambda body, attributes: source.add(Order("id", body, attributes)),
        rejected=list,
        clock=clock,
        let_pass=let_pass,
    )


def told(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, object]]:
    return {
        name: {"DataType": a.type, "BinaryValue" if isinstance(a.value, bytes) else "StringValue": a.value}
        for name, a in attributes.items()
    }


def untold(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    return {n: Attribute(a["DataType"], a.get("StringValue", a.get("BinaryValue"))) for n, a in attributes.items()}


Build = Callable[..., Awaitable[Harness]]


@pytest.fixture(params=["fake", "sqs", "orders"])
def build(request: pytest.FixtureRequest) -> Build:
    async def orders(*, dead_letters: bool = True) -> Harness:
        del dead_letters
        return on_orders()

    if request.param == "orders":
        return orders

    async def fake(*, dead_letters: bool = True) -> Harness:
        return on_fake(dead_letters=dead_letters)

    if request.param == "fake":
        return fake
    return partial(on_sqs, request.getfixturevalue("aws"), request.getfixturevalue("clients"))


@pytest.fixture
async def harness(build: Build) -> Harness:
    return await build()


async def one(harness: Harness) -> Message:
    [message] = await harness.source.receive(10)
    return message


async def test_a_message_comes_with_its_body_attributes_and_first_count(harness: Harness) -> None:
    before = harness.clock()
    harness.send("{}", TRACE)
    message = await one(harness)
    assert (message.body, message.receive_count, dict(message.attributes)) == ("{}", 1, TRACE)
    assert message.id
    assert message.group is None
    assert before <= message.received_at <= harness.clock()
    assert abs((datetime.now(UTC) - message.sent_at).total_seconds()) < 60
    assert message.first_received.isdigit() == harness.tells_first_receive
    assert message.receipt not in repr(message)


async def test_a_message_counts_as_received_from_before_the_poll_that_brought_it(harness: Harness) -> None:
    """SQS hides it at some moment of the poll: the lease counts from the earliest."""
    polling = asyncio.create_task(harness.source.receive(10))
    await asyncio.sleep(0)
    await harness.let_pass(0.005)
    begun_before = harness.clock()
    harness.send("{}", {})
    [message] = await polling
    assert message.received_at < begun_before


async def test_an_empty_queue_gives_an_empty_list(harness: Harness) -> None:
    assert await harness.source.receive(10) == []


async def test_no_more_messages_come_than_were_asked_for(harness: Harness) -> None:
    for number in range(3):
        harness.send(str(number), {})
    first = await harness.source.receive(2)
    rest = await harness.source.receive(10)
    assert len(first) in (1, 2)
    assert sorted(message.body for message in first + rest) == ["0", "1", "2"]


async def test_a_received_message_is_hidden_until_it_is_given_back_and_then_counts_one_more(harness: Harness) -> None:
    harness.send("{}", {})
    first = await one(harness)
    assert await harness.source.receive(10) == []
    await harness.source.release(first, 0)
    await harness.let_pass(harness.return_delay)
    second = await one(harness)
    assert (second.id, second.receive_count, second.first_received) == (first.id, 2, first.first_received)
    assert second.receipt != first.receipt


async def test_a_message_that_nobody_hides_comes_back_after_the_visibility_timeout(harness: Harness) -> None:
    harness.send("{}", {})
    first = await one(harness)
    await harness.let_pass(VISIBILITY + 0.3)
    assert (await one(harness)).id == first.id


async def test_a_hidden_message_stays_away_beyond_the_visibility_timeout(harness: Harness) -> None:
    harness.send("{}", {})
    message = await one(harness)
    await harness.source.extend(message, 60)
    await harness.let_pass(VISIBILITY + 0.3)
    assert await harness.source.receive(10) == []


async def test_a_released_message_comes_back_after_its_delay(harness: Harness) -> None:
    harness.send("{}", {})
    first = await one(harness)
    await harness.source.release(first, 1)
    assert await harness.source.receive(10) == []
    await harness.let_pass(1.3)
    assert (await one(harness)).receive_count == 2


async def test_a_deleted_message_never_comes_back(harness: Harness) -> None:
    harness.send("{}", {})
    await harness.source.delete(await one(harness))
    await harness.let_pass(VISIBILITY + 0.3)
    assert await harness.source.receive(10) == []


# moto lets a message be hidden that is not in flight, and knows no stale receipts.
on_all_but_moto = pytest.mark.parametrize("build", ["fake", "orders"], indirect=True)
# Order files have no dead letters, and are held for as long as the worker likes.
on_queues = pytest.mark.parametrize("build", ["fake", "sqs"], indirect=True)


@on_all_but_moto
async def test_a_message_that_was_given_back_can_not_be_hidden_any_more(harness: Harness) -> None:
    harness.send("{}", {})
    message = await one(harness)
    await harness.source.release(message, 0)
    with pytest.raises(LeaseLost):
        await harness.source.extend(message, 10)


@on_all_but_moto
async def test_the_receipt_of_an_earlier_receive_is_a_lost_lease(harness: Harness) -> None:
    harness.send("{}", {})
    first = await one(harness)
    await harness.let_pass(VISIBILITY + 0.3)
    await one(harness)
    with pytest.raises(LeaseLost):
        await harness.source.extend(first, 10)
    with pytest.raises(LeaseLost):
        await harness.source.delete(first)


async def test_a_receipt_that_never_was_is_a_lost_lease(harness: Harness) -> None:
    harness.send("{}", {})
    message = replace(await one(harness), receipt="nonsense")
    with pytest.raises(LeaseLost):
        await harness.source.extend(message, 10)
    with pytest.raises(LeaseLost):
        await harness.source.delete(message)


@on_queues
async def test_no_message_can_be_hidden_for_longer_than_its_source_holds_any(harness: Harness) -> None:
    harness.send("{}", {})
    with pytest.raises(LeaseLost):
        await harness.source.extend(await one(harness), harness.longest + 1)


@on_queues
async def test_a_rejected_message_keeps_its_body_and_attributes_and_tells_its_reason(harness: Harness) -> None:
    harness.send('{"a": "ü"}', TRACE)
    message = await one(harness)
    await harness.dead_letters.put(message, REJECTION)
    told = {"ErrorCode": "invalid_json", "ErrorMessage": "not JSON: line 1", "MessageId": message.id}
    reason = {name: Attribute("String", text) for name, text in told.items()}
    assert harness.rejected() == [('{"a": "ü"}', {**TRACE, **reason})]


@on_queues
async def test_the_reason_displaces_other_attributes_beyond_the_limit(harness: Harness) -> None:
    harness.send("{}", {f"a{number}": Attribute("String", "x") for number in range(10)})
    await harness.dead_letters.put(await one(harness), REJECTION)
    [(_, attributes)] = harness.rejected()
    assert len(attributes) == min(10 + 3, harness.max_attributes)
    assert attributes["ErrorCode"].value == "invalid_json"


@on_queues
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 1 MiB
async def test_a_body_of_the_largest_size_is_rejected_whole(harness: Harness) -> None:
    body = "x" * MIB
    harness.send(body, {})
    await harness.dead_letters.put(await one(harness), REJECTION)
    assert [text == body for text, _ in harness.rejected()] == [True]


@on_queues
async def test_the_reason_of_an_earlier_rejection_does_not_come_along(harness: Harness) -> None:
    harness.send("{}", {"ErrorCode": Attribute("String", "x"), "ErrorMessage": Attribute("String", "y"), **TRACE})
    assert dict((await one(harness)).attributes) == TRACE


@on_queues
async def test_without_a_dead_letter_queue_a_rejection_has_to_wait(build: Build) -> None:
    harness = await build(dead_letters=False)
    harness.send("{}", {})
    message = await one(harness)
    with pytest.raises(TransientError, match="no dead-letter queue"):
        await harness.dead_letters.put(message, REJECTION)
    await harness.source.release(message, 0)


@on_queues
async def test_the_queue_tells_its_visibility_and_redrive_policy(harness: Harness) -> None:
    facts = harness.source.facts
    assert (facts.visibility, facts.longest, facts.max_receives) == (VISIBILITY, harness.longest, 3)
    assert facts.id.startswith(harness.id)
