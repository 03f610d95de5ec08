"""Requests for commands at a worker: pings check them, and a worker without commands says so."""

import json
from dataclasses import replace
from typing import Any

import pytest
from core.command_results import RESULT
from core.operator_files import STUDY, rules_of
from core.seed_messages import AWS_CLI_MESSAGE, LANLYTICS_MESSAGE
from fakes import FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.locations import AllowList
from archiver.core.messages import Request
from archiver.errors import Rejected
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold
from archiver.stages.progress import Progress

WITH_COMMANDS = replace(RULES, commands=rules_of(STUDY).commands, allowed=AllowList("archives"))


async def answer_to(env: PipelineEnv, body: str) -> dict[str, Any]:
    await env.pipeline.run(await env.message(**json.loads(body)), FakeHold())
    return env.answer


async def test_the_ping_of_the_lanlytics_worker_is_answered_in_its_own_words() -> None:
    answer = await answer_to(PipelineEnv(rules=WITH_COMMANDS), LANLYTICS_MESSAGE)

    assert answer["status"] == "alive"
    assert answer["test"] == {"accepted": True, "service": "my_service", "queue": "docker", "version": "0.1.0"}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"my_service"', '"other"', "command_not_allowed"),
        ('"docker"', '"native"', "command_not_allowed"),
        ("s3://bucket/path/to/input.txt", "s3://other/input.txt", "source_not_allowed"),
        ("myargvalue", "my arg", "command_not_allowed"),
        ('"arguments":[', '"arguments":[5,', "invalid_request"),
    ],
)
async def test_it_is_told_what_is_wrong_with_the_request(old: str, new: str, code: str) -> None:
    answer = await answer_to(PipelineEnv(rules=WITH_COMMANDS), LANLYTICS_MESSAGE.replace(old, new))

    assert answer["test"]["accepted"] is False
    assert answer["test"]["problem"]["code"] == code


async def test_the_ping_of_a_native_request_for_a_command_is_a_ping_like_any_other() -> None:
    env = PipelineEnv(rules=WITH_COMMANDS)
    answer = await answer_to(env, '{"command": {"name": "thumbnails"}, "test": true}')
    assert answer["problem"]["message"] == "the command thumbnails needs 2 arguments without a name"


@pytest.mark.parametrize(
    "body", [AWS_CLI_MESSAGE, LANLYTICS_MESSAGE.replace("true", "false"), '{"command": {"name": "c"}}']
)
async def test_a_worker_without_commands_refuses_them_and_says_who_can_list_them(body: str) -> None:
    env = PipelineEnv()
    message = await env.message(**json.loads(body))
    with pytest.raises(Rejected, match="this worker runs no commands; its operator can list them") as caught:
        await env.pipeline.run(message, FakeHold())
    assert caught.value.code == "command_not_allowed"

    await env.pipeline.send_failure(message, caught.value, FakeHold())
    assert env.failures.sent[-1].is_command
    failure = json.loads(env.failures.sent[-1].body)
    if body == AWS_CLI_MESSAGE:
        (told,) = failure["parameters"]
        assert (failure["job_id"], failure["status"]) == (123, "error")
        assert told["value"] == f"command_not_allowed: {caught.value.message}"
    else:
        assert failure["error"]["code"] == "command_not_allowed"


async def test_an_archive_that_mcai_orders_is_built_and_answered_in_its_form() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    parameters = [{"id": "files", "type": "array_of_strings", "value": ["a.jpg"]}]
    reply = await answer_to(env, json.dumps({"job_id": 7, "parameters": parameters}))

    assert env.archive() == {"a.jpg": b"a"}
    assert (reply["job_id"], reply["status"]) == (7, "completed")
    assert reply["destination_paths"] == [str(env.at)]
    assert reply["parameters"][0]["value"].startswith("https://links.example/")


class Done:
    """The work of a command that has ended."""

    def prepare(self, request: Request, job: JobIdentity) -> None:
        return None

    async def do(self, order: None, hold: Hold, progress: Progress) -> Result:
        return Result("succeeded", files=1, size=14, command=RESULT)


async def test_the_answer_of_a_command_names_no_archive() -> None:
    """A receiver such as EventBridge tells which object an answer is about."""
    env = PipelineEnv(rules=WITH_COMMANDS)
    env.pipeline._works = {**env.pipeline._works, "command": Done()}
    answer = await answer_to(env, '{"command": {"name": "thumbnails"}}')

    assert answer["command"]["name"] == "my_service"
    assert env.answers is not None
    assert env.answers.sent[-1].key == ""
    env.put(a_jpg=b"a")
    await env.run("a.jpg")
    assert env.answers.sent[-1].key != ""
