"""Messages of events as a source: what Lambda tells of them, and until when they can be settled."""

import base64
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from aws.failing_clients import client_error, make_failing_clients
from fakes import FakeDeadLetters, FakeQueue
from structlog.testing import capture_logs

from archiver.aws.event_queues import EventQueue, EventQueues
from archiver.core.events import EventMessage
from archiver.doors.events import (
    VISIBILITY,
    EventSource,
    OriginalBodies,
    ReturnedAnswer,
    event_facts,
    job_ends_at,
    to_message,
)
from archiver.errors import LeaseLost, Undeliverable
from archiver.ports import Attribute, QueueFacts, Rejection

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ARN = "arn:aws:sqs:eu-west-1:123456789012:in"
EVENT = EventMessage("{}", "m", ARN, NOW, receipt="r", receive_count=2, first_received="1", group="g")
MESSAGE = to_message(EVENT, 100.0)


def queue(clients: Any, visibility: int = 900) -> EventQueue:
    return EventQueue(clients, "https://q", QueueFacts(ARN, visibility, 43_200, 5), None)


def test_a_message_has_what_the_event_tells_of_it() -> None:
    told = {
        "text": {"dataType": "String", "stringValue": "x"},
        "bytes": {"dataType": "Binary", "binaryValue": base64.b64encode(b"\0").decode()},
        "ErrorCode": {"dataType": "String", "stringValue": "of an earlier rejection"},
        "no base64": {"dataType": "Binary", "binaryValue": "*"},
        "no value": {"dataType": "String"},
        "no type": {"stringValue": "x"},
        "nonsense": 7,
    }
    message = to_message(EventMessage("{}", "m", ARN, NOW, attributes=told), 1.0)
    assert message.attributes == {"text": Attribute("String", "x"), "bytes": Attribute("Binary", b"\0")}
    assert (MESSAGE.receipt, MESSAGE.receive_count, MESSAGE.group, MESSAGE.received_at) == ("r", 2, "g", 100.0)


@pytest.mark.parametrize(("seconds", "longest"), [(900.0, 890.0), (60.0, 54.0), (3.0, 2.7), (math.inf, math.inf)])
def test_what_is_left_of_the_invocation_is_the_lease(seconds: float, longest: float) -> None:
    facts = event_facts(ARN, seconds, None)
    assert (facts.id, facts.visibility, facts.max_receives) == (ARN, VISIBILITY, None)
    assert facts.longest == pytest.approx(longest)
    assert job_ends_at(MESSAGE, facts) - 100.0 == pytest.approx(longest - min(20, longest / 4))


def test_a_message_is_not_held_longer_than_its_queue_hides_it() -> None:
    clients = make_failing_clients(client_error("x"))
    facts = event_facts(ARN, 900.0, queue(clients, visibility=30))
    assert (facts.longest, facts.max_receives) == (30, 5)
    assert event_facts(ARN, math.inf, queue(clients), 3) == QueueFacts(ARN, VISIBILITY, math.inf, 3)


async def test_a_message_is_given_once_and_settled_until_the_invocation_is_over() -> None:
    now = [100.0]
    source = EventSource(MESSAGE, event_facts(ARN, 60.0, None), None, clock=lambda: now[0])
    assert (await source.receive(1), await source.receive(1)) == ([MESSAGE], [])
    settled = [source.is_settled]
    await source.extend(MESSAGE, 10)
    await source.release(MESSAGE, 5)
    settled.append(source.is_settled)
    await source.delete(MESSAGE)
    settled.append(source.is_settled)
    assert settled == [False, False, True]
    now[0] = 154.1
    for late in (source.extend(MESSAGE, 10), source.release(MESSAGE, 5), source.delete(MESSAGE)):
        with pytest.raises(LeaseLost, match="the invocation is over"):
            await late


async def test_a_released_message_comes_again_after_its_delay_if_the_role_may_say_so() -> None:
    """Else after the visibility timeout of the queue, which is many times the function's time."""
    for code, tries in (("AccessDenied", 1), ("InternalError", 2)):
        found = queue(make_failing_clients(client_error(code, 403 if code == "AccessDenied" else 500)))
        with capture_logs() as logs:
            for _ in range(2):
                await EventSource(MESSAGE, event_facts(ARN, 1e9, found), found, clock=lambda: 0.0).release(MESSAGE, 5)
        assert [entry["event"] for entry in logs] == ["event.not_delayed"] * tries


async def test_a_queue_that_can_t_be_read_has_no_dead_letters_that_are_known() -> None:
    """Then its redrive policy has them. What is denied is asked for once, what fails in passing again."""
    for code, status, times in (("AccessDenied", 403, 1), ("InternalError", 500, 2)):
        queues = EventQueues(make_failing_clients(client_error(code, status)))
        with capture_logs() as logs:
            found = [await queues.find(ARN) for _ in range(2)]
        assert [entry["event"] for entry in logs] == ["event.queue_unknown"] * times
        assert found[0] is not None
        assert found[0].facts is None
        with pytest.raises(Undeliverable):
            await found[0].dead_letters.put(MESSAGE, Rejection("c", "m", "g", "d"))
        await found[0].delay(MESSAGE, 5)
    assert await queues.find("arn:aws:lambda:eu-west-1:123456789012:function:zips") is None


async def test_dead_letters_keep_the_body_that_arrived() -> None:
    kept = FakeQueue()
    await OriginalBodies(FakeDeadLetters(kept), "original").put(MESSAGE, Rejection("c", "m", "g", "d"))
    assert [message.body for message in kept.messages] == ["original"]


def test_a_returned_answer_is_as_long_as_a_function_may_return() -> None:
    assert ReturnedAnswer().max_body_bytes({"a": Attribute("String", "x")}) == 5 * 1024 * 1024
