"""Which dialect a body is written in, and what the replies of each dialect say."""

import json
from dataclasses import replace
from typing import Any

import pytest
from core.command_results import DONE, OUTPUT, RESULT
from core.seed_messages import AWS_CLI_MESSAGE, LANLYTICS_MESSAGE
from jsonschema import Draft202012Validator, ValidationError

from archiver import __version__
from archiver.core.command_result import CommandRejected, StreamResult
from archiver.core.dialects import asks_for_command, dialect_of, lanlytics, mcai, native
from archiver.core.messages import EchoedFields
from archiver.core.schema import json_schema
from archiver.errors import Rejected

PLENTY = 10**6


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (AWS_CLI_MESSAGE, mcai),
        (LANLYTICS_MESSAGE, lanlytics),
        ('{"parameters": [], "job_id": 0}', mcai),
        ('{"service": "s", "test": true}', lanlytics),
        ('{"service": 5, "command": null}', lanlytics),
        ('{"parameters": [], "job_id": "1"}', native),
        ('{"parameters": [], "job_id": true}', native),
        ('{"parameters": [], "job_id": 1.0}', native),
        ('{"parameters": {}, "job_id": 1}', native),
        ('{"parameters": [], "job_id": 1, "files": []}', native),
        ('{"service": "s", "command": {}, "files": []}', native),
        ('{"service": "s"}', native),
        ('{"command": {"name": "c", "parameters": {}}}', native),
        ('{"files": [], "metadata": {"service": "s", "parameters": []}}', native),
        ('["parameters", "service"]', native),
        ('"parameters" "service"', native),
        ("", native),
    ],
)
def test_a_dialect_is_known_by_its_shape(body: str, dialect: object) -> None:
    assert dialect_of(body) is dialect


def test_most_bodies_are_not_parsed_to_know_their_dialect() -> None:
    """A body without the word is not looked into: parsed, this one would be an order of Media Cloud AI."""
    assert dialect_of(r'{"p\u0061rameters": [], "job_id": 1}') is native


def test_the_ping_of_lanlytics_says_who_is_there() -> None:
    assert dialect_of(LANLYTICS_MESSAGE).is_ping(LANLYTICS_MESSAGE)
    echoed = dialect_of(LANLYTICS_MESSAGE).read_echoed_fields(LANLYTICS_MESSAGE)
    alive = replace(DONE, echoed=echoed, status="alive", command=None)

    assert json.loads(lanlytics.success_answer(alive, PLENTY)) == {
        "metadata": None,
        "job_id": None,
        "message_id": None,
        "status": "alive",
        "test": {"accepted": True, "service": "my_service", "queue": "docker", "version": __version__},
        "notification_id": "77" * 32,
    }
    refused = replace(alive, problem=Rejected("command_not_allowed", "no"))
    answer = json.loads(lanlytics.success_answer(refused, PLENTY, "https://x"))
    assert answer["test"]["accepted"] is False
    assert answer["test"]["problem"] == {"code": "command_not_allowed", "message": "no"}
    assert answer["answer_url"] == "https://x"
    assert lanlytics.read_echoed_fields('{"service": 5}').asked == {"service": None, "queue": None}
    assert lanlytics.read_echoed_fields("[]").asked == {}


def check_against(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    Draft202012Validator({**schema, "additionalProperties": False}).validate(answer)


def test_a_command_is_answered_with_its_end() -> None:
    expected = {
        "metadata": None,
        "job_id": None,
        "message_id": None,
        "status": "succeeded",
        "command": {
            "name": "my_service",
            "exit_code": 0,
            "signal": None,
            "seconds": 0.21,
            "stdout": {"type": "pipe", "value": "read 14 bytes\n"},
            "stderr": {"type": "uri", "value": "s3://bucket/path/to/stderr.txt", "size": 0},
        },
        "inputs": 3,
        "outputs": [{"destination": "s3://bucket/path/to/output.txt", "size": 14, "etag": "ab"}],
        "left_behind": 0,
        "reused": False,
        "notification_id": "77" * 32,
    }
    assert json.loads(native.success_answer(DONE, PLENTY)) == expected
    assert json.loads(lanlytics.success_answer(DONE, PLENTY, "https://x")) == {**expected, "answer_url": "https://x"}


def test_a_command_that_failed_is_answered_with_its_end_as_well() -> None:
    cut = replace(RESULT, exit_code=None, signal=9, stdout=StreamResult(99, "end", truncated=True))
    rejected = CommandRejected("command_failed", "it was killed", cut)
    answer = json.loads(native.failure_answer(EchoedFields(), rejected, PLENTY, "https://x"))

    assert answer["error"] == {"code": "command_failed", "message": "it was killed", "sources": []}
    assert (answer["command"]["exit_code"], answer["command"]["signal"]) == (None, 9)
    assert answer["command"]["stdout"] == {"type": "pipe", "value": "end", "size": 99, "truncated": True}
    assert answer["answer_url"] == "https://x"
    rejected.result = "something else"  # type: ignore[assignment]
    assert "command" not in json.loads(native.failure_answer(EchoedFields(), rejected, PLENTY))


@pytest.mark.parametrize("limit", [900, 3000, 40_000])
def test_an_answer_that_is_too_long_keeps_the_ends_of_its_texts(limit: int) -> None:
    text, error = "o" * 50_000, "\u00e9\n" * 20_000
    long = replace(RESULT, stdout=StreamResult(50_000, text), stderr=StreamResult(60_000, error))
    reply = native.success_answer(replace(DONE, command=long), limit)
    answer = json.loads(reply)["command"]

    assert limit - 100 < len(reply.encode()) <= limit
    assert text.endswith(answer["stdout"]["value"])
    assert error.endswith(answer["stderr"]["value"])
    assert (answer["stdout"]["truncated"], answer["stdout"]["size"]) == (True, 50_000)
    many = replace(RESULT, outputs=(OUTPUT,) * 1000)
    answer = json.loads(native.success_answer(replace(DONE, command=many), limit))
    assert answer["truncated"] == {"outputs": 1000}


def test_a_request_of_lanlytics_is_read_leniently() -> None:
    body = {
        "service": "s",
        "metadata": {"k": 1},
        "job_id": "j",
        "unknown": 1,
        "command": {
            "unknown": 1,
            "stdin": None,
            "arguments": [{"type": "parameter", "name": "", "value": "v", "unknown": 1}],
        },
    }
    request = lanlytics.parse_request(json.dumps(body))

    assert (request.metadata, request.job_id, request.kind) == ({"k": 1}, "j", "command")
    assert request.command is not None
    assert (request.command.name, request.command.arguments[0].name, request.command.queue) == ("s", None, None)
    ping = lanlytics.parse_request('{"service": "s", "test": true}')
    assert (ping.kind, ping.command is not None) == ("ping", True)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"service": "s", "test": false}', "$.command is required"),
        ('{"service": "s", "command": 5}', "$.command should be an object"),
        ('{"service": "", "command": {}}', "$.command.name should not be empty"),
        ('{"service": "s", "command": {"arguments": 5}}', "$.command.arguments should be a list"),
        ('{"service": "s", "command": {"arguments": [5]}}', "$.command.arguments[0] should be an object"),
        ('{"service": "s", "command": {"stdin": 5}}', "$.command.stdin should be an object"),
        (
            '{"service": "s", "command": {"stdout": {"type": "uri"}}}',
            "$.command.stdout needs a value: the s3:// URI of an object",
        ),
        ('{"service": "s", "queue": 5, "command": {}}', "$.command.queue should be text"),
        ('{"service": "s", "test": 5, "command": {}}', "$.test should be true or false"),
    ],
)
def test_a_request_of_lanlytics_that_is_none_is_refused(body: str, told: str) -> None:
    with pytest.raises(Rejected) as caught:
        lanlytics.parse_request(body)
    assert (caught.value.code, caught.value.message) == ("invalid_request", told)


def test_the_answers_of_commands_follow_their_schemas() -> None:
    schemas = json_schema()
    cut = replace(RESULT, stdout=StreamResult(9, "end", truncated=True))
    for result in (RESULT, cut):
        check_against(schemas["command"], json.loads(native.success_answer(replace(DONE, command=result), PLENTY)))
        rejected = CommandRejected("command_failed", "no", result)
        check_against(schemas["failure"], json.loads(native.failure_answer(EchoedFields(), rejected, PLENTY)))
    with pytest.raises(ValidationError):
        check_against(schemas["command"], {"status": "succeeded"})


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (AWS_CLI_MESSAGE, True),
        (LANLYTICS_MESSAGE, True),
        ('{"service": "s", "test": true}', True),
        ('{"command": {"name": "c"}}', True),
        ('{"command": 5}', True),
        ('{"parameters": [5, {"id": "files"}], "job_id": 1}', False),
        ('{"parameters": [{"id": "files", "value": "\\"command\\""}], "job_id": 1}', False),
        ('{"parameters": {"command_template": 1}, "job_id": 1}', False),
        ('{"files": [], "metadata": {"command": 1}}', False),
        ('{"files": [], "command": {}}', False),
        ('["command"]', False),
        ('{"command"', False),
        ("{}", False),
    ],
)
def test_requests_for_commands_are_known_by_their_shape(body: str, command: bool) -> None:
    assert asks_for_command(body) is command
