"""What SNS, EventBridge and Lambda answer, as the errors that the worker acts on."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from receivers import Receivers, receivers

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import ResourceNotFound
from archiver.aws.event_bus import EventBusNotifier
from archiver.aws.functions import FunctionNotifier
from archiver.aws.notifiers import region_of
from archiver.aws.sns import SnsNotifier
from archiver.errors import ConfigurationError, RequestRefused, TransientError, Undeliverable
from archiver.ports import Attribute, Notifier, OutgoingMessage

__all__ = ["receivers"]

NOTE = OutgoingMessage('{"status": "failed"}', "id-1", "group", {}, "failed")
TOPIC = "arn:aws:sns:eu-west-1:123456789012:archives"


class Canned:
    """A client whose calls answer *answer*, or raise it; the arguments of the last one."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.given: dict[str, Any] = {}

    def __getattr__(self, _name: str) -> Any:
        async def call(**given: Any) -> Any:
            self.given = given
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return call


class Payload:
    """What a function returned."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def read(self, limit: int) -> bytes:
        return self.body[:limit]

    def close(self) -> None:
        pass


def refusal(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NotFound", 404, ConfigurationError),
        ("ResourceNotFoundException", 404, ConfigurationError),
        ("AuthorizationError", 403, ConfigurationError),
        ("AccessDeniedException", 400, ConfigurationError),
        ("KMSDisabled", 400, ConfigurationError),
        ("InvalidParameter", 400, Undeliverable),
        ("RequestTooLargeException", 413, Undeliverable),
        ("Throttling", 400, TransientError),
        ("TooManyRequestsException", 429, TransientError),
        ("InternalError", 500, TransientError),
    ],
)
@pytest.mark.parametrize("kind", ["topic", "bus", "function"])
async def test_a_refusal_is_booked_where_it_belongs(kind: str, code: str, status: int, expected: type) -> None:
    client = Canned(refusal(code, status))
    notifiers: dict[str, Notifier] = {
        "topic": SnsNotifier(client, TOPIC),
        "bus": EventBusNotifier(client, "default", "zips", "aws"),
        "function": FunctionNotifier(client, "f"),
    }

    with pytest.raises(expected) as caught:
        await notifiers[kind].send(NOTE)
    if expected is TransientError:
        assert not isinstance(caught.value, Undeliverable)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("MalformedDetail", Undeliverable),
        ("ThrottlingException", TransientError),
        ("InternalFailure", TransientError),
        ("NotAuthorizedForSourceException", ConfigurationError),
    ],
)
async def test_an_event_that_failed_is_no_success_though_the_call_was(code: str, expected: type) -> None:
    client = Canned({"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "why"}]})

    with pytest.raises(expected, match=rf"PutEvents default: why \({code}\)"):
        await EventBusNotifier(client, "default", "zips", "aws").send(NOTE)


async def test_an_event_says_how_the_job_ended_and_where_its_archive_is() -> None:
    client = Canned({"FailedEntryCount": 0})
    notifier = EventBusNotifier(client, "default", "zips", "aws-cn")

    await notifier.send(OutgoingMessage("{}", "id-1", "group", {}, "partial", "3f/a.zip"))
    partial = client.given["Entries"][0]
    await notifier.send(NOTE)
    failed = client.given["Entries"][0]

    assert partial == {
        "EventBusName": "default",
        "Source": "archiver",
        "DetailType": "Archive Partial",
        "Detail": "{}",
        "Resources": ["arn:aws-cn:s3:::zips/3f/a.zip"],
    }
    assert (failed["DetailType"], failed["Resources"]) == ("Archive Failed", [])


async def test_an_event_about_a_command_says_so() -> None:
    client = Canned({"FailedEntryCount": 0})

    await EventBusNotifier(client, "default", "zips", "aws").send(replace(NOTE, is_command=True))

    assert client.given["Entries"][0]["DetailType"] == "Command Failed"


async def test_a_function_that_failed_is_told_with_the_beginning_of_what_it_returned() -> None:
    client = Canned({"FunctionError": "Unhandled", "Payload": Payload(b'{"errorMessage": "boom"}' + b"x" * 9999)})

    with pytest.raises(RequestRefused, match=r'the function failed \(Unhandled\): {"errorMessage": "boom"}') as caught:
        await FunctionNotifier(client, "f", waits=True).send(NOTE)

    assert client.given["InvocationType"] == "RequestResponse"
    assert len(str(caught.value)) < 1200


async def test_a_topic_that_is_a_fifo_gets_the_group_and_the_id_and_others_get_the_status_alone() -> None:
    client = Canned({})
    attributes = {"status": Attribute("String", "theirs"), "count": Attribute("Number.pieces", "3")}

    await SnsNotifier(client, f"{TOPIC}.fifo").send(OutgoingMessage("{}", "id-1", "group", attributes, "failed"))
    fifo = client.given
    await SnsNotifier(client, TOPIC).send(NOTE)

    assert (fifo["MessageGroupId"], fifo["MessageDeduplicationId"]) == ("group", "id-1")
    assert fifo["MessageAttributes"] == {
        "status": {"DataType": "String", "StringValue": "failed"},
        "count": {"DataType": "Number", "StringValue": "3"},
    }
    assert "MessageGroupId" not in client.given


def test_a_client_is_opened_in_the_region_of_the_arn() -> None:
    assert (region_of(TOPIC), region_of("default")) == ("eu-west-1", None)


async def test_what_does_not_exist_is_found_at_start(receivers: Receivers, clients: Clients) -> None:
    session = clients.session
    function = receivers.function()
    async with session.client("sns") as sns, session.client("events") as events, session.client("lambda") as functions:
        topic, _ = receivers.topic()
        await SnsNotifier(sns, topic).check()
        await EventBusNotifier(events, receivers.bus(), "zips", "aws").check()
        await FunctionNotifier(functions, function).check()
        for notifier in (
            SnsNotifier(sns, f"{topic}-none"),
            EventBusNotifier(events, "none", "zips", "aws"),
            FunctionNotifier(functions, "none"),
        ):
            with pytest.raises(ResourceNotFound):
                await notifier.check()
