"""The law of Notifier, on the twin and on SQS."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pytest
from emulator import Aws
from fakes import MemoryNotifier

from archiver.aws.clients import Clients
from archiver.aws.sqs import SqsNotifier
from archiver.ports import Attribute, Note, Notifier

MIB = 1024 * 1024
TRACE = {"Correlation-Id": Attribute("String", "ü-1"), "Raw": Attribute("Binary", b"\x00\x01")}


class Sender(Notifier, Protocol):
    def room_for(self, attributes: Mapping[str, Attribute]) -> int: ...


class Bench:
    """A notifier, and the bodies and attributes that arrived."""

    def __init__(self, notifier: Sender, arrived: Callable[[], list[tuple[str, dict[str, Any]]]]) -> None:
        self.notifier = notifier
        self.arrived = arrived


def on_twin() -> Bench:
    memory = MemoryNotifier()
    return Bench(
        memory, lambda: [(note.body, {n: a.value for n, a in note.attributes.items()}) for note in memory.sent]
    )


def on_sqs(aws: Aws, clients: Clients) -> Bench:
    url = aws.queue()

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        return [
            (
                m["Body"],
                {n: a.get("StringValue", a.get("BinaryValue")) for n, a in m.get("MessageAttributes", {}).items()},
            )
            for m in aws.all_messages(url)
        ]

    return Bench(SqsNotifier(clients.sqs_control, url), arrived)


@pytest.fixture(params=["twin", "sqs"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "twin":
        return on_twin()
    return on_sqs(request.getfixturevalue("aws"), request.getfixturevalue("clients"))


async def test_an_answer_arrives_with_its_attributes(bench: Bench) -> None:
    await bench.notifier.send(Note('{"status": "ü"}', "id-1", "group", TRACE))
    assert bench.arrived() == [('{"status": "ü"}', {"Correlation-Id": "ü-1", "Raw": b"\x00\x01"})]


async def test_attributes_that_sqs_refuses_are_left_out_and_the_answer_arrives(bench: Bench) -> None:
    refused = {
        "Empty": Attribute("String", ""),
        "Control": Attribute("String", "a\x00b"),
        "AWS.Mine": Attribute("String", "x"),
        "two..dots": Attribute("String", "x"),
        "Type": Attribute("Text", "x"),
    }
    await bench.notifier.send(Note("{}", "id-1", "group", {**refused, "Good": Attribute("String", "x")}))
    assert bench.arrived() == [("{}", {"Good": "x"})]


async def test_at_most_ten_attributes_are_passed_on(bench: Bench) -> None:
    many = {f"a{number}": Attribute("String", "x") for number in range(12)}
    await bench.notifier.send(Note("{}", "id-1", "group", many))
    [(_, attributes)] = bench.arrived()
    assert list(attributes) == [f"a{number}" for number in range(10)]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 1 MiB
async def test_a_body_that_fills_the_room_beside_its_attributes_is_accepted(bench: Bench) -> None:
    room = bench.notifier.room_for(TRACE)
    assert room == MIB - len("Correlation-Id" + "String" + "Raw" + "Binary") - len("ü-1".encode()) - 2
    await bench.notifier.send(Note("x" * room, "id-1", "group", TRACE))
    assert [len(body) for body, _ in bench.arrived()] == [room]
