"""Jobs that would outlast the invocation are ECS tasks, with the same message, before anything is written."""

import json
from dataclasses import replace
from typing import Any

import pytest

from archiver.awslambda.event_run import NotDone
from archiver.awslambda.hand_on import HandOn
from archiver.awslambda.service import Service
from archiver.core.tasks import StartedTask, TaskTarget
from archiver.errors import ConfigurationError, TransientError
from archiver.settings import SettingsError

from .function_env import FUNCTION, FunctionEnv, broken, failed_items, invoke, request

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/tools/1"
TARGET = TaskTarget("tools", "archiver:1", "archiver", ["subnet-1"], [])


class Tasks:
    """Takes every call, or raises *error*."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self._error = error

    async def run(self, call: dict[str, Any]) -> StartedTask:
        if self._error is not None:
            raise self._error
        self.calls.append(call)
        return StartedTask(ARN, "definition")

    def record(self, env: FunctionEnv) -> dict[str, Any]:
        """The message that the last task gets."""
        (container,) = self.calls[-1]["overrides"]["containerOverrides"]
        assert (container["name"], container["command"]) == ("archiver", ["handle"])
        (variable,) = container["environment"]
        text = variable["value"]
        if text.startswith("s3://"):
            bucket, _, key = text.removeprefix("s3://").partition("/")
            text = env.aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        (record,) = json.loads(text)["Records"]
        return dict(record)


def handing(service: Service, tasks: Tasks, *, always: bool = False) -> Service:
    hand_on = HandOn(tasks, TARGET, service.rules.destination_bucket, always)  # type: ignore[arg-type]
    return replace(service, hand_on=hand_on)


@pytest.mark.slow
async def test_a_job_that_would_not_end_in_time_is_a_task_before_it_is_begun(
    env: FunctionEnv, service: Service
) -> None:
    """150 MB at 30 MB/s are more than the four seconds that are left; the other job is done here."""
    env.put("big.bin", bytes(150_000_000))
    tasks, store = Tasks(), broken(service, "never")[1]
    event = env.batch(request("big.bin", job_id="long"), request("a.jpg", job_id="short"))

    assert await invoke(handing(service, tasks), event, seconds=6.0, memory_mib=100_000) == failed_items(event)

    record = tasks.record(env)
    assert json.loads(record["body"])["job_id"] == "long"
    assert record["eventSourceARN"] == env.aws.arn(env.source)
    assert "receiptHandle" not in record
    assert [one["job_id"] for one in env.sent(env.answers)] == ["short"]
    assert len(env.archives_made()) == 1
    assert not store.reached.is_set()


async def test_all_archives_are_tasks_if_the_operator_says_so(env: FunctionEnv, service: Service) -> None:
    """The seed's mode. What is no request, or only asks whether anybody listens, starts no task."""
    tasks = Tasks()
    handed = handing(service, tasks, always=True)

    answers = await invoke(handed, [request("a.jpg", job_id="j"), "no request", '{"test": true, "files": []}'])

    assert answers[0] == {"status": "handed_on", "job_id": "j", "message_id": "invocation-1-0", "task": ARN}
    assert [one["status"] for one in answers[1:]] == ["failed", "alive"]
    assert len(tasks.calls) == 1
    assert tasks.record(env)["eventSourceARN"] == FUNCTION
    assert env.archives_made() == []


async def test_an_archive_that_is_there_needs_no_task(env: FunctionEnv, service: Service) -> None:
    event = env.batch(request("a.jpg"))
    await invoke(service, event)
    tasks = Tasks()
    assert await invoke(handing(service, tasks, always=True), event) == failed_items(event)
    assert tasks.calls == []
    assert len(env.sent(env.answers)) == 2


async def test_a_message_that_comes_again_starts_no_second_task_and_a_long_one_goes_by_s3(
    env: FunctionEnv, service: Service
) -> None:
    tasks = Tasks()
    event = env.batch(request("a.jpg", metadata={"text": "x" * 9000}))
    handed = handing(service, tasks, always=True)
    await invoke(handed, event)
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "2"
    await invoke(handed, event)
    assert tasks.calls[0] == tasks.calls[1]
    assert json.loads(tasks.record(env)["body"])["metadata"]["text"] == "x" * 9000


async def test_a_task_is_told_the_dead_letter_queue_of_the_source_and_none_that_the_event_names(
    env: FunctionEnv, service: Service
) -> None:
    """The task's role can't read the source queue; an event that somebody makes up names any queue."""
    tasks = Tasks()
    event = env.batch(request("a.jpg"))
    event["Records"][0]["deadLetterQueueARN"] = env.aws.arn(env.answers)

    await invoke(handing(service, tasks, always=True), event)
    assert tasks.record(env)["deadLetterQueueARN"] == env.aws.arn(env.dead)

    event["Records"][0]["eventSourceARN"] = f"{env.aws.arn(env.source)}-gone"
    await invoke(handing(service, tasks, always=True), event)
    assert "deadLetterQueueARN" not in tasks.record(env)


@pytest.mark.slow
async def test_a_job_that_takes_longer_than_it_was_estimated_is_handed_on_then(
    env: FunctionEnv, service: Service
) -> None:
    tasks = Tasks()
    hanging, store = broken(service)
    event = env.batch(request("a.jpg", job_id="slow"))
    assert await invoke(handing(hanging, tasks), event, seconds=15.0) == failed_items(event)
    assert store.reached.is_set()
    assert json.loads(tasks.record(env)["body"])["job_id"] == "slow"


async def test_a_request_that_waits_longer_than_the_invocation_lasts_is_a_task(
    env: FunctionEnv, service: Service
) -> None:
    tasks = Tasks()
    event = env.batch(request("later.jpg", wait_for={"timeout": 600}))
    assert await invoke(handing(service, tasks), event) == failed_items(event)
    assert len(tasks.calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("error", [TransientError("no capacity"), ConfigurationError("no such cluster")])
async def test_a_message_for_which_no_task_starts_comes_again(
    env: FunctionEnv, service: Service, error: Exception
) -> None:
    handed = handing(service, Tasks(error), always=True)
    event = env.batch(request("a.jpg"))
    assert await invoke(handed, event, seconds=2.0) == failed_items(event, 0)
    with pytest.raises(NotDone, match=str(error)):
        await invoke(handed, {"files": [{"source": "a.jpg"}]})


async def test_where_tasks_are_wanted_the_settings_name_one(env: FunctionEnv) -> None:
    with pytest.raises(SettingsError, match="ARCHIVER_ECS_CLUSTER: is required"):
        async with env.service(LAMBDA_RUNS="ecs"):
            pass
    named = {"CLUSTER": "tools", "TASK": "archiver:1", "CONTAINER": "archiver", "SUBNETS": "subnet-1"}
    async with env.service(
        LAMBDA_RUNS="ecs", **{f"ARCHIVER_ECS_{name}": value for name, value in named.items()}
    ) as made:
        assert made.hand_on is not None
        assert (made.hand_on.target, made.hand_on.always) == (TARGET, False)
