"""function.yaml: the function, what invokes it, and a role that allows what it does and no more."""

import re
from typing import Any

import pytest

from archiver.core.mode_policy import Account, TaskResources, function_statements, starter_statements
from archiver.core.policy import WorkerResources, policy_document
from archiver.core.tasks import TaskTarget
from archiver.doors.tasks import task_target
from archiver.settings import load_function_settings

from .stack_values import statements
from .template import ACCOUNT, ALONE, REGION, STACK, Stack, load_template

QUEUES = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
REQUIRED = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/archiver-lambda:1.0.0",
    "SourceBuckets": "photos,scans",
    "ArchiveBucketName": "my-archives",
}
QUEUE = {
    "SourceQueueArn": f"{QUEUES}zips-requests.fifo",
    "DeadLetterQueueArn": f"{QUEUES}zips-dead.fifo",
    "AnswerQueueArn": f"{QUEUES}zips-answers",
    "FailureQueueArn": f"{QUEUES}zips-failures",
}
ORDERS = {"OrdersBucketName": "inbox", "EventRequest": '{"on_missing": "skip"}'}
FAILED = {"FailedEventsQueueArn": f"{QUEUES}zips-failed"}
ROLES = f"arn:aws:iam::{ACCOUNT}:role/task,arn:aws:iam::{ACCOUNT}:role/execution"
TASK = {
    "TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/archiver",
    "TaskRoleArns": ROLES,
    "TaskClusterName": "tools",
    "TaskSubnetIds": "subnet-1,subnet-2",
    "TaskSecurityGroupIds": "sg-1",
}
OTHERS = {
    "ArchiveKeySecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:archiver/key-AbCdEf",
    "BaseUrl": "https://files.example.com",
    "ReservedConcurrency": "5",
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "RolePath": "/services/",
}
EVERYTHING = REQUIRED | QUEUE | ORDERS | FAILED | TASK | OTHERS
WAYS = [REQUIRED, REQUIRED | QUEUE, REQUIRED | ORDERS, REQUIRED | TASK, EVERYTHING]
each = pytest.mark.parametrize("given", WAYS, ids=["required", "queue", "orders", "task", "everything"])


def function(given: dict[str, str]) -> dict[str, Any]:
    return dict(Stack("function", given).resources["Function"])


def environment(given: dict[str, str]) -> dict[str, str]:
    return {name: str(value) for name, value in function(given)["Environment"]["Variables"].items()}


def pairs(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Every action with every resource that it is allowed on."""
    return {
        (action, resource)
        for one in statements(document).values()
        for action in one["Action"]
        for resource in one["Resource"]
    }


@each
def test_the_role_allows_what_iam_policy_prints_and_the_orders(given: dict[str, str]) -> None:
    (policy,) = Stack("function", given).resources["Role"]["Policies"]
    account = Account(REGION, ACCOUNT)
    secret = [given["ArchiveKeySecretArn"]] if "ArchiveKeySecretArn" in given else []
    sends = [given[name] for name in ("AnswerQueueArn", "FailureQueueArn", "DeadLetterQueueArn") if name in given]
    source = given.get("SourceQueueArn", "none")
    worker = WorkerResources(source, sends, ["photos", "scans"], "my-archives", secrets=secret)
    printed = function_statements(account, worker, f"/archiver/{STACK}")
    if "TaskDefinitionArn" in given:
        printed += starter_statements(account, TaskResources("tools", "archiver", ROLES.split(",")))
    needed = {pair for pair in pairs(policy_document(printed)) if pair[1] != "none"}
    if "OrdersBucketName" in given:
        needed.add(("s3:GetObject", "arn:aws:s3:::inbox/orders/*"))
    if "FailedEventsQueueArn" in given:
        needed.add(("sqs:SendMessage", given["FailedEventsQueueArn"]))
    task = given.get("TaskDefinitionArn")

    allowed = {
        (action, resource.replace("log-group:LogGroup:", f"log-group:/archiver/{STACK}:"))
        for action, resource in pairs(policy["PolicyDocument"])
    }
    assert allowed - {("ecs:RunTask", str(task))} == needed


@each
def test_its_variables_are_settings_that_the_function_takes(given: dict[str, str]) -> None:
    assert Stack("function", given).broken_rules() == []
    environ = environment(given) | {"ARCHIVE_KEY_SECRET": "s"}
    settings = load_function_settings(environ)

    assert (settings.source_bucket, settings.destination_bucket) == ("photos", "my-archives")
    assert settings.orders_prefix == ("inbox/orders/" if "OrdersBucketName" in given else None)
    assert settings.event_request == given.get("EventRequest")
    assert settings.lambda_runs == ("ecs" if "TaskDefinitionArn" in given else "here")
    if settings.lambda_runs == "ecs":
        assert task_target(settings) == TaskTarget(
            "tools", TASK["TaskDefinitionArn"], "archiver", ["subnet-1", "subnet-2"], ["sg-1"]
        )


def test_alone_it_is_a_function_with_its_role_and_its_log() -> None:
    assert sorted(Stack("function", REQUIRED).types.values()) == [
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
    ]
    assert "ReservedConcurrentExecutions" not in function(REQUIRED)


def test_a_queue_invokes_it_and_is_told_of_single_failures() -> None:
    mapping = Stack("function", EVERYTHING).resources["Mapping"]
    assert mapping["EventSourceArn"] == QUEUE["SourceQueueArn"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_bucket_invokes_it_for_orders_alone_unless_all_objects_are_archived() -> None:
    for given, wanted in ((ORDERS, None), ({"OrdersBucketName": "inbox"}, {"key": [{"prefix": "orders/"}]})):
        stack = Stack("function", REQUIRED | given)
        pattern = stack.resources["NewObjects"]["EventPattern"]
        assert pattern["detail"]["bucket"] == {"name": ["inbox"]}
        assert pattern["detail"].get("object") == wanted
        assert (
            stack.resources["NewObjectsPermission"]["SourceArn"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/NewObjects"
        )


def test_events_that_failed_three_times_are_kept() -> None:
    kept = Stack("function", EVERYTHING).resources["FailedEvents"]
    assert kept["MaximumRetryAttempts"] == 2
    assert kept["DestinationConfig"]["OnFailure"]["Destination"] == FAILED["FailedEventsQueueArn"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"OrdersBucketName": "my-archives"}, "OrdersBucketName"),
        ({"EventRequest": "{}"}, "OrdersBucketName"),
        ({**TASK, "TaskSubnetIds": ""}, "TaskSubnetIds"),
        ({**TASK, "TaskClusterName": ""}, "TaskClusterName"),
        ({**TASK, "TaskRoleArns": ""}, "TaskRoleArns"),
    ],
)
def test_halves_of_a_part_stop_the_deployment(given: dict[str, str], named: str) -> None:
    (sentence,) = Stack("function", REQUIRED | given).broken_rules()
    assert named in sentence


def test_parameters_take_what_is_meant_and_the_template_fits_into_the_call() -> None:
    told = load_template("function")["Parameters"]
    assert set(EVERYTHING) <= set(told)
    for name, value in EVERYTHING.items():
        if "AllowedPattern" in told[name]:
            parts = value.split(",") if told[name]["Type"] == "CommaDelimitedList" else [value]
            assert all(re.fullmatch(told[name]["AllowedPattern"], part) for part in parts), name
    for name, value in [("OrdersPrefix", "orders"), ("Image", "ghcr.io/us/archiver:1"), ("SourceQueueArn", "jobs")]:
        assert not re.fullmatch(told[name]["AllowedPattern"], value), name
    assert len(ALONE["function"].read_bytes()) <= 51_200
