"""The law of MessageSource, on the twin and on SQS."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from emulator import Aws
from fakes import HandClock, MemoryQueue

from archiver.aws.clients import Clients
from archiver.aws.sqs import SqsSource
from archiver.errors import LeaseLost, Temporary
from archiver.ports import Attribute, Message, MessageSource, QueueFacts, Rejection

MIB = 1024 * 1024
VISIBILITY = 2
REJECTION = Rejection("invalid_json", "not JSON: line 1", "group-1", "dedup-1")
TRACE = {"traceparent": Attribute("String", "00-ab-cd-01"), "Count": Attribute("Number", "3")}


@dataclass
class Bench:
    """
    A source on its clock, how to send to its queue, what its dead-letter queue holds (bodies and attributes),
    and how to let seconds pass.
    """

    source: MessageSource
    facts: QueueFacts
    send: Callable[[str, Mapping[str, Attribute]], object]
    rejected: Callable[[], list[tuple[str, Mapping[str, Attribute]]]]
    clock: Callable[[], float]
    let_pass: Callable[[float], Awaitable[None]]


def on_twin(*, dead_letters: bool = True) -> Bench:
    clock = HandClock()
    dead = MemoryQueue()
    facts = QueueFacts("arn:aws:sqs:eu-west-1:123456789012:source", VISIBILITY, 3, "arn:aws:sqs:eu-west-1:1:dead")
    queue = MemoryQueue(facts, dead_letters=dead if dead_letters else None, clock=clock)

    async def let_pass(seconds: float) -> None:
        clock.advance(seconds)

    return Bench(
        source=queue,
        facts=facts,
        send=queue.put,
        rejected=lambda: [(message.body, message.attributes) for message in dead.messages],
        clock=clock,
        let_pass=let_pass,
    )


async def on_sqs(aws: Aws, clients: Clients, *, dead_letters: bool = True) -> Bench:
    dead = aws.queue()
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": "3"})
    attributes = {"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": redrive if dead_letters else ""}
    url = aws.queue(attributes)
    source = await SqsSource.open(clients, aws.arn(url), wait_seconds=1)
    return Bench(
        source=source,
        facts=source.facts,
        send=lambda body, attributes: aws.sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageAttributes=told(attributes)
        ),
        rejected=lambda: [(m["Body"], untold(m.get("MessageAttributes", {}))) for m in aws.all_messages(dead)],
        clock=time.monotonic,
        let_pass=asyncio.sleep,
    )


def told(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, object]]:
    return {
        name: {"DataType": a.type, "BinaryValue" if isinstance(a.value, bytes) else "StringValue": a.value}
        for name, a in attributes.items()
    }


def untold(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    return {n: Attribute(a["DataType"], a.get("StringValue", a.get("BinaryValue"))) for n, a in attributes.items()}


Build = Callable[..., Awaitable[Bench]]


@pytest.fixture(params=["twin", "sqs"])
def build(request: pytest.FixtureRequest) -> Build:
    async def twin(*, dead_letters: bool = True) -> Bench:
        return on_twin(dead_letters=dead_letters)

    if request.param == "twin":
        return twin
    return partial(on_sqs, request.getfixturevalue("aws"), request.getfixturevalue("clients"))


@pytest.fixture
async def bench(build: Build) -> Bench:
    return await build()


async def one(bench: Bench) -> Message:
    [message] = await bench.source.receive(10)
    return message


async def test_a_message_comes_with_its_body_attributes_and_first_count(bench: Bench) -> None:
    before = bench.clock()
    bench.send("{}", TRACE)
    message = await one(bench)
    assert (message.body, message.receive_count, dict(message.attributes)) == ("{}", 1, TRACE)
    assert message.id
    assert message.group is None
    assert before <= message.received_at <= bench.clock()
    assert abs((datetime.now(UTC) - message.sent_at).total_seconds()) < 60
    assert message.first_received.isdigit()
    assert message.receipt not in repr(message)


async def test_a_message_counts_as_received_from_before_the_poll_that_brought_it(bench: Bench) -> None:
    """SQS hides it at some moment of the poll: the lease counts from the earliest."""
    polling = asyncio.create_task(bench.source.receive(10))
    await asyncio.sleep(0)
    await bench.let_pass(0.005)
    begun_before = bench.clock()
    bench.send("{}", {})
    [message] = await polling
    assert message.received_at < begun_before


async def test_an_empty_queue_gives_an_empty_list(bench: Bench) -> None:
    assert await bench.source.receive(10) == []


async def test_no_more_messages_come_than_were_asked_for(bench: Bench) -> None:
    for number in range(3):
        bench.send(str(number), {})
    first = await bench.source.receive(2)
    rest = await bench.source.receive(10)
    assert len(first) in (1, 2)
    assert sorted(message.body for message in first + rest) == ["0", "1", "2"]


async def test_a_received_message_is_hidden_until_it_is_given_back_and_then_counts_one_more(bench: Bench) -> None:
    bench.send("{}", {})
    first = await one(bench)
    assert await bench.source.receive(10) == []
    await bench.source.hide(first, 0)
    second = await one(bench)
    assert (second.id, second.receive_count, second.first_received) == (first.id, 2, first.first_received)
    assert second.receipt != first.receipt


async def test_a_message_that_nobody_hides_comes_back_after_the_visibility_timeout(bench: Bench) -> None:
    bench.send("{}", {})
    first = await one(bench)
    await bench.let_pass(VISIBILITY + 0.3)
    assert (await one(bench)).id == first.id


async def test_a_hidden_message_stays_away_beyond_the_visibility_timeout(bench: Bench) -> None:
    bench.send("{}", {})
    message = await one(bench)
    await bench.source.hide(message, 60)
    await bench.let_pass(VISIBILITY + 0.3)
    assert await bench.source.receive(10) == []


async def test_a_deleted_message_never_comes_back(bench: Bench) -> None:
    bench.send("{}", {})
    await bench.source.delete(await one(bench))
    await bench.let_pass(VISIBILITY + 0.3)
    assert await bench.source.receive(10) == []


# moto lets a message be hidden that is not in flight, and knows no stale receipts.
on_the_twin = pytest.mark.parametrize("build", ["twin"], indirect=True)


@on_the_twin
async def test_a_message_that_was_given_back_can_not_be_hidden_any_more(bench: Bench) -> None:
    bench.send("{}", {})
    message = await one(bench)
    await bench.source.hide(message, 0)
    with pytest.raises(LeaseLost):
        await bench.source.hide(message, 10)


@on_the_twin
async def test_the_receipt_of_an_earlier_receive_is_a_lost_lease(bench: Bench) -> None:
    bench.send("{}", {})
    first = await one(bench)
    await bench.let_pass(VISIBILITY + 0.3)
    await one(bench)
    with pytest.raises(LeaseLost):
        await bench.source.hide(first, 10)
    with pytest.raises(LeaseLost):
        await bench.source.delete(first)


async def test_a_receipt_that_never_was_is_a_lost_lease(bench: Bench) -> None:
    bench.send("{}", {})
    message = replace(await one(bench), receipt="nonsense")
    with pytest.raises(LeaseLost):
        await bench.source.hide(message, 10)
    with pytest.raises(LeaseLost):
        await bench.source.delete(message)


async def test_no_message_can_be_hidden_for_more_than_twelve_hours(bench: Bench) -> None:
    bench.send("{}", {})
    with pytest.raises(LeaseLost):
        await bench.source.hide(await one(bench), 43_201)


async def test_a_rejected_message_keeps_its_body_and_attributes_and_tells_its_reason(bench: Bench) -> None:
    bench.send('{"a": "ü"}', TRACE)
    message = await one(bench)
    await bench.source.reject(message, REJECTION)
    told = {"ErrorCode": "invalid_json", "ErrorMessage": "not JSON: line 1", "MessageId": message.id}
    reason = {name: Attribute("String", text) for name, text in told.items()}
    assert bench.rejected() == [('{"a": "ü"}', {**TRACE, **reason})]


async def test_the_reason_displaces_other_attributes_beyond_ten(bench: Bench) -> None:
    bench.send("{}", {f"a{number}": Attribute("String", "x") for number in range(10)})
    await bench.source.reject(await one(bench), REJECTION)
    [(_, attributes)] = bench.rejected()
    assert len(attributes) == 10
    assert attributes["ErrorCode"].value == "invalid_json"


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 1 MiB
async def test_a_body_of_the_largest_size_is_rejected_whole(bench: Bench) -> None:
    body = "x" * MIB
    bench.send(body, {})
    await bench.source.reject(await one(bench), REJECTION)
    assert [text == body for text, _ in bench.rejected()] == [True]


async def test_the_reason_of_an_earlier_rejection_does_not_come_along(bench: Bench) -> None:
    bench.send("{}", {"ErrorCode": Attribute("String", "x"), "ErrorMessage": Attribute("String", "y"), **TRACE})
    assert dict((await one(bench)).attributes) == TRACE


async def test_without_a_dead_letter_queue_a_rejection_has_to_wait(build: Build) -> None:
    bench = await build(dead_letters=False)
    bench.send("{}", {})
    message = await one(bench)
    with pytest.raises(Temporary, match="no dead-letter queue"):
        await bench.source.reject(message, REJECTION)
    await bench.source.hide(message, 0)


async def test_the_queue_tells_its_visibility_and_redrive_policy(bench: Bench) -> None:
    assert bench.facts.visibility == VISIBILITY
    assert bench.facts.max_receives == 3
    assert bench.facts.dead_letter_arn
    assert bench.facts.arn.startswith("arn:aws:sqs:")
