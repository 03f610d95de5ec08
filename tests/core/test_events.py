"""What a function is invoked with: the requests and new objects in it, and what identifies them."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archiver.core import strict_json
from archiver.core.events import Event, EventMessage, Ignored, NewObject, parse_event, to_record
from archiver.errors import Rejected

EVENTS = Path(__file__).parents[1] / "awslambda/events"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:zips"
REQUEST: dict[str, Any] = {"files": [{"source": "a.jpg"}], "job_id": "j"}


def parse(event: object) -> Event:
    return parse_event(event, "invocation", FUNCTION, NOW)


def parse_file(name: str) -> Event:
    return parse(json.loads((EVENTS / f"{name}.json").read_text()))


def record(body: str, **more: Any) -> dict[str, Any]:
    return {"messageId": "m-1", "body": body, "eventSourceARN": "arn:q", **more}


def s3_record(key: str = "orders/a.json", **more: Any) -> dict[str, Any]:
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}, **more}


def created(event: object) -> tuple[str, str]:
    (item,) = parse(event).items
    assert isinstance(item, NewObject)
    return item.bucket, item.key


def messages(event: object) -> list[EventMessage]:
    found = [item for item in parse(event).items if isinstance(item, EventMessage)]
    assert len(found) == len(parse(event).items)
    return found


def test_a_batch_of_sqs_has_its_messages_with_all_that_sqs_tells() -> None:
    event = parse_file("sqs")

    assert event.is_batch
    first, second = (item for item in event.items if isinstance(item, EventMessage))
    assert json.loads(first.body)["job_id"] == "good"
    assert (first.id, first.item) == ("059f36b4-87a3-44ab-83d2-661975830a7d",) * 2
    assert first.source == "arn:aws:sqs:eu-west-1:123456789012:input-queue"
    assert first.sent_at == datetime(2025, 11, 24, 16, tzinfo=UTC)
    assert (first.receive_count, first.first_received, first.receipt[:4]) == (1, "1764000000001", "AQEB")
    assert first.attributes["Correlation-Id"]["stringValue"] == "c-1"
    assert (second.receive_count, second.group) == (3, None)
    assert "AQEB" not in repr(first)


def test_what_sqs_tells_may_be_missing_or_nonsense() -> None:
    strange = {"SentTimestamp": "soon", "ApproximateReceiveCount": "9" * 99, "MessageGroupId": 7}
    for attributes in (strange, None, {"SentTimestamp": "-1"}, {"SentTimestamp": 10**20}, {"SentTimestamp": True}):
        (message,) = messages([record("{}", attributes=attributes, messageAttributes=[], eventSourceARN=None)])
        assert (message.sent_at, message.receive_count, message.group) == (NOW, 1, None)
        assert (message.source, message.attributes) == ("", {})


def test_a_pipe_gives_the_list_of_the_records_alone() -> None:
    event = parse_file("pipe")
    assert event.is_batch
    assert [message.item for message in event.messages] == ["059f36b4-87a3-44ab-83d2-661975830a7d"]
    (fifo,) = messages([record("{}", attributes={"MessageGroupId": "g"})])
    assert fifo.group == "g"


def test_a_pipe_that_transforms_gives_a_list_of_requests() -> None:
    bodies = messages([REQUEST, json.dumps(REQUEST), 7])
    assert [json.loads(message.body) for message in bodies] == [REQUEST, REQUEST, 7]
    assert [message.id for message in bodies] == ["invocation-0", "invocation-1", "invocation-2"]
    assert not parse([REQUEST]).is_batch
    assert [message.id for message in messages([REQUEST])] == ["invocation"]
    assert parse([]).items == ()


@pytest.mark.parametrize(
    "event", [REQUEST, {}, {"Records": []}, {"Records": [1]}, {"Records": [{"kinesis": {}}]}, None]
)
def test_everything_else_is_the_request(event: object) -> None:
    (message,) = messages(event)
    assert json.loads(message.body) == event
    assert (message.id, message.source, message.item, message.sent_at) == ("invocation", FUNCTION, "", NOW)


def test_what_is_no_json_is_no_request() -> None:
    (message,) = messages({"files": float("nan")})
    with pytest.raises(Rejected, match="invalid_json"):
        strict_json.load(message.body)


def test_a_notification_of_s3_has_its_keys_decoded() -> None:
    (item,) = parse_file("s3").items
    assert isinstance(item, NewObject)
    assert (item.bucket, item.key) == ("orders-bucket", "orders/2026 + ü.json")
    assert (item.etag, item.size) == ("d41d8cd98f00b204e9800998ecf8427e", 1024)
    assert item.message.id == "invocation"


def test_an_event_bus_tells_of_objects_with_their_keys_as_they_are() -> None:
    (item,) = parse_file("eventbridge-s3").items
    assert isinstance(item, NewObject)
    assert (item.bucket, item.key) == ("orders-bucket", "orders/a+b%20c.json")
    assert (item.etag, item.size) == ("b1946ac92492d2347c6235b4d2611184", 6)
    assert item.message.id == "17793124-05d4-b198-2fde-7ededc63b103"


def test_a_notification_that_somebody_made_up_needs_bucket_and_key_alone() -> None:
    made_up = {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}
    (item,) = parse(made_up).items
    assert isinstance(item, NewObject)
    assert (item.key, item.etag, item.size) == ("k", "", None)
    for size in (True, -1, "7"):
        (item,) = parse({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k", "size": size}}}]}).items
        assert isinstance(item, NewObject)
        assert item.size is None


@pytest.mark.parametrize(
    "event",
    [
        {"Event": "s3:TestEvent", "Service": "Amazon S3"},
        {"Records": [s3_record(eventName="ObjectRemoved:Delete")]},
        {"Records": [s3_record(eventName=7)]},
        {"detail-type": "Object Deleted", "source": "aws.s3", "detail": {}},
        [record(json.dumps({"Event": "s3:TestEvent"}))],
        [record(json.dumps({"Records": [s3_record(eventName="s3:ObjectRemoved:Delete")]}))],
    ],
)
def test_events_that_ask_for_nothing_are_ignored_with_the_reason(event: object) -> None:
    (item,) = parse(event).items
    assert isinstance(item, Ignored)
    assert item.reason


@pytest.mark.parametrize(
    "event",
    [
        {"Records": [s3_record("")]},
        {"Records": [s3_record(), {"s3": 7}]},
        {"Records": [{"s3": {}}]},
        {"detail-type": "Object Created", "source": "aws.s3", "detail": "x"},
        {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
        {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"},
    ],
)
def test_events_of_aws_that_can_be_no_request_stay_whole_so_that_they_are_named(event: object) -> None:
    (message,) = messages(event)
    assert json.loads(message.body) == event


def test_an_event_bus_brings_a_request_as_detail_and_identifies_it() -> None:
    (message,) = parse_file("eventbridge").items
    assert isinstance(message, EventMessage)
    assert json.loads(message.body)["job_id"] == "by-rule"
    assert message.id == "7bf73129-1428-4cd3-a780-95db273d1602"
    (message,) = messages({"detail-type": "x", "detail": json.dumps(REQUEST), "id": 7})
    assert (json.loads(message.body), message.id) == (REQUEST, "invocation")


def test_a_topic_brings_messages() -> None:
    (message,) = parse_file("sns").items
    assert isinstance(message, EventMessage)
    assert json.loads(message.body)["job_id"] == "by-topic"
    assert (message.id, message.source) == (
        "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
        "arn:aws:sns:eu-west-1:123456789012:orders",
    )
    assert message.attributes == {"Correlation-Id": {"dataType": "String", "stringValue": "c-2"}}


@pytest.mark.parametrize("wrap", [str, json.dumps, lambda text: base64.b64encode(text.encode()).decode()])
def test_a_queue_brings_the_events_of_a_bucket_however_they_are_wrapped(wrap: Any) -> None:
    notification = json.dumps({"Records": [s3_record("x+y"), s3_record("z")]})
    event = parse([record(wrap(notification)), record(wrap(json.dumps(REQUEST)), messageId="m-2")])
    first, second, third = event.items
    assert isinstance(first, NewObject)
    assert isinstance(second, NewObject)
    assert isinstance(third, EventMessage)
    assert (first.key, second.key, third.item) == ("x y", "z", "m-2")
    assert (first.message.item, first.message.body) == ("m-1", wrap(notification))
    assert [message.item for message in event.messages] == ["m-1", "m-1", "m-2"]


def test_a_queue_behind_a_topic_or_a_rule_brings_the_events_of_a_bucket() -> None:
    notification = json.dumps({"Records": [s3_record("k")]})
    envelope = {"Type": "Notification", "TopicArn": "arn:t", "Message": notification}
    rule = json.loads((EVENTS / "eventbridge-s3.json").read_text())
    assert created([record(json.dumps(envelope))]) == ("b", "k")
    assert created([record(json.dumps(rule))]) == ("orders-bucket", "orders/a+b%20c.json")
    sns = {
        "EventSource": "aws:sns",
        "Sns": {"Message": notification, "MessageAttributes": {"a": 1, "b": {"Type": "Binary"}}},
    }
    assert created({"Records": [sns]}) == ("b", "k")


@pytest.mark.parametrize("body", ['{"files": ["s3"], "x": "\\"s3', '["s3"]', '"s3"', '{"a": {"s3": 1}}'])
def test_a_body_that_only_mentions_s3_is_a_request(body: str) -> None:
    (message,) = messages([record(body)])
    assert message.body == body


def test_a_message_that_is_handed_on_is_the_same_message() -> None:
    (first, _) = parse_file("sqs").items
    assert isinstance(first, EventMessage)
    grouped = replace(
        first,
        dead_letters="arn:aws:sqs:eu-west-1:123456789012:dead",
        group="g",
        trace_header="Root=1-a",
        receive_count=3,
        receipt="r",
        first_received="",
    )
    for message in (replace(first, receipt="", first_received=""), replace(grouped, receipt="", receive_count=1)):
        again = parse(json.loads(json.dumps({"Records": [to_record(message)]})))
        assert again.items == (message,)


def test_what_stands_among_messages_and_is_none_is_rejected_alone_and_the_messages_are_done() -> None:
    """Without a list of failures, Lambda would delete every message of the batch. An empty id fails it whole."""
    event = parse({"Records": [record("{}"), {"s3": {}}, None]})

    assert event.is_batch
    assert [(message.body, message.item) for message in event.messages] == [
        ("{}", record("{}")["messageId"]),
        ('{"s3": {}}', ""),
        ("null", ""),
    ]


def test_an_event_that_nests_too_deep_to_be_written_is_a_request_that_is_rejected_as_that() -> None:
    event: dict[str, Any] = {}
    inner = event
    for _ in range(5000):
        inner["files"] = inner = {}

    (message,) = parse(event).messages

    with pytest.raises(Rejected, match="nests deeper than 100 levels"):
        strict_json.load(message.body)
