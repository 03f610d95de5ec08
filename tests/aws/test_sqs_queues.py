"""Queues by name, URL and ARN; FIFO queues; queues with limits of their own."""

import json

import pytest
from emulator import ACCOUNT, EmulatedAws

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import ResourceNotFound
from archiver.aws.queues import SqsNotifier, resolve_queue
from archiver.aws.sqs import SqsSource
from archiver.errors import TransientError
from archiver.ports import Attribute, OutgoingMessage, Rejection

REJECTION = Rejection("invalid_json", "x" * 2000, "group-1", "dedup-1")


async def test_a_queue_is_found_by_name_url_and_arn(aws: EmulatedAws, clients: Clients) -> None:
    url = aws.queue()
    for text in (url, url.rsplit("/", 1)[-1], aws.arn(url)):
        assert await resolve_queue(clients.sqs_control, text) == url


@pytest.mark.parametrize(
    "text", ["nowhere", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:nowhere", "arn:aws:sns:eu-west-1:1:topic", "arn:aws:sqs:x"]
)
async def test_a_queue_that_does_not_exist_is_said_not_to_be_there(clients: Clients, text: str) -> None:
    with pytest.raises(ResourceNotFound):
        await resolve_queue(clients.sqs_control, text)


async def test_a_url_that_leads_nowhere_is_found_out_at_the_start(aws: EmulatedAws, clients: Clients) -> None:
    url = f"{aws.endpoint}/{ACCOUNT}/nowhere"
    with pytest.raises(ResourceNotFound):
        await SqsSource.open(clients, url, 1)
    with pytest.raises(ResourceNotFound):
        await SqsNotifier(clients.sqs_control, url).check()


async def test_a_fifo_queue_gets_group_and_deduplication_id_and_a_standard_queue_does_not(
    aws: EmulatedAws, clients: Clients
) -> None:
    note = OutgoingMessage("{}", "id-1", "group-1")
    for fifo in (True, False):
        url = aws.queue(fifo=fifo)
        notifier = SqsNotifier(clients.sqs_control, aws.arn(url))
        await notifier.send(note)
        [message] = aws.all_messages(url)
        told = message["Attributes"]
        assert told.get("MessageGroupId") == ("group-1" if fifo else None)
        assert told.get("MessageDeduplicationId") == ("id-1" if fifo else None)


async def test_a_fifo_source_tells_its_groups_and_rejects_into_a_fifo_queue(aws: EmulatedAws, clients: Clients) -> None:
    dead = aws.queue(fifo=True)
    url = aws.queue(
        {"RedrivePolicy": json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 3})}, fifo=True
    )
    aws.sqs.send_message(QueueUrl=url, MessageBody="{}", MessageGroupId="tenant", MessageDeduplicationId="1")
    source = await SqsSource.open(clients, url, 1)

    [message] = await source.receive(1)
    await source.dead_letters.put(message, REJECTION)

    assert message.group == "tenant"
    [rejected] = aws.all_messages(dead)
    assert rejected["Attributes"]["MessageGroupId"] == "group-1"
    assert rejected["Attributes"]["MessageDeduplicationId"] == "dedup-1"


async def test_messages_stay_hidden_as_long_as_the_queue_said_at_the_start(aws: EmulatedAws, clients: Clients) -> None:
    url = aws.queue({"VisibilityTimeout": "30"})
    source = await SqsSource.open(clients, url, 1)
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    aws.sqs.send_message(QueueUrl=url, MessageBody="{}")
    assert len(await source.receive(1)) == 1
    assert await source.receive(1) == []


async def test_a_dead_letter_queue_with_a_smaller_limit_gets_a_shorter_reason(
    aws: EmulatedAws, clients: Clients
) -> None:
    dead = aws.queue({"MaximumMessageSize": "1024"})
    url = aws.queue({"RedrivePolicy": json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 3})})
    source = await SqsSource.open(clients, url, 1)
    body = "x" * 900
    aws.sqs.send_message(QueueUrl=url, MessageBody=body)

    [message] = await source.receive(1)
    await source.dead_letters.put(message, REJECTION)

    [rejected] = aws.all_messages(dead)
    reason = {name: told["StringValue"] for name, told in rejected["MessageAttributes"].items()}
    taken = len("ErrorCode" + "String" + "invalid_json" + "ErrorMessage" + "String")
    assert rejected["Body"] == body
    assert reason == {"ErrorCode": "invalid_json", "ErrorMessage": "x" * (1024 - 900 - taken)}


async def test_a_dead_letter_queue_that_is_gone_leaves_the_message_to_the_redrive_policy(
    aws: EmulatedAws, clients: Clients
) -> None:
    dead = aws.queue()
    url = aws.queue({"RedrivePolicy": json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 3})})
    source = await SqsSource.open(clients, url, 1)
    aws.sqs.delete_queue(QueueUrl=dead)
    aws.sqs.send_message(QueueUrl=url, MessageBody="{}")
    [message] = await source.receive(1)
    with pytest.raises(TransientError):
        await source.dead_letters.put(message, REJECTION)


async def test_an_answer_queue_with_a_smaller_limit_leaves_less_room(aws: EmulatedAws, clients: Clients) -> None:
    notifier = SqsNotifier(clients.sqs_control, aws.queue({"MaximumMessageSize": "2048"}))
    assert notifier.max_body_bytes({}) == 1024 * 1024
    await notifier.check()
    assert notifier.max_body_bytes({"a": Attribute("String", "bc")}) == 2048 - len("a" + "String" + "bc")


@pytest.mark.parametrize(("visibility", "waits"), [(2, 1), (6, 3), (30, 5)])
async def test_a_long_poll_is_no_longer_than_half_of_the_visibility(
    monkeypatch: pytest.MonkeyPatch, aws: EmulatedAws, clients: Clients, visibility: int, waits: int
) -> None:
    """The lease counts from before the poll: what came at the end of a long one would be lost before it began."""
    source = await SqsSource.open(clients, aws.queue({"VisibilityTimeout": str(visibility)}), 5)
    asked: list[int] = []

    async def receive_message(**told: int) -> dict[str, object]:
        asked.append(told["WaitTimeSeconds"])
        return {}

    monkeypatch.setattr(clients.sqs_receive, "receive_message", receive_message)
    await source.receive(1)

    assert asked == [waits]
