"""The contract of Notifier, on the fake and on SQS."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest
from emulator import EmulatedAws
from fakes import FakeNotifier

from archiver.aws.clients import Clients
from archiver.aws.sqs import SqsNotifier
from archiver.ports import Attribute, Notifier, OutgoingMessage

MIB = 1024 * 1024
TRACE = {"Correlation-Id": Attribute("String", "ü-1"), "Raw": Attribute("Binary", b"\x00\x01")}


class Sender(Notifier, Protocol):
    def max_body_bytes(self, attributes: Mapping[str, Attribute]) -> int: ...


class Harness:
    """A notifier, and the bodies and attributes that arrived."""

    def __init__(self, notifier: Sender, arrived: Callable[[], list[tuple[str, dict[str, Any]]]]) -> None:
        self.notifier = notifier
        self.arrived = arrived


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


@pytest.fixture(params=["fake", "sqs"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "fake":
        return on_fake()
    return on_sqs(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


async def test_an_answer_arrives_with_its_attributes(harness: Harness) -> None:
    await harness.notifier.send(OutgoingMessage('{"status": "ü"}', "id-1", "group", TRACE))
    assert harness.arrived() == [('{"status": "ü"}', {"Correlation-Id": "ü-1", "Raw": b"\x00\x01"})]


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
    many = {f"a{number}": Attribute("String", "x") for number in range(12)}
    await harness.notifier.send(OutgoingMessage("{}", "id-1", "group", many))
    [(_, attributes)] = harness.arrived()
    assert list(attributes) == [f"a{number}" for number in range(10)]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 1 MiB
async def test_a_body_that_fills_the_room_beside_its_attributes_is_accepted(harness: Harness) -> None:
    room = harness.notifier.max_body_bytes(TRACE)
    assert room == MIB - len("Correlation-Id" + "String" + "Raw" + "Binary") - len("ü-1".encode()) - 2
    await harness.notifier.send(OutgoingMessage("x" * room, "id-1", "group", TRACE))
    assert [len(body) for body, _ in harness.arrived()] == [room]
