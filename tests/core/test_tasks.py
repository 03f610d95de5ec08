"""One-off tasks: the call that starts one, and what the responses of ECS mean."""

import json
from typing import Any

import pytest

from archiver.core.task_wait import TaskEnd, TaskWait
from archiver.core.tasks import (
    MAX_OVERRIDES_CHARS,
    LogStream,
    StartedTask,
    TaskState,
    TaskTarget,
    fits_overrides,
    read_log_stream,
    read_started,
    read_task,
    run_task_call,
)
from archiver.errors import ArchiverError, ConfigurationError, TransientError

ARN = "arn:aws:ecs:eu-west-1:123456789012:task/tools/0123456789abcdef"
DEFINITION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/archiver:3"
TARGET = TaskTarget("tools", "archiver:3", "archiver", ["subnet-1", "subnet-2"], ["sg-1"])


def longest_order() -> str:
    """An order that fits the overrides to the character."""
    frame = len(json.dumps(run_task_call(TARGET, "", "t")["overrides"]))
    return "x" * (MAX_OVERRIDES_CHARS - frame)


def test_a_call_starts_one_fargate_task_whose_container_does_the_order() -> None:
    call = run_task_call(TARGET, '{"files": ["a.jpg"]}', "token")

    assert call == {
        "cluster": "tools",
        "taskDefinition": "archiver:3",
        "launchType": "FARGATE",
        "count": 1,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-1", "subnet-2"],
                "securityGroups": ["sg-1"],
                "assignPublicIp": "DISABLED",
            }
        },
        "overrides": {
            "containerOverrides": [
                {
                    "name": "archiver",
                    "command": ["handle"],
                    "environment": [{"name": "TASK_ORDER", "value": '{"files": ["a.jpg"]}'}],
                }
            ]
        },
        "startedBy": "archiver",
        "clientToken": "token",
    }


def test_a_public_ip_is_asked_for_and_security_groups_are_optional() -> None:
    call = run_task_call(TaskTarget("tools", "archiver", "archiver", ["subnet-1"], public_ip=True), "{}", "t")

    network = {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}
    assert call["networkConfiguration"] == {"awsvpcConfiguration": network}


def test_overrides_have_8192_characters_of_json_and_not_one_more() -> None:
    order = longest_order()

    call = run_task_call(TARGET, order, "t")
    assert len(json.dumps(call["overrides"])) == MAX_OVERRIDES_CHARS == 8192
    assert not fits_overrides("archiver", order + "x")
    with pytest.raises(ValueError, match="too long"):
        run_task_call(TARGET, order + "x", "t")


@pytest.mark.parametrize("char", ['"', "\n", "\u00e9", "\U0001f600"])
def test_characters_count_as_json_writes_them(char: str) -> None:
    order = longest_order()[:-1]

    assert fits_overrides("archiver", order + "x")
    assert not fits_overrides("archiver", order + char)


def test_an_order_with_a_nul_is_no_value_of_a_variable() -> None:
    assert not fits_overrides("archiver", "{}\0")


def test_the_task_of_a_response_is_what_was_started() -> None:
    started = read_started({"tasks": [{"taskArn": ARN, "taskDefinitionArn": DEFINITION}], "failures": []})

    assert started == StartedTask(ARN, DEFINITION)
    assert started.id == "0123456789abcdef"


@pytest.mark.parametrize(
    ("failures", "error", "told"),
    [
        ([], TransientError, "no task, and gives no reason"),
        ([{"reason": "RESOURCE:MEMORY", "arn": "i-1"}], TransientError, r"no room .*RESOURCE:MEMORY \(i-1\)"),
        ([{"reason": "RESOURCE:ENI"}, {"reason": "RESOURCE:ENI"}], TransientError, "RESOURCE:ENI$"),
        ([{"reason": "AGENT"}], TransientError, "AGENT"),
        ([{"reason": "Capacity is unavailable at this time."}], TransientError, "Capacity is unavailable"),
        ([{"reason": "of next year"}], TransientError, "of next year"),
        ([{}], TransientError, "no reason given"),
        ([{"reason": "MISSING", "arn": "tools"}], ConfigurationError, r"MISSING \(tools\)"),
        ([{"reason": "INACTIVE", "detail": "gone"}], ConfigurationError, r"INACTIVE \(gone\)"),
        ([{"reason": "RESOURCE:CPU"}, {"reason": "ATTRIBUTE"}], ConfigurationError, "RESOURCE:CPU, ATTRIBUTE"),
    ],
)
def test_a_response_without_a_task_is_told_and_sorted_by_who_can_help(
    failures: list[Any], error: type[ArchiverError], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_started({"tasks": [], "failures": failures})
    with pytest.raises(TransientError):
        read_started({})


def described(status: str, **more: Any) -> dict[str, Any]:
    """DescribeTasks' response: one task, with *containers*, in *status*."""
    return {"tasks": [{"taskArn": ARN, "lastStatus": status, **more}], "failures": []}


@pytest.mark.parametrize(
    ("response", "state"),
    [
        (described("PROVISIONING"), TaskState("PROVISIONING")),
        (described("RUNNING", containers=[{"name": "archiver"}]), TaskState("RUNNING")),
        (described("STOPPED", containers=[{"name": "archiver", "exitCode": 0}]), TaskState("STOPPED", 0)),
        (
            described(
                "STOPPED",
                stopCode="EssentialContainerExited",
                stoppedReason="Essential container in task exited",
                containers=[
                    {"name": "sidecar", "exitCode": 0, "reason": "other"},
                    {"name": "archiver", "exitCode": 137, "reason": "OutOfMemoryError: killed"},
                ],
            ),
            TaskState(
                "STOPPED",
                137,
                "EssentialContainerExited: Essential container in task exited: OutOfMemoryError: killed",
            ),
        ),
        (described("STOPPED", containers=[{"name": "sidecar", "exitCode": 0}]), TaskState("STOPPED")),
        ({"tasks": [], "failures": [{"arn": ARN, "reason": "MISSING"}]}, None),
    ],
)
def test_a_task_is_read_with_its_own_containers_exit_code_and_every_reason(
    response: dict[str, Any], state: TaskState | None
) -> None:
    assert read_task(response, "archiver") == state


@pytest.mark.parametrize(
    ("response", "told"),
    [({}, "neither the task"), ({"failures": [{"reason": "THROTTLED", "detail": "so"}]}, r"THROTTLED \(so\)")],
)
def test_a_response_that_says_nothing_may_say_more_later(response: dict[str, Any], told: str) -> None:
    with pytest.raises(TransientError, match=told):
        read_task(response, "archiver")


# ---- waiting


def test_a_wait_goes_on_until_the_task_has_stopped() -> None:
    wait = TaskWait(limit=None, start_limit=60)

    for seconds, status in enumerate(("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING")):
        assert wait.look(TaskState(status), seconds) is None
    for seconds, status in enumerate(("RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "of next year")):
        assert wait.look(TaskState(status), 1e6 + seconds) is None
    assert wait.look(TaskState("STOPPED", 0), 2e6) == TaskEnd(0, "the task stopped with exit code 0")


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        (TaskState("STOPPED", 1, "why"), 1, "stopped with exit code 1: why"),
        (TaskState("STOPPED", 2), 2, "stopped with exit code 2"),
        (TaskState("STOPPED", 255), 255, "exit code 255"),
        (TaskState("STOPPED", 256), 1, "exit code 256"),
        (TaskState("STOPPED", -1), 1, "exit code -1"),
        (TaskState("DELETED", 0), 0, "exit code 0"),
        (TaskState("STOPPED"), 3, "its container has no exit code"),
        (TaskState("STOPPED", None, "TaskFailedToStart: CannotPullContainerError"), 3, "no exit code: TaskFailedTo"),
    ],
)
def test_the_end_has_the_exit_code_of_the_container_or_says_there_is_none(
    state: TaskState, code: int, told: str
) -> None:
    end = TaskWait().look(state, 1e9)

    assert end is not None
    assert (end.exit_code, end.is_running) == (code, False)
    assert told in end.sentence


def test_a_task_that_never_starts_is_given_up_and_said_to_be_running() -> None:
    wait = TaskWait(start_limit=900)

    assert wait.look(TaskState("PROVISIONING"), 899) is None
    end = wait.look(TaskState("PROVISIONING"), 900)
    assert end is not None and (end.exit_code, end.is_running) == (3, True)
    assert "has not started within 900 s (status PROVISIONING)" in end.sentence
    assert TaskWait(start_limit=None).look(TaskState("PENDING"), 1e9) is None


def test_a_task_that_runs_too_long_is_given_up_and_said_to_be_running() -> None:
    wait = TaskWait(limit=60)

    assert wait.look(TaskState("RUNNING"), 59.9) is None
    end = wait.look(TaskState("RUNNING"), 60)
    assert end is not None and (end.exit_code, end.is_running) == (3, True)
    assert "has not stopped within 60 s (status RUNNING); it goes on" in end.sentence


def test_a_task_that_ecs_does_not_know_yet_is_waited_for_and_one_that_it_has_forgotten_is_not() -> None:
    wait = TaskWait()
    assert wait.look(None, 0) is None
    assert wait.look(None, 59) is None
    assert wait.look(TaskState("RUNNING"), 60) is None
    gone = wait.look(None, 61)
    assert gone is not None and "no longer knows the task" in gone.sentence and gone.exit_code == 3

    never = TaskWait().look(None, 60)
    assert never is not None and "does not know the task" in never.sentence and never.exit_code == 3
    limited = TaskWait(limit=10).look(None, 10)
    assert limited is not None and "status unknown" in limited.sentence


# ---- the log


def definition(*, driver: str = "awslogs", name: str = "archiver", **options: str) -> dict[str, Any]:
    """DescribeTaskDefinition's response; *options*: of its container's log driver, `_` for `-`."""
    given = {f"awslogs-{key.replace('_', '-')}": text for key, text in options.items()}
    logs = {"logDriver": driver, "options": given}
    containers = [{"name": "sidecar"}, {"name": name, "logConfiguration": logs}]
    return {"taskDefinition": {"containerDefinitions": containers}}


def test_the_log_of_a_container_is_a_stream_of_its_prefix_name_and_task() -> None:
    told = definition(group="/archiver", region="eu-west-1", stream_prefix="task")

    assert read_log_stream(told, "archiver", "0123") == LogStream("/archiver", "task/archiver/0123", "eu-west-1")


@pytest.mark.parametrize(
    "told",
    [
        {},
        definition(group="/archiver"),
        definition(stream_prefix="task"),
        definition(driver="awsfirelens", group="/archiver", stream_prefix="task"),
        definition(name="other", group="/archiver", stream_prefix="task"),
    ],
)
def test_without_a_known_stream_there_is_no_log_to_show(told: dict[str, Any]) -> None:
    assert read_log_stream(told, "archiver", "0123") is None
    assert read_log_stream(told, "sidecar", "0123") is None
