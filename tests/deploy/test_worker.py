"""What worker.yaml says once it is resolved: the container, its service and what they may do."""

import re

import pytest
from pydantic import SecretStr

from archiver.core.policy import WorkerResources, policy_document, worker_statements
from archiver.core.ways_out_policy import WaysOutResources, ways_out_statements
from archiver.settings import Environment, Settings, load_settings

from .stack_values import container, each, environment, names_of, secrets, statements
from .template import ACCOUNT, DEPLOY, REGION, REQUIRED, BothStacks, merged_section

WORKER_MEMORY = 145  # MiB beside the budget: more than docs/operating.md says
FARGATE_MEMORY = {"256": range(512, 2049), "1024": range(2048, 8193), "2048": range(4096, 16385)}


# ---- rights


@each
def test_the_task_role_is_the_least_privilege_of_a_worker_with_these_settings(given: dict[str, str]) -> None:
    stack, env = BothStacks(given), environment(given)
    queues = ("SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE")
    needs = WorkerResources(
        source_queue=env["SQS_SOURCE_QUEUE"],
        send_to=(*(env[name] for name in queues if name in env), stack.worker.parameters["DeadLetterQueueArn"]),
        sources=env["S3_ALLOWED_SOURCES"].split(","),
        destination_bucket=env["S3_DESTINATION_BUCKET"],
        kms_keys=[given[name] for name in ("ArchiveKeyArn", "QueueKeyArn") if name in given],
        source_keys=[key for key in given.get("SourceKeyArns", "").split(",") if key],
        restores="RESTORE_TIERS" in env,
        roles=[role for role in given.get("AssumeRoleArns", "").split(",") if role],
        on_ecs=True,
        tasks=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/Cluster/*",
    )

    (policy,) = stack.resources["TaskRole"]["Policies"]
    ways_out = WaysOutResources(*map(env.get, ("NOTIFY_SNS_TOPIC", "NOTIFY_EVENT_BUS", "NOTIFY_LAMBDA")))
    needed = [*worker_statements(needs), *ways_out_statements(ways_out, needs.source_queue)]
    had, wanted = statements(policy["PolicyDocument"]), statements(policy_document(needed))
    assert set(policy["PolicyDocument"]) == {"Version", "Statement"}
    assert "ManagedPolicyArns" not in stack.resources["TaskRole"]
    assert had.keys() == wanted.keys()
    for sid, statement in had.items():
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        for part in ("Action", "Resource"):
            assert sorted(statement[part]) == sorted(wanted[sid][part])


@each
def test_what_starts_a_task_may_read_its_secrets_and_no_others(given: dict[str, str]) -> None:
    stack = BothStacks(given)
    (policy,) = stack.resources["ExecutionRole"]["Policies"]
    had = statements(policy["PolicyDocument"])

    registry = [given[name] for name in ("RepositoryCredentialsSecretArn",) if name in given]
    assert sorted(had["ReadSecrets"]["Resource"]) == sorted([*secrets(given).values(), *registry])
    assert had.get("DecryptSecrets", {}).get("Resource") == (
        [given["SecretKeyArn"]] if "SecretKeyArn" in given else None
    )
    assert had["WriteLog"]["Resource"] == [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:LogGroup:*"]
    assert [sid for sid, one in had.items() if "*" in one["Resource"]] == ["LogIn"]
    assert not any("*" in action for one in had.values() for action in one["Action"])


@each
def test_both_roles_are_for_tasks_of_this_account_and_region_alone(given: dict[str, str]) -> None:
    for role in BothStacks(given).of_type("AWS::IAM::Role").values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert statement["Condition"] == {
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
            "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:*"},
        }


# ---- the container


@each
def test_the_environment_is_one_that_a_worker_starts_with(given: dict[str, str]) -> None:
    settings = load_settings(environment(given) | dict.fromkeys(secrets(given), "a secret"))

    assert settings.source_bucket == "photos"
    assert settings.metrics == "emf"
    assert (settings.cloudfront_key_id is None) == ("SigningKey" not in given)
    assert (settings.progress_queue is None) == ("ProgressQueue" not in given)


@each
def test_every_variable_is_one_that_the_worker_or_an_sdk_knows(given: dict[str, str]) -> None:
    known = {name for field in Environment.model_fields.values() for name in names_of(field.validation_alias)}
    told = {*environment(given), *secrets(given)}

    assert {name for name in told if name not in known and not name.startswith(("AWS_", "ECS_"))} == set()


@each
def test_secrets_come_from_secrets_manager_and_never_in_plain_text(given: dict[str, str]) -> None:
    secret = {
        name
        for field in Environment.model_fields.values()
        if field.annotation == SecretStr | None
        for name in names_of(field.validation_alias)
    }

    assert secret == {"ARCHIVE_KEY_SECRET", "CLOUDFRONT_PRIVATE_KEY", "AWS_PROFILES_CREDENTIALS"}
    assert secret.isdisjoint(environment(given))
    assert set(secrets(given)) <= secret
    assert all(":secretsmanager:" in arn for arn in secrets(given).values())


def test_the_secret_of_the_keys_is_drawn_by_aws() -> None:
    secret = BothStacks(REQUIRED).resources["ArchiveKeySecret"]

    assert int(secret["GenerateSecretString"]["PasswordLength"]) >= 32
    assert "SecretString" not in secret


@each
def test_a_worker_can_change_nothing_around_it(given: dict[str, str]) -> None:
    made = container(given)

    assert made["ReadonlyRootFilesystem"] is True
    assert made["User"] == re.findall(r"^USER (\d+)$", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert made["LinuxParameters"] == {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}}
    assert not {"Privileged", "MountPoints", "PortMappings", "EntryPoint", "Command"} & set(made)
    assert environment(given)["HEARTBEAT_FILE"].startswith("/dev/shm/")


def test_the_container_is_given_longer_to_stop_than_the_worker_gives_its_jobs() -> None:
    stop, grace = container(REQUIRED)["StopTimeout"], float(environment(REQUIRED)["SHUTDOWN_GRACE_SECONDS"])

    assert grace == Settings.model_fields["grace_seconds"].default, "one number everywhere"
    assert stop <= 120, "the most that Fargate takes"
    assert stop - grace >= 10, "time to abort uploads and to give messages back"


def test_the_container_is_well_while_the_worker_says_so() -> None:
    health = container(REQUIRED)["HealthCheck"]

    assert health["Command"] == ["CMD", "archiver", "health"]


def test_a_log_that_is_not_taken_holds_up_no_job() -> None:
    log = container(REQUIRED)["LogConfiguration"]

    assert log["LogDriver"] == "awslogs"
    assert log["Options"]["mode"] == "non-blocking"
    assert log["Options"]["awslogs-group"] == "LogGroup"


@pytest.mark.parametrize("size", merged_section("Mappings")["TaskSizes"])
def test_a_task_of_every_size_has_the_memory_that_its_worker_takes(size: str) -> None:
    given = REQUIRED | {"TaskSize": size}
    task = BothStacks(given).resources["TaskDefinition"]

    assert WORKER_MEMORY + int(environment(given)["MEMORY_BUDGET_MIB"]) <= 0.8 * int(task["Memory"])
    assert int(task["Memory"]) in FARGATE_MEMORY[task["Cpu"]]


def test_every_size_can_be_chosen() -> None:
    assert merged_section("Parameters")["TaskSize"]["AllowedValues"] == list(merged_section("Mappings")["TaskSizes"])


# ---- the service


def test_a_deployment_that_fails_is_rolled_back() -> None:
    deployment = BothStacks(REQUIRED).resources["Service"]["DeploymentConfiguration"]

    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100


def test_an_update_leaves_the_number_of_tasks_to_the_scaling_policy() -> None:
    assert "DesiredCount" not in BothStacks(REQUIRED).resources["Service"]


def test_the_first_task_is_not_on_spot_and_the_others_are() -> None:
    stack = BothStacks(REQUIRED)
    first, others = stack.resources["Service"]["CapacityProviderStrategy"]

    assert (first["CapacityProvider"], int(first["Base"]), int(first["Weight"])) == ("FARGATE", 1, 0)
    assert (others["CapacityProvider"], "Base" in others, int(others["Weight"])) == ("FARGATE_SPOT", False, 1)
    assert stack.resources["Cluster"]["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


def test_nobody_can_connect_to_a_task_and_a_task_connects_by_tls_alone() -> None:
    group = BothStacks(REQUIRED).resources["SecurityGroup"]

    assert "SecurityGroupIngress" not in group
    assert {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {
        ("tcp", 443, 443)
    }
