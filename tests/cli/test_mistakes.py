"""The mistakes that newcomers make: one sentence each that mends them, no traceback, and an exit code for scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.rules import Rule, Status
from faults.scenario import Scenario
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli.console import CommandError
from archiver.cli.runner import run_async

from .cli_process import cli_environment

FILE = ("--file", "a.jpg")
COMMANDS = {
    "send": ("send", *FILE),
    "create": ("create", *FILE),
    "plan": ("plan", *FILE),
    "verify": ("verify", "s3://somewhere/a.zip"),
    "dlq": ("dlq", "list"),
    "iam-policy": ("iam-policy",),
}
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def error_line(worker_env: WorkerEnv, name: str, **settings: str) -> tuple[int, str]:
    """The exit code, and the one line on standard error."""
    ended = run_command(*COMMANDS[name], env=worker_env.settings(SQS_SOURCE_QUEUE="input-queue", **settings))
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return ended.returncode, line


@pytest.mark.parametrize("name", COMMANDS)
def test_without_credentials_it_is_said_where_they_come_from(worker_env: WorkerEnv, name: str) -> None:
    code, line = error_line(worker_env, name, **NO_CREDENTIALS)

    assert code == 2
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_a_profile_that_does_not_exist_is_named(worker_env: WorkerEnv, name: str) -> None:
    code, line = error_line(worker_env, name, AWS_PROFILE="nobody")

    assert (code, line.partition(":")[0]) == (2, "AWS_PROFILE")
    assert "nobody" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_region_it_is_said_which_variable_sets_it(worker_env: WorkerEnv, name: str) -> None:
    code, line = error_line(worker_env, name, AWS_REGION="", AWS_ENDPOINT_URL="")

    assert code == 2
    assert line.startswith(("AWS_REGION: ", "no AWS region is set; set AWS_REGION"))


def test_an_endpoint_without_http_is_told_how_to_be_written(worker_env: WorkerEnv) -> None:
    code, line = error_line(worker_env, "send", AWS_ENDPOINT_URL="localhost:4566")

    assert code == 2
    assert line.startswith("AWS_ENDPOINT_URL: Invalid endpoint: localhost:4566; write it like http://localhost:4566")


@pytest.mark.parametrize("name", ["send", "dlq", "iam-policy"])
def test_where_nothing_listens_it_is_said_what_could_be_started(worker_env: WorkerEnv, name: str) -> None:
    code, line = error_line(worker_env, name, AWS_ENDPOINT_URL="http://localhost:1")

    assert code == 3
    assert line.startswith("no connection to http://localhost:1; check AWS_ENDPOINT_URL, the region and the network")
    assert "archiver local" in line


@pytest.mark.parametrize("name", ["send", "dlq", "iam-policy"])
def test_a_misspelt_queue_is_told_with_the_one_that_is_meant(worker_env: WorkerEnv, name: str) -> None:
    worker_env.aws.sqs.create_queue(QueueName="input-queues")

    code, line = error_line(worker_env, name)

    assert code == 2
    assert "not found: GetQueueUrl input-queue" in line
    assert "(did you mean input-queues?)" in line
    worker_env.aws.sqs.delete_queue(QueueUrl=worker_env.aws.sqs.get_queue_url(QueueName="input-queues")["QueueUrl"])


def test_a_queue_of_another_region_is_told_with_the_region(worker_env: WorkerEnv) -> None:
    worker_env.aws.sqs.create_queue(QueueName="regional")

    ended = run_command("send", *FILE, env=worker_env.settings(SQS_SOURCE_QUEUE="regional", AWS_REGION="us-west-2"))

    assert ended.returncode == 2
    assert "check the name and the region (us-west-2)" in ended.stderr


@pytest.mark.parametrize("name", ["create", "plan"])
def test_a_bucket_that_does_not_exist_is_told(worker_env: WorkerEnv, name: str) -> None:
    ended = run_command(
        name, "--file", "s3://no-such-bucket/a.jpg", env=worker_env.settings(S3_ALLOWED_SOURCES="", S3_SOURCE_BUCKET="")
    )

    assert ended.returncode == 1
    assert "no such key or bucket" in ended.stderr


def test_a_request_with_a_trailing_comma_is_told_where_it_is(worker_env: WorkerEnv, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"files": [{"source": "a.jpg"},]}')
    for name in ("send", "create", "plan"):
        ended = run_command(name, str(file), env=worker_env.settings())
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[0] == (
            "the request is not JSON: line 1, column 32: trailing comma; remove the comma before the closing bracket"
        )


@pytest.mark.parametrize("operation", ["SendMessage", "GetQueueAttributes"])
def test_a_denied_call_is_told_with_the_action_to_allow(operation: str, open_scenario: Callable[..., Scenario]) -> None:
    scenario = open_scenario()
    scenario.proxy.add(Rule(Status(403, "AccessDenied"), op=operation, times=None))
    arguments = ("send", *FILE) if operation == "SendMessage" else ("dlq", "list")

    ended = run_command(*arguments, env=cli_environment(scenario))

    assert ended.returncode == 2
    assert f"allow sqs:{operation} for your identity" in ended.stderr


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("RequestTimeTooSkewed", "this machine's clock is wrong"),
        ("InvalidClientTokenId", "AWS does not know these credentials"),
    ],
)
def test_refused_credentials_are_told_by_what_is_wrong_with_them(
    code: str, sentence: str, open_scenario: Callable[..., Scenario]
) -> None:
    scenario = open_scenario()
    scenario.proxy.add(Rule(Status(403, code), op="SendMessage", times=None))

    ended = run_command("send", *FILE, env=cli_environment(scenario))

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_defect_is_a_sentence_and_its_traceback_is_there_for_who_asks(
    debug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUG", debug)

    async def broken() -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError if debug else CommandError) as caught:
        run_async(broken)

    if isinstance(caught.value, CommandError):
        assert caught.value.code == 70
        assert caught.value.sentences[0] == (
            "internal error (a bug in the archiver): ZeroDivisionError: by zero; "
            "please report it with its traceback (DEBUG=1 shows it)"
        )
