"""
Least-privilege permissions of what is not a worker: one-off tasks, the function, and whoever starts or invokes them.

    mode      of
    task      the role of a one-off task: a worker without a queue to receive from
    ecs-run   who starts and follows one-off tasks
    lambda    the role of the function; with a task, it may hand jobs on
    invoke    who invokes the function
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archiver.core.policy import Statement, WorkerResources, bucket_arn, literal, worker_statements

RUN_TASK_ACTIONS = ("ecs:RunTask",)
PASS_ROLE_ACTIONS = ("iam:PassRole",)
FOLLOW_TASK_ACTIONS = ("ecs:DescribeTasks", "ecs:StopTask")
DEFINITION_ACTIONS = ("ecs:DescribeTaskDefinition",)  # has no resource-level permissions ("Actions … for Amazon ECS")
READ_LOG_ACTIONS = ("logs:GetLogEvents",)
WRITE_LOG_ACTIONS = ("logs:CreateLogStream", "logs:PutLogEvents")
INVOKE_ACTIONS = ("lambda:InvokeFunction",)

MODES = ("worker", "task", "ecs-run", "lambda", "invoke")

_ECS_TASKS = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


@dataclass(frozen=True, slots=True)
class Account:
    """Where resources are, for their ARNs."""

    region: str
    id: str
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of *resource*, which is of *service*."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{resource}"


@dataclass(frozen=True, slots=True)
class TaskResources:
    """
    What starting one-off tasks needs. *task*: `family`, `family:revision` or an ARN; *roles*: the ARNs of the task's
    roles; *orders*: bucket of requests that are too long for the call, below `orders/`; *log_group*: of its container.
    """

    cluster: str
    task: str
    roles: Sequence[str]
    orders: str | None = None
    log_group: str | None = None


def starter_statements(account: Account, task: TaskResources) -> list[Statement]:
    """Return the permissions to start the task *task*, and to put requests for it."""
    family, _, revision = task.task.partition(":")
    definition = account.arn("ecs", f"task-definition/{literal(family)}:{revision or '*'}")
    if task.task.startswith("arn:"):
        definition = task.task
    orders = (bucket_arn(task.orders, "orders/*", account.partition),) if task.orders else ()
    statements = [
        Statement("RunTask", RUN_TASK_ACTIONS, (definition,), "one-off tasks are of this definition"),
        Statement(
            "PassRoles", PASS_ROLE_ACTIONS, tuple(dict.fromkeys(task.roles)), "tasks get these roles", _ECS_TASKS
        ),
        Statement("PutOrders", ("s3:PutObject",), orders, "requests that are too long for the call go here"),
    ]
    return [one for one in statements if one.resources]


def follower_statements(account: Account, task: TaskResources) -> list[Statement]:
    """Return the permissions to wait for the task *task*, to show its log, and to stop it."""
    cluster = task.cluster.rpartition("/")[2]
    group = account.arn("logs", f"log-group:{literal(task.log_group)}:log-stream:*") if task.log_group else None
    statements = [
        Statement(
            "FollowTask",
            FOLLOW_TASK_ACTIONS,
            (account.arn("ecs", f"task/{literal(cluster)}/*"),),
            "--wait looks at the task, and stops it after --timeout or Ctrl-C",
        ),
        Statement("FindLog", DEFINITION_ACTIONS, ("*",) if group else (), "says where the container's log is"),
        Statement("ReadLog", READ_LOG_ACTIONS, (group,) if group else (), "the container's log is shown"),
    ]
    return [one for one in statements if one.resources]


def one_off_statements(worker: WorkerResources) -> list[Statement]:
    """Return the permissions of a one-off task: those of *worker* but for its queue."""
    return [one for one in worker_statements(worker) if one.sid != "ReceiveJobs"]


def function_statements(account: Account, worker: WorkerResources, log_group: str) -> list[Statement]:
    """Return the permissions of a function that does the work of *worker*. Its *log_group* exists already."""
    return [
        *worker_statements(worker),
        Statement(
            "WriteLog",
            WRITE_LOG_ACTIONS,
            (account.arn("logs", f"log-group:{literal(log_group)}:log-stream:*"),),
            "the function's log goes here",
        ),
    ]


def invoker_statements(account: Account, function: str) -> list[Statement]:
    """Return the permissions to invoke *function*, a name or ARN; one with a version or alias allows that alone."""
    arn = function if function.startswith("arn:") else account.arn("lambda", f"function:{function}")
    return [Statement("InvokeFunction", INVOKE_ACTIONS, (arn,), "requests go to this function")]
