"""task.yaml: the one-off task, its roles, and the policy of those who start it: what they need and no more."""

import json
import re
from typing import Any

import boto3
import pytest
from moto import mock_aws

from archiver.core.mode_policy import (
    Account,
    TaskResources,
    follower_statements,
    one_off_statements,
    starter_statements,
)
from archiver.core.policy import WorkerResources, policy_document
from archiver.settings import Settings, load_function_settings

from .stack_values import statements
from .template import ACCOUNT, ALONE, REGION, STACK, Stack, load_template

QUEUES = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
REQUIRED = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/archiver:1.0.0",
    "SourceBuckets": "photos,scans",
    "ArchiveBucketName": "my-archives",
}
EVERYTHING = REQUIRED | {
    "ArchiveKeySecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:archiver/key-AbCdEf",
    "BaseUrl": "https://files.example.com",
    "AnswerQueueArn": f"{QUEUES}zips-answers",
    "FailureQueueArn": f"{QUEUES}zips-failures.fifo",
    "DeadLetterQueueArn": f"{QUEUES}zips-dead",
    "ClusterName": "tools",
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "RolePath": "/services/",
}
each = pytest.mark.parametrize("given", [REQUIRED, EVERYTHING], ids=["required", "everything"])


def container(given: dict[str, str]) -> dict[str, Any]:
    (one,) = Stack("task", given).resources["TaskDefinition"]["ContainerDefinitions"]
    return dict(one)


def pairs(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Every action with every resource that it is allowed on; the log group by its name."""
    return {
        (action, resource.replace("log-group:LogGroup:", f"log-group:/archiver/{STACK}:"))
        for one in statements(document).values()
        for action in one["Action"]
        for resource in one["Resource"]
    }


@each
def test_the_task_role_allows_what_iam_policy_prints(given: dict[str, str]) -> None:
    (policy,) = Stack("task", given).resources["TaskRole"]["Policies"]
    sends = [given[name] for name in ("AnswerQueueArn", "FailureQueueArn", "DeadLetterQueueArn") if name in given]
    worker = WorkerResources(f"{QUEUES}none", sends, ["photos", "scans"], "my-archives")

    assert pairs(policy["PolicyDocument"]) == pairs(policy_document(one_off_statements(worker)))


def test_who_starts_it_may_do_what_iam_policy_prints() -> None:
    stack = Stack("task", EVERYTHING)
    account = Account(REGION, ACCOUNT)
    roles = str(stack.outputs["TaskRoleArns"]).split(",")
    task = TaskResources("tools", STACK, roles, "my-archives", f"/archiver/{STACK}")
    printed = policy_document([*starter_statements(account, task), *follower_statements(account, task)])

    told = stack.resources["StarterPolicy"]["PolicyDocument"]
    assert pairs(told) == pairs(printed)
    conditions = {one["Sid"]: one.get("Condition") for one in printed["Statement"]}
    assert {one["Sid"]: one.get("Condition") for one in told["Statement"]} == conditions


def test_without_a_cluster_there_is_no_policy_to_start_it() -> None:
    assert "StarterPolicy" not in Stack("task", REQUIRED).types
    assert "StarterPolicyArn" not in Stack("task", REQUIRED).outputs


@each
def test_its_variables_are_settings_of_archiver_handle(given: dict[str, str]) -> None:
    told = container(given)
    assert told["Command"] == ["archiver", "handle"]
    settings = load_function_settings({one["Name"]: str(one["Value"]) for one in told["Environment"]})

    assert (settings.source_bucket, settings.destination_bucket) == ("photos", "my-archives")
    assert (settings.destination_queue, settings.failure_queue) == (
        given.get("AnswerQueueArn"),
        given.get("FailureQueueArn"),
    )
    assert settings.grace_seconds == Settings.model_fields["grace_seconds"].default <= told["StopTimeout"] - 10


@each
def test_the_secret_is_read_by_ecs_and_by_nobody_else(given: dict[str, str]) -> None:
    stack = Stack("task", given)
    arns = [given["ArchiveKeySecretArn"]] if "ArchiveKeySecretArn" in given else []
    reads = [arn for action, arn in pairs(policy_of(stack, "ExecutionRole")) if action.startswith("secretsmanager:")]

    assert [one["ValueFrom"] for one in container(given)["Secrets"]] == reads == arns
    assert not [action for action, _ in pairs(policy_of(stack, "TaskRole")) if action.startswith("secretsmanager:")]


def policy_of(stack: Stack, role: str) -> dict[str, Any]:
    (policy,) = stack.resources[role]["Policies"]
    return dict(policy["PolicyDocument"])


@each
def test_both_roles_are_for_tasks_of_this_account_and_the_container_changes_nothing(given: dict[str, str]) -> None:
    for role in Stack("task", given).of_type("AWS::IAM::Role").values():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
        assert (role["Path"], role.get("PermissionsBoundary")) == (
            given.get("RolePath", "/"),
            given.get("PermissionsBoundaryArn"),
        )
    told = container(given)
    assert (told["User"], told["ReadonlyRootFilesystem"]) == ("10001", True)
    assert told["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_parameters_take_what_is_meant_and_the_template_fits_into_the_call() -> None:
    told = load_template("task")["Parameters"]
    assert set(EVERYTHING) <= set(told)
    for name, value in EVERYTHING.items():
        parts = value.split(",") if told[name]["Type"] == "CommaDelimitedList" else [value]
        assert all(re.fullmatch(told[name]["AllowedPattern"], part) for part in parts), name
    for name, value in [("Image", "ghcr.io/us/archiver:1"), ("ClusterName", "arn:aws:ecs:x"), ("RolePath", "services")]:
        assert not re.fullmatch(told[name]["AllowedPattern"], value), name
    assert len(ALONE["task"].read_bytes()) <= 51_200


def test_the_emulator_makes_the_task_definition_of_the_template() -> None:
    with mock_aws():
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        cloudformation: Any = session.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK,
            TemplateBody=json.dumps(load_template("task")),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in EVERYTHING.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        ecs: Any = session.client("ecs")
        made = ecs.describe_task_definition(taskDefinition=outputs["TaskDefinitionArn"])["taskDefinition"]
        (group,) = session.client("logs").describe_log_groups()["logGroups"]

    assert made["containerDefinitions"][0]["image"] == EVERYTHING["Image"]
    assert made["containerDefinitions"][0]["command"] == ["archiver", "handle"]
    assert (outputs["LogGroupName"], group["retentionInDays"]) == (f"/archiver/{STACK}", 30)
    assert outputs["StarterPolicyArn"].startswith(f"arn:aws:iam::{ACCOUNT}:policy/services/")
