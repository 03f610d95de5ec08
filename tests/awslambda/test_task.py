"""One event outside Lambda: a task does what a function handed on, with the same messages, archives and answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from archiver.awslambda import task
from archiver.awslambda.service import Service, open_service
from archiver.awslambda.task import Handled, handle_event
from archiver.core.events import EventMessage, parse_event, to_record
from archiver.core.locations import Location
from archiver.errors import Rejected, TransientError
from archiver.settings import load_function_settings

from .function_env import NOW, FunctionEnv, broken, invoke, request


async def handle(env: FunctionEnv, event: Location | str, stop: asyncio.Event | None = None, **more: str) -> Handled:
    settings = load_function_settings(env.settings(**more))
    return await handle_event(settings, event, "name", stop or asyncio.Event(), env.lines.append)


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "redelivery_delay", lambda *_: 0)


def handed_on(event: dict[str, Any]) -> str:
    """What the function gives a task for the first message of *event*."""
    message = parse_event(event, "i", "f", NOW).items[0]
    assert isinstance(message, EventMessage)
    return json.dumps({"Records": [to_record(message)]})


@pytest.mark.slow
async def test_a_task_makes_the_archive_that_the_function_would_have_made(env: FunctionEnv, service: Service) -> None:
    event = env.batch(request("a.jpg", job_id="j"))

    handled = await handle(env, handed_on(event))

    (answer,) = handled.answers
    assert (answer["status"], handled.unfinished) == ("succeeded", False)
    assert env.sent(env.answers) == handled.answers
    await invoke(service, event)
    assert [one["archive"] for one in env.sent(env.answers)] == [answer["archive"]]


@pytest.mark.slow
async def test_a_task_puts_what_it_rejects_into_the_dead_letter_queue_of_the_message(env: FunctionEnv) -> None:
    handled = await handle(env, handed_on(env.batch(request("gone.jpg"))))
    assert [one["error"]["code"] for one in handled.answers] == ["source_missing"]
    assert [one["Body"] for one in env.aws.all_messages(env.dead)] == [request("gone.jpg")]


def from_unknown_queue(env: FunctionEnv, **more: str) -> str:
    """A message that is to be rejected, of a queue whose attributes the task may not read."""
    (record,) = env.batch(request("gone.jpg"))["Records"]
    return json.dumps({"Records": [{**record, "eventSourceARN": f"{record['eventSourceARN']}-hidden", **more}]})


async def test_a_task_that_can_not_read_the_queue_is_told_where_its_dead_letters_go(env: FunctionEnv) -> None:
    handled = await handle(env, from_unknown_queue(env, deadLetterQueueARN=env.aws.arn(env.dead)))

    assert [one["error"]["code"] for one in handled.answers] == ["source_missing"]
    assert [one["Body"] for one in env.aws.all_messages(env.dead)] == [request("gone.jpg")]
    assert env.sent(env.failures) == handled.answers


@pytest.mark.slow
@pytest.mark.parametrize("told", ["", "arn:aws:sqs:eu-west-1:123456789012:gone", "arn:aws:s3:::b", "no ARN"])
async def test_where_no_dead_letter_queue_takes_it_the_failure_answer_is_the_record(
    env: FunctionEnv, told: str
) -> None:
    """Nobody has the message any more: it ends with its answer, at the first try."""
    handled = await handle(env, from_unknown_queue(env, deadLetterQueueARN=told))

    assert [one["error"]["code"] for one in handled.answers] == ["source_missing"]
    assert not handled.unfinished
    assert env.sent(env.failures) == handled.answers


@pytest.mark.slow
async def test_what_may_pass_is_tried_again_and_rejected_at_last(
    env: FunctionEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else has the message: it must not get lost. What is done is not done again."""
    tries = []

    @asynccontextmanager
    async def open_broken(*arguments: Any) -> AsyncIterator[Service]:
        async with open_service(*arguments) as service:
            failing, store = broken(service, "unlucky", TransientError("the store is down"))
            tries.append(store)
            yield failing

    monkeypatch.setattr(task, "open_service", open_broken)
    unlucky = request("a.jpg", archive_name="unlucky")
    event = env.batch(unlucky, request("a.jpg", job_id="lucky"))

    handled = await handle(env, json.dumps(event))

    assert (len(tries), handled.unfinished) == (1, False)
    assert [one["status"] for one in handled.answers] == ["succeeded", "failed"]
    assert handled.answers[1]["error"]["code"] == "retries_exhausted"
    assert "failed 5 times" in handled.answers[1]["error"]["message"]
    assert [one["Body"] for one in env.aws.all_messages(env.dead)] == [unlucky]
    assert len(env.sent(env.answers)) == 1


async def test_an_event_may_be_an_object_or_a_plain_request(env: FunctionEnv) -> None:
    env.put("event.json", ("\ufeff" + request("a.jpg")).encode())
    place = Location(env.sources, "event.json")
    first = await handle(env, place)
    again = await handle(env, request("a.jpg"))
    assert [one["status"] for one in (*first.answers, *again.answers)] == ["succeeded"] * 2
    assert first.answers[0]["archive"]["key"] == again.answers[0]["archive"]["key"]


@pytest.mark.parametrize("text", ["{", "", "[" * 10_000])
async def test_what_is_no_json_is_no_event(env: FunctionEnv, text: str) -> None:
    with pytest.raises(Rejected, match="the event is not JSON"):
        await handle(env, text)


@pytest.mark.slow
async def test_a_task_that_is_stopped_says_that_it_has_not_finished(env: FunctionEnv) -> None:
    stop = asyncio.Event()
    stop.set()
    body = request("later.jpg", wait_for={"timeout": 600})
    handled = await handle(env, body, stop, SHUTDOWN_GRACE_SECONDS="1")
    assert handled == Handled([], unfinished=True)
