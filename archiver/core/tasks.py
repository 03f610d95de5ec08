"""
One-off ECS tasks: the call that starts one with an order, and what the responses of ECS about it mean.

Shapes: RunTask, DescribeTasks and Task in the "Amazon ECS API reference"; reasons: "API failure reasons" and "Stopped
tasks error codes" in the ECS developer guide.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archiver.errors import ConfigurationError, TransientError

MAX_OVERRIDES_CHARS = 8192
"""Of the JSON of a task's overrides, its punctuation counted (`TaskOverride` in the API reference)."""

ORDER_VARIABLE = "TASK_ORDER"
"""Variable of the container: the order itself, or the `s3://` URI of an object that has it."""

COMMAND = "handle"
"""Command of the container that does the order: `archiver handle`."""

STARTED_BY = "archiver"

_STARTED_STATUSES = frozenset({"RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED"})
_STOPPED_STATUSES = frozenset({"STOPPED", "DELETED"})
# An operator has to change something; everything else that ECS names (RESOURCE:*, AGENT) may pass.
_PERMANENT_REASONS = frozenset({"MISSING", "INACTIVE", "ATTRIBUTE", "LOCATION", "INVALID_CPU"})


@dataclass(frozen=True, slots=True)
class TaskTarget:
    """
    Which task is started, and where. *task*: a task definition as `family`, `family:revision` or an ARN. *container*:
    the one of its containers that does the order.
    """

    cluster: str
    task: str
    container: str
    subnets: Sequence[str]
    security_groups: Sequence[str] = ()
    public_ip: bool = False


@dataclass(frozen=True, slots=True)
class StartedTask:
    """A task that ECS has accepted. *definition*: the ARN of its task definition, with the revision."""

    arn: str
    definition: str

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class TaskState:
    """
    What ECS says of a task. *exit_code*: of the container, None if it has none (yet). *reason*: why the task or its
    container stopped, in ECS's words; "" if it says nothing.
    """

    status: str
    exit_code: int | None = None
    reason: str = ""

    @property
    def is_started(self) -> bool:
        """Whether its containers run, or have run."""
        return self.status in _STARTED_STATUSES

    @property
    def is_stopped(self) -> bool:
        return self.status in _STOPPED_STATUSES


def fits_overrides(container: str, order: str) -> bool:
    """
    Return whether *order* can be given to the container in the call itself: else it goes by an object, and its URI is
    the order. A NUL ends a variable's value.
    """
    return "\0" not in order and len(json.dumps(_overrides(container, order))) <= MAX_OVERRIDES_CHARS


def run_task_call(target: TaskTarget, order: str, token: str) -> dict[str, Any]:
    """
    Return the parameters of RunTask, with which the container does *order* and exits. *token*: calls with the same one
    start one task; at most 64 characters. Raises ValueError if *order* is too long (see `fits_overrides`).
    """
    if not fits_overrides(target.container, order):
        raise ValueError("the order is too long for the overrides of a task")
    network: dict[str, Any] = {
        "subnets": list(target.subnets),
        "assignPublicIp": "ENABLED" if target.public_ip else "DISABLED",
    }
    if target.security_groups:
        network["securityGroups"] = list(target.security_groups)
    return {
        "cluster": target.cluster,
        "taskDefinition": target.task,
        "launchType": "FARGATE",
        "count": 1,
        "networkConfiguration": {"awsvpcConfiguration": network},
        "overrides": _overrides(target.container, order),
        "startedBy": STARTED_BY,
        "clientToken": token,
    }


def _overrides(container: str, order: str) -> dict[str, Any]:
    environment = [{"name": ORDER_VARIABLE, "value": order}]
    return {"containerOverrides": [{"name": container, "command": [COMMAND], "environment": environment}]}


def read_started(response: Mapping[str, Any]) -> StartedTask:
    """
    Return the task of RunTask's *response*. Raises ConfigurationError if an operator has to change something;
    TransientError if ECS has no room at present, or gives neither a task nor a reason.
    """
    if tasks := response.get("tasks"):
        return StartedTask(str(tasks[0]["taskArn"]), str(tasks[0].get("taskDefinitionArn", "")))
    failures = response.get("failures") or ()
    if not failures:
        raise TransientError("RunTask: ECS has started no task, and gives no reason")
    told = ", ".join(dict.fromkeys(_failure(failure) for failure in failures))
    if any(str(failure.get("reason", "")).upper() in _PERMANENT_REASONS for failure in failures):
        raise ConfigurationError(f"RunTask: ECS can't start the task: {told}")
    raise TransientError(f"RunTask: ECS has no room for the task at present: {told}")


def _failure(failure: Mapping[str, Any]) -> str:
    """Return the reason of *failure*, and what it is about."""
    about = [str(failure[name]) for name in ("arn", "detail") if failure.get(name)]
    reason = str(failure.get("reason") or "no reason given")
    return f"{reason} ({', '.join(about)})" if about else reason


def read_task(response: Mapping[str, Any], container: str) -> TaskState | None:
    """
    Return the state of the one task that DescribeTasks was asked about; None if ECS knows no such task (any more, or
    yet). Raises TransientError if it gives neither the task nor that.
    """
    tasks = response.get("tasks") or ()
    if tasks:
        task = tasks[0]
        own = [one for one in task.get("containers") or () if one.get("name") == container]
        code = own[0].get("exitCode") if own else None
        texts = [task.get("stopCode"), task.get("stoppedReason"), *(one.get("reason") for one in own)]
        reason = ": ".join(dict.fromkeys(str(text) for text in texts if text))
        return TaskState(str(task.get("lastStatus", "")), code, reason)
    failures = response.get("failures") or ()
    if any(failure.get("reason") == "MISSING" for failure in failures):
        return None
    told = ", ".join(_failure(failure) for failure in failures)
    raise TransientError(f"DescribeTasks: {told or 'ECS returned neither the task nor a reason'}")


@dataclass(frozen=True, slots=True)
class LogStream:
    """Where a container's output is in CloudWatch Logs."""

    group: str
    name: str
    region: str


def read_log_stream(definition: Mapping[str, Any], container: str, task_id: str) -> LogStream | None:
    """
    Return the stream of *container* in the task *task_id*. *definition*: DescribeTaskDefinition's response. None: its
    log driver is another one, or its streams have no prefix, so that their names can't be known.
    """
    for one in definition.get("taskDefinition", {}).get("containerDefinitions") or ():
        logs = one.get("logConfiguration") or {}
        options = logs.get("options") or {}
        group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
        if one.get("name") == container and logs.get("logDriver") == "awslogs" and group and prefix:
            return LogStream(group, f"{prefix}/{container}/{task_id}", options.get("awslogs-region", ""))
    return None
