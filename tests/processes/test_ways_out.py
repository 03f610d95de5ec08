"""A worker whose answers go further than SQS."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from faults.worker_process import wait_until
from receivers import Receivers, receivers

from .archiver_process import run_command
from .worker_env import WorkerEnv

if TYPE_CHECKING:
    from emulator import EmulatedAws

__all__ = ["receivers"]


def test_every_way_out_gets_successes_and_failures_alike(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, queue = receivers.topic()
    with WorkerEnv(aws) as env:
        env.put("a.jpg")
        worker = env.worker(
            NOTIFY_SNS_TOPIC=topic, NOTIFY_EVENT_BUS=receivers.bus(), NOTIFY_LAMBDA=receivers.function()
        )
        env.send_request("a.jpg", attributes={"Correlation-Id": "c-1"})
        answer = env.answer()
        env.send_request("nowhere.jpg")
        (failure,) = (json.loads(one["Body"]) for one in env.receive(env.failures))
        env.wait_until_empty()
        worker.terminate()
        assert worker.exit_code() == 0

    published = [(json.loads(body), attributes) for body, attributes in receivers.messages(queue)]
    assert sorted(published, key=str) == sorted(
        [(answer, {"status": "succeeded", "Correlation-Id": "c-1"}), (failure, {"status": "failed"})], key=str
    )
    assert "answer.unsent" not in worker.log


def test_answers_may_go_to_a_topic_alone(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, queue = receivers.topic(fifo=True)
    arrived: list[dict[str, Any]] = []

    def all_there() -> bool:
        arrived.extend(json.loads(body) for body, _ in receivers.messages(queue))
        return len(arrived) >= 2

    with WorkerEnv(aws) as env:
        env.put("a.jpg")
        env.worker(NOTIFY_SNS_TOPIC=topic, SQS_DESTINATION_QUEUE="", SQS_FAILURE_QUEUE="")
        env.send_request("a.jpg", progress=True)
        env.send_request("nowhere.jpg")
        wait_until(all_there, "two answers")
        env.wait_until_empty()

    assert sorted(answer["status"] for answer in arrived) == ["failed", "succeeded"], "progress goes to a queue"


def test_what_does_not_exist_stops_the_start_and_each_is_named(aws: "EmulatedAws") -> None:
    with WorkerEnv(aws) as env:
        settings = env.settings(
            NOTIFY_SNS_TOPIC="arn:aws:sns:eu-west-1:123456789012:none",
            NOTIFY_EVENT_BUS="none",
            NOTIFY_LAMBDA="none",
            NOTIFY_LAMBDA_TYPE="RequestResponse",
        )
        ended = run_command("run", env=settings)
        checked = run_command("check", "--json", env=settings)

    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if line.startswith("NOTIFY_")]
    assert [line.partition(":")[0] for line in lines] == ["NOTIFY_SNS_TOPIC", "NOTIFY_EVENT_BUS", "NOTIFY_LAMBDA"]
    assert all("does not exist" in line for line in lines)
    found = {one["what"]: one["state"] for one in json.loads(checked.stdout)}
    assert {found[kind] for kind in ("topic", "event bus", "function")} == {"bad"}


def test_check_and_policy_know_what_exists(aws: "EmulatedAws", receivers: Receivers) -> None:
    topic, _ = receivers.topic()
    with WorkerEnv(aws) as env:
        settings = env.settings(
            NOTIFY_SNS_TOPIC=topic, NOTIFY_EVENT_BUS=receivers.bus(), NOTIFY_LAMBDA=receivers.function()
        )
        checked = run_command("check", "--json", env=settings)
        policy = run_command("iam-policy", env=settings)

    found = {one["what"]: one["state"] for one in json.loads(checked.stdout)}
    assert {found[kind] for kind in ("topic", "event bus", "function")} == {"ok"}
    statements = {one["Sid"]: one["Resource"] for one in json.loads(policy.stdout)["Statement"]}
    assert statements["PublishAnswers"] == [topic]
    assert {"PutAnswers", "InvokeWithAnswers"} <= statements.keys()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NOTIFY_SNS_TOPIC", "archives", "the ARN of a topic"),
        ("NOTIFY_EVENT_BUS", "a b", "the name or the ARN of an event bus"),
        ("NOTIFY_LAMBDA", "https://f", "the name or the ARN of a function"),
        ("NOTIFY_LAMBDA_TYPE", "Event", "has an effect only with NOTIFY_LAMBDA"),
    ],
)
def test_a_setting_that_names_nothing_is_told(name: str, value: str, told: str) -> None:
    from archiver.settings import SettingsError, load_settings  # noqa: PLC0415

    with pytest.raises(SettingsError, match=told):
        load_settings({"SQS_SOURCE_QUEUE": "in", "S3_DESTINATION_BUCKET": "zips", name: value})
