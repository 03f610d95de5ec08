"""The handler under AWS's own runtime client: every event, frozen and thawed processes, errors and signals."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator import REGION, Emulator
from faults.worker_process import wait_until
from processes.archiver_process import NO_AWS

from .function_env import FunctionEnv, failed_items, request
from .runtime_api import CredentialsServer, Function, Relay

pytestmark = pytest.mark.slow
EVENTS = Path(__file__).parent / "events"


def environ(env: FunctionEnv, **more: str) -> dict[str, str]:
    return {
        **NO_AWS,
        **env.settings(),
        "AWS_ENDPOINT_URL": env.aws.endpoint,
        "AWS_CA_BUNDLE": env.aws.bundle,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "ORDERS_PREFIX": f"{env.sources}/orders/",
        "METRICS": "emf",
        **more,
    }


@pytest.fixture
def function(env: FunctionEnv, tmp_path: Path) -> Iterator[Function]:
    with Function(environ(env), tmp_path) as function:
        yield function


def event_of(name: str, env: FunctionEnv) -> Any:
    """The event in a file, about this test's bucket and queue."""
    text = (EVENTS / f"{name}.json").read_text()
    queue = "arn:aws:sqs:eu-west-1:123456789012:input-queue"
    return json.loads(text.replace('"orders-bucket"', f'"{env.sources}"').replace(queue, env.aws.arn(env.source)))


def test_every_event_is_done_by_one_process(env: FunctionEnv, function: Function) -> None:
    """Each file of `events/`: none may be left out."""
    for key in ("orders/2026 + ü.json", "orders/a+b%20c.json"):
        env.put(key, request("a.jpg", job_id=key).encode())
    job_ids = {
        "s3": "orders/2026 + ü.json",
        "eventbridge-s3": "orders/a+b%20c.json",
        "eventbridge": "by-rule",
        "sns": "by-topic",
        "scheduler": "nightly",
        "request": None,
    }
    assert {file.stem for file in EVENTS.iterdir()} == {*job_ids, "sqs", "pipe"}

    for name, job_id in job_ids.items():
        answer = function.invoke(event_of(name, env))
        assert (answer["status"], answer["job_id"]) == ("succeeded", job_id), name
    for name in ("sqs", "pipe"):  # hangs.jpg is missing: that one is a dead letter
        assert function.invoke(event_of(name, env)) == {"batchItemFailures": []}
    assert [one["job_id"] for one in env.sent(env.failures)] == ["bad"]
    assert function.log.count('"Jobs":1') == len(job_ids) + 3
    assert function.process.poll() is None


def test_lines_of_an_invocation_are_written_when_its_answer_is(env: FunctionEnv, function: Function) -> None:
    """Lambda may freeze the process from then on."""
    request_id = function.send(json.loads(request("a.jpg")))
    function.answer()
    function.process.send_signal(signal.SIGSTOP)
    lines = [json.loads(line) for line in function.log.splitlines() if line.startswith("{")]
    done = [line for line in lines if line.get("message") == "job.done"]
    assert [line["request_id"] for line in done] == [request_id]
    assert any("Memory" in line for line in lines)


def test_an_error_names_what_may_succeed_later(env: FunctionEnv, tmp_path: Path) -> None:
    with Function(environ(env, S3_DESTINATION_BUCKET="not-there"), tmp_path) as function:
        function.send(json.loads(request("a.jpg")))
        kind, value = function.answer()
    assert (kind, value["errorType"]) == ("error", "NotDone")
    assert "NoSuchBucket" in value["errorMessage"]


def test_settings_that_are_wrong_are_the_error_of_each_invocation(env: FunctionEnv, tmp_path: Path) -> None:
    with Function(environ(env, S3_COMPRESSION="zip"), tmp_path) as function:
        for _ in range(2):
            function.send({})
            kind, value = function.answer()
            assert (kind, value["errorType"]) == ("error", "FunctionError")
            assert "S3_COMPRESSION" in value["errorMessage"]


def test_a_process_that_was_frozen_finds_its_connections_dead_and_goes_on(
    env: FunctionEnv, emulator: Emulator, tmp_path: Path
) -> None:
    with Relay(emulator.address) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}"
        with Function(environ(env, AWS_ENDPOINT_URL=endpoint), tmp_path) as function:
            first = function.invoke(json.loads(request("a.jpg", job_id="1")))
            function.process.send_signal(signal.SIGSTOP)
            assert relay.drop() >= 2  # those of S3 and of SQS
            function.process.send_signal(signal.SIGCONT)
            second = function.invoke(json.loads(request("a.jpg", job_id="2")))

    assert (first["status"], second["status"]) == ("succeeded", "succeeded")
    assert {one["job_id"] for one in env.sent(env.answers)} == {"1", "2"}


def test_credentials_that_expire_while_the_process_is_frozen_are_asked_for_again(
    env: FunctionEnv, emulator: Emulator, tmp_path: Path
) -> None:
    credentials = CredentialsServer()
    source = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials.url, "AWS_ACCESS_KEY_ID": ""}
    with Relay(emulator.address) as relay:
        settings = environ(env, AWS_ENDPOINT_URL=f"http://127.0.0.1:{relay.port}", **source)
        del settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"]
        with Function(settings, tmp_path) as function:
            function.invoke(json.loads(request("a.jpg", job_id="1")))
            function.process.send_signal(signal.SIGSTOP)
            before, credentials.key = bytes(relay.seen), "AKIDSECOND"
            time.sleep(6)  # requests of a few seconds share what they were given
            function.process.send_signal(signal.SIGCONT)
            function.invoke(json.loads(request("a.jpg", job_id="2")))
            after = bytes(relay.seen)[len(before) :]
    credentials.shutdown()
    credentials.server_close()

    assert (b"AKIDFIRST" in before, b"AKIDSECOND" in before) == (True, False)
    assert (b"AKIDFIRST" in after, b"AKIDSECOND" in after) == (False, True)


def test_sigterm_during_an_invocation_ends_its_jobs_and_their_messages_come_again(
    env: FunctionEnv, tmp_path: Path
) -> None:
    """The job waits for an object."""
    event = env.batch(request("later.jpg", wait_for={"timeout": 600}))
    with Function(environ(env), tmp_path) as function:
        function.send(event, seconds=600.0)
        wait_until(lambda: "job.waiting" in function.log, "the job to wait")
        function.process.send_signal(signal.SIGTERM)
        assert function.answer() == ("response", failed_items(event, 0))
        assert function.invoke({"test": True, "files": [{"source": "a.jpg"}]})["accepted"]


def test_sigterm_between_invocations_ends_the_process(env: FunctionEnv, function: Function) -> None:
    function.invoke(json.loads(request("a.jpg")))
    function.process.send_signal(signal.SIGTERM)
    assert function.process.wait(30) == -signal.SIGTERM
