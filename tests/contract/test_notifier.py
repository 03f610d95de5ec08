"""The contract of Notifier, on the fake, SQS, SNS, EventBridge and Lambda."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeNotifier
from receivers import Receivers, receivers

from archiver.aws.attributes import attributes_size
from archiver.aws.clients import Clients
from archiver.aws.event_bus import EventBusNotifier
from archiver.aws.functions import FunctionNotifier
from archiver.aws.notifiers import open_client
from archiver.aws.queues import SqsNotifier
from archiver.aws.sns import SnsNotifier
from archiver.ports import Attribute, Notifier, OutgoingMessage

__all__ = ["receivers"]

MIB = 1024 * 1024
TRACE = {"Correlation-Id": Attribute("String", "ü-1"), "Raw": Attribute("Binary", b"\x00\x01")}


class Sender(Notifier, Protocol):
    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int: ...


class Harness:
    """A notifier, and the bodies and attributes that arrived. *trace*: attributes to send."""

    def __init__(self, notifier: Sender, arrived: Callable[[], list[tuple[str, dict[str, Any]]]]) -> None:
        self.notifier = notifier
        self.arrived = arrived
        self.trace = TRACE
        if isinstance(notifier, SnsNotifier):  # moto can't deliver binary attributes from a topic to a queue
            self.trace = {"Correlation-Id": TRACE["Correlation-Id"]}


def on_fake() -> Harness:
    memory = FakeNotifier()
    return Harness(
        memory, lambda: [(note.body, {n: a.value for n, a in note.attributes.items()}) for note in memory.sent]
    )


def on_sqs(aws: EmulatedAws, clients: Clients) -> Harness:
    url = aws.queue()

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        return [
            (
                m["Body"],
                {n: a.get("StringValue", a.get("BinaryValue")) for n, a in m.get("MessageAttributes", {}).items()},
            )
            for m in aws.all_messages(url)
        ]

    return Harness(SqsNotifier(clients.sqs_control, url), arrived)


async def on_sns(receivers: Receivers, clients: Clients, stack: AsyncExitStack) -> Harness:
    topic, queue = receivers.topic()
    client = await open_client(stack, clients, "sns", topic, calls=1)

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        return [
            (body, {name: value for name, value in attributes.items() if name != "status"})
            for body, attributes in receivers.messages(queue)
        ]

    return Harness(SnsNotifier(client, topic), arrived)


async def on_event_bus(receivers: Receivers, clients: Clients, stack: AsyncExitStack) -> Harness:
    bus = receivers.bus()
    client = await open_client(stack, clients, "events", bus, calls=1)
    sent: list[str] = []
    client.meta.events.register("before-send.events.PutEvents", lambda request, **_: sent.append(request.body.decode()))

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        return [(entry["Detail"], {}) for body in sent for entry in json.loads(body)["Entries"]]

    return Harness(EventBusNotifier(client, bus, "archives", "aws"), arrived)


async def on_function(receivers: Receivers, clients: Clients, stack: AsyncExitStack, *, waits: bool) -> Harness:
    function = receivers.function()
    client = await open_client(stack, clients, "lambda", function, calls=1)
    sent: list[str] = []
    client.meta.events.register("before-send.lambda.Invoke", lambda request, **_: sent.append(request.body.decode()))
    return Harness(FunctionNotifier(client, function, waits=waits), lambda: [(body, {}) for body in sent])


@pytest.fixture(params=["fake", "sqs", "sns"])
async def harness(
    request: pytest.FixtureRequest, aws: EmulatedAws, receivers: Receivers, clients: Clients
) -> AsyncIterator[Harness]:
    """Those that pass attributes on."""
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            yield on_fake()
        elif request.param == "sqs":
            yield on_sqs(aws, clients)
        else:
            yield await on_sns(receivers, clients, stack)


@pytest.fixture(params=["sns", "event bus", "event", "request"])
async def way_out(request: pytest.FixtureRequest, receivers: Receivers, clients: Clients) -> AsyncIterator[Harness]:
    """Those beside SQS."""
    async with AsyncExitStack() as stack:
        if request.param == "sns":
            yield await on_sns(receivers, clients, stack)
        elif request.param == "event bus":
            yield await on_event_bus(receivers, clients, stack)
        else:
            yield await on_function(receivers, clients, stack, waits=request.param == "request")


async def test_an_answer_arrives(way_out: Harness) -> None:
    await way_out.notifier.send(OutgoingMessage('{"status": "ü"}', "id-1", "group", {}, "succeeded", "3f/a.zip"))
    assert way_out.arrived() == [('{"status": "ü"}', {})]


async def test_a_body_that_fills_the_room_is_accepted(way_out: Harness) -> None:
    """EventBridge counts more than the detail; nobody counts more than 256 KiB."""
    room = way_out.notifier.max_body_bytes({})
    body = f'{{"a": "{"x" * (room - 9)}"}}'

    await way_out.notifier.send(OutgoingMessage(body, "id-1", "group", {}, "succeeded", f"{'3' * 64}/{'k' * 900}.zip"))

    assert 250 * 1024 < len(body) == room <= 256 * 1024
    assert [len(arrived) for arrived, _ in way_out.arrived()] == [room]


async def test_an_answer_arrives_with_its_attributes(harness: Harness) -> None:
    await harness.notifier.send(OutgoingMessage('{"status": "ü"}', "id-1", "group", harness.trace))
    assert harness.arrived() == [('{"status": "ü"}', {name: one.value for name, one in harness.trace.items()})]


async def test_attributes_that_sqs_refuses_are_left_out_and_the_answer_arrives(harness: Harness) -> None:
    refused = {
        "Empty": Attribute("String", ""),
        "Control": Attribute("String", "a\x00b"),
        "AWS.Mine": Attribute("String", "x"),
        "two..dots": Attribute("String", "x"),
        "Type": Attribute("Text", "x"),
    }
    await harness.notifier.send(OutgoingMessage("{}", "id-1", "group", {**refused, "Good": Attribute("String", "x")}))
    assert harness.arrived() == [("{}", {"Good": "x"})]


async def test_at_most_ten_attributes_are_passed_on(harness: Harness) -> None:
    """SNS has one of its own among them."""
    many = {f"a{number}": Attribute("String", "x") for number in range(12)}
    await harness.notifier.send(OutgoingMessage("{}", "id-1", "group", many))
    [(_, attributes)] = harness.arrived()
    passed_on = 9 if isinstance(harness.notifier, SnsNotifier) else 10
    assert sorted(attributes) == [f"a{number}" for number in range(passed_on)]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 1 MiB
async def test_a_body_that_fills_the_room_beside_its_attributes_is_accepted(harness: Harness) -> None:
    room = harness.notifier.max_body_bytes(harness.trace)
    whole = MIB if not isinstance(harness.notifier, SnsNotifier) else MIB // 4 - len("status" + "String") - 32
    assert room == whole - attributes_size(harness.trace)
    await harness.notifier.send(OutgoingMessage("x" * room, "id-1", "group", harness.trace))
    assert [len(body) for body, _ in harness.arrived()] == [room]
