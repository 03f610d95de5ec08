"""
AWS events: what a function is invoked with, as the requests and the new objects in it.

    SQS mapping, Pipe      a batch: `Records`, or the bare list of them; single failures are reported
    S3 notification        `Records` of objects
    EventBridge            `detail` is a request; of `aws.s3`, an object
    SNS                    `Records`, each with a message
    Pipe, transformed      a list of requests
    anything else          is the request: a direct invocation, or a schedule's input

A message from SQS or SNS may hold an event of S3 in its turn. Nothing here raises: what is no request is read as one,
and is rejected as one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from archiver.core import strict_json
from archiver.core.unwrap import unwrap

_TOO_DEEP = "[" * (strict_json.MAX_DEPTH + 1) + "]" * (strict_json.MAX_DEPTH + 1)
"""Stands for what nests deeper than it can be written: `strict_json.load` refuses it, and says so."""
_MAX_MILLISECONDS = 4_102_444_800_000  # the year 2100: a later time is none


@dataclass(frozen=True, slots=True)
class EventMessage:
    """
    One request in an event. *id*: the same when the event comes again, as far as it tells one; *source*: where from.
    *item*: what its failure is reported as, "" if it can't be. *attributes*: as the event has them.
    *trace_header*: the AWSTraceHeader of SQS. *dead_letters*: the ARN of the queue for it if it is rejected, where the
    source can't be asked; "" elsewhere.
    """

    body: str
    id: str
    source: str
    sent_at: datetime
    item: str = ""
    receipt: str = field(default="", repr=False)
    receive_count: int = 1
    first_received: str = ""
    group: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    trace_header: str = ""
    dead_letters: str = ""


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object that was created, and the *message* that tells of it. *size* in bytes, None: unknown."""

    bucket: str
    key: str
    etag: str
    size: int | None
    message: EventMessage


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that asks for nothing. *message* as above."""

    reason: str
    message: EventMessage


Item = EventMessage | NewObject | Ignored


@dataclass(frozen=True, slots=True)
class Event:
    """What is in an event. *is_batch*: failures of single messages are reported."""

    items: tuple[Item, ...]
    is_batch: bool = False

    @property
    def messages(self) -> list[EventMessage]:
        """The message of each item; several items may have one."""
        return [item if isinstance(item, EventMessage) else item.message for item in self.items]


def parse_event(event: object, invocation: str, function: str, now: datetime) -> Event:
    """
    Return what is in *event*, which is JSON. *invocation*: the id of this invocation, the same when Lambda repeats an
    asynchronous one; *function*: the function's ARN. They identify what has no id and no source of its own.
    """
    own = EventMessage("", invocation, function, now)
    records = event.get("Records") if isinstance(event, dict) else event
    records = records if isinstance(records, list) else []
    judged = [_is_sqs_record(record) for record in records]
    if any(judged) and (all(judged) or isinstance(event, dict)):
        messages = [
            _sqs_message(one, now) if is_sqs else replace(own, body=_text(one))
            for one, is_sqs in zip(records, judged, strict=True)
        ]
        return Event(tuple(item for message in messages for item in _expand(message)), is_batch=True)
    if isinstance(event, list):
        return Event(_numbered(_expand(replace(own, body=_text(one))) for one in event))
    return Event(_numbered([_items(event, own)]))


def to_record(message: EventMessage) -> dict[str, Any]:
    """Return *message* as a record that `parse_event` reads the same message from, received for the first time."""
    system = {"SentTimestamp": str(int(message.sent_at.timestamp() * 1000))}
    system |= {"MessageGroupId": message.group} if message.group else {}
    system |= {"AWSTraceHeader": message.trace_header} if message.trace_header else {}
    record = {
        "messageId": message.id,
        "body": message.body,
        "attributes": system,
        "messageAttributes": message.attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": message.source,
    }
    return record | ({"deadLetterQueueARN": message.dead_letters} if message.dead_letters else {})


def _items(event: object, own: EventMessage) -> tuple[Item, ...]:
    """Return what is in *event*, which is no batch. *own*: a message without a body, by which it is identified."""
    own = replace(own, body=_text(event))
    if not isinstance(event, dict):
        return _expand(own)
    records = event.get("Records")
    if isinstance(records, list) and records:
        if all(isinstance(record, dict) and isinstance(record.get("Sns"), dict) for record in records):
            return tuple(item for record in records for item in _expand(_sns_message(record["Sns"], own)))
        if all(isinstance(record, dict) and isinstance(record.get("s3"), dict) for record in records):
            return tuple(_notified(record, own) for record in records)
    if event.get("Event") == "s3:TestEvent":
        return (Ignored("S3 tests its notifications", own),)
    if "detail-type" in event and "detail" in event:
        return _of_event_bus(event, own)
    return (own,)


def _numbered(groups: Iterable[tuple[Item, ...]]) -> tuple[Item, ...]:
    """Give messages that have only the invocation's id a number each, if there are several."""
    items = tuple(item for group in groups for item in group)
    ids = Counter(item.id for item in items if isinstance(item, EventMessage))
    return tuple(
        replace(item, id=f"{item.id}-{number}") if isinstance(item, EventMessage) and ids[item.id] > 1 else item
        for number, item in enumerate(items)
    )


def _expand(message: EventMessage) -> tuple[Item, ...]:
    """Return the items of *message*: itself, or the objects that it tells of if it is an event of S3."""
    body = unwrap(message.body)
    if '"s3' not in body and '"aws.s3"' not in body:
        return (message,)
    event = strict_json.load_lenient(body)
    items = _items(event, message) if isinstance(event, dict) else ()
    if any(isinstance(item, EventMessage) for item in items) or not items:
        return (message,)
    return tuple(replace(item, message=message) for item in items if not isinstance(item, EventMessage))


def _text(event: object) -> str:
    """Return *event* as the text of a message."""
    if isinstance(event, str):
        return event
    try:
        return strict_json.dump(event)
    except ValueError:
        return "NaN"  # or Infinity, which the runtime reads and JSON has not: `strict_json.load` refuses it
    except RecursionError:
        return _TOO_DEEP


def _is_sqs_record(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("body"), str) and isinstance(record.get("messageId"), str)


def _sqs_message(record: dict[str, Any], now: datetime) -> EventMessage:
    system = _object(record.get("attributes"))
    group, trace = system.get("MessageGroupId"), system.get("AWSTraceHeader")
    return EventMessage(
        body=record["body"],
        id=record["messageId"],
        source=str(record.get("eventSourceARN") or ""),
        sent_at=_time(system.get("SentTimestamp"), now),
        item=record["messageId"],
        receipt=str(record.get("receiptHandle") or ""),
        receive_count=max(1, _number(system.get("ApproximateReceiveCount")) or 1),
        first_received=str(system.get("ApproximateFirstReceiveTimestamp") or ""),
        group=group if isinstance(group, str) else None,
        attributes=_object(record.get("messageAttributes")),
        trace_header=trace if isinstance(trace, str) else "",
        dead_letters=str(record.get("deadLetterQueueARN") or ""),
    )


def _sns_message(sns: dict[str, Any], own: EventMessage) -> EventMessage:
    attributes = {
        str(name): {"dataType": one.get("Type"), "stringValue": one.get("Value")}
        for name, one in _object(sns.get("MessageAttributes")).items()
        if isinstance(one, dict) and one.get("Type") != "Binary"
    }
    return replace(
        own,
        body=_text(sns.get("Message", "")),
        id=str(sns.get("MessageId") or own.id),
        source=str(sns.get("TopicArn") or own.source),
        attributes=attributes,
    )


def _of_event_bus(event: dict[str, Any], own: EventMessage) -> tuple[Item, ...]:
    source, id_ = event.get("source"), event.get("id")
    own = replace(own, id=id_) if isinstance(id_, str) and id_ else own
    if source != "aws.s3":
        is_of_aws = isinstance(source, str) and source.startswith("aws.")  # which sends no requests
        return (own if is_of_aws else replace(own, body=_text(event["detail"])),)
    if event["detail-type"] != "Object Created":
        return (Ignored("the event is of another kind than Object Created", own),)
    new = _new_object(_object(event["detail"]), own, literal=True)
    return (new if new is not None else own,)


def _notified(record: dict[str, Any], own: EventMessage) -> Item:
    """Return the object of one record of a notification, whose keys are URL-encoded."""
    name = record.get("eventName", "ObjectCreated")
    if not isinstance(name, str) or not name.removeprefix("s3:").startswith("ObjectCreated"):
        return Ignored("the notification is of another kind than ObjectCreated", own)
    new = _new_object(record["s3"], own, literal=False)
    return new if new is not None else own


def _new_object(told: dict[str, Any], own: EventMessage, *, literal: bool) -> NewObject | None:
    bucket, found = _object(told.get("bucket")).get("name"), _object(told.get("object"))
    key, size = found.get("key"), found.get("size")
    if not isinstance(bucket, str) or not isinstance(key, str) or not bucket or not key:
        return None
    etag = found.get("etag") or found.get("eTag")
    return NewObject(
        bucket,
        key if literal else unquote_plus(key),
        etag.strip('"') if isinstance(etag, str) else "",
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        own,
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(text: object) -> int | None:
    """Return *text*, an integer or its digits, as an integer."""
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 15:  # noqa: PLR2004 - milliseconds
        return int(text)
    return text if isinstance(text, int) and not isinstance(text, bool) else None


def _time(milliseconds: object, now: datetime) -> datetime:
    number = _number(milliseconds)
    return datetime.fromtimestamp(number / 1000, UTC) if number and 0 < number < _MAX_MILLISECONDS else now
