"""What the template says once it is resolved: the worker's surroundings."""

import re
from typing import Any

import pytest
from pydantic import AliasChoices, SecretStr

from archiver.core.policy import Needs, document, grants
from archiver.settings import Environment, load_settings

from .template import ACCOUNT, EVERYTHING, FILE, PEM, REGION, REQUIRED, SECRET, SIGNED, Stack, parsed

GIVEN = {"required": REQUIRED, "signed": REQUIRED | SIGNED, "everything": EVERYTHING}
WORKER_MEMORY = 85  # MiB beside the budget; docs/operating.md
FARGATE_MEMORY = {"256": range(512, 2049), "1024": range(2048, 8193), "2048": range(4096, 16385)}
DAY = 24 * 3600

each = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


def container(given: dict[str, str]) -> dict[str, Any]:
    (made,) = Stack(given).resources["TaskDefinition"]["ContainerDefinitions"]
    return dict(made)


def environment(given: dict[str, str]) -> dict[str, str]:
    told = container(given)["Environment"]
    assert len({one["Name"] for one in told}) == len(told)
    return {one["Name"]: str(one["Value"]) for one in told}


def secrets(given: dict[str, str]) -> dict[str, str]:
    return {one["Name"]: one["ValueFrom"] for one in container(given)["Secrets"]}


def names_of(alias: object) -> list[str]:
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {one["Sid"]: one for one in policy["Statement"]}
    assert len(found) == len(policy["Statement"])
    return found


# ---- rights


@each
def test_the_task_role_is_the_least_privilege_of_a_worker_with_these_settings(given: dict[str, str]) -> None:
    stack, env = Stack(given), environment(given)
    queues = ("SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE")
    needs = Needs(
        source_queue=env["SQS_SOURCE_QUEUE"],
        send_to=(*(env[name] for name in queues if name in env), f"arn:aws:sqs:{REGION}:{ACCOUNT}:DeadLetterQueue"),
        sources=env["S3_ALLOWED_SOURCES"].split(","),
        destination_bucket=env["S3_DESTINATION_BUCKET"],
        source_keys=[key for key in given.get("SourceKeyArns", "").split(",") if key],
        on_ecs=True,
        tasks=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/Cluster/*",
    )

    (policy,) = stack.resources["TaskRole"]["Policies"]
    had, wanted = statements(policy["PolicyDocument"]), statements(document(grants(needs)))
    assert set(policy["PolicyDocument"]) == {"Version", "Statement"}
    assert set(stack.resources["TaskRole"]) == {"Description", "AssumeRolePolicyDocument", "Policies"}
    assert had.keys() == wanted.keys()
    for sid, statement in had.items():
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        for part in ("Action", "Resource"):
            assert sorted(statement[part]) == sorted(wanted[sid][part])


@each
def test_what_starts_a_task_may_read_its_secrets_and_no_others(given: dict[str, str]) -> None:
    stack = Stack(given)
    (policy,) = stack.resources["ExecutionRole"]["Policies"]
    had = statements(policy["PolicyDocument"])

    assert sorted(had["ReadSecrets"]["Resource"]) == sorted(secrets(given).values())
    assert had["WriteLog"]["Resource"] == [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:LogGroup:*"]
    assert [sid for sid, one in had.items() if "*" in one["Resource"]] == ["LogIn"]
    assert not any("*" in action for one in had.values() for action in one["Action"])


@each
def test_both_roles_are_for_tasks_of_this_account_and_region_alone(given: dict[str, str]) -> None:
    for role in Stack(given).of_type("AWS::IAM::Role").values():
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

    assert secret == {"ARCHIVE_KEY_SECRET", "CLOUDFRONT_PRIVATE_KEY"}
    assert secret.isdisjoint(environment(given))
    assert set(secrets(given)) <= secret
    assert all(":secretsmanager:" in arn for arn in secrets(given).values())


def test_the_secret_of_the_keys_is_drawn_by_aws() -> None:
    secret = Stack(REQUIRED).resources["ArchiveKeySecret"]

    assert int(secret["GenerateSecretString"]["PasswordLength"]) >= 32
    assert "SecretString" not in secret


@each
def test_a_worker_can_change_nothing_around_it(given: dict[str, str]) -> None:
    made = container(given)

    assert made["ReadonlyRootFilesystem"] is True
    assert made["User"] == re.findall(r"^USER (\d+)$", (FILE.parents[1] / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert made["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert not {"Privileged", "MountPoints", "PortMappings", "EntryPoint", "Command"} & set(made)
    assert environment(given)["HEARTBEAT_FILE"].startswith("/dev/shm/")


def test_the_container_is_given_longer_to_stop_than_the_worker_gives_its_jobs() -> None:
    stop, grace = container(REQUIRED)["StopTimeout"], float(environment(REQUIRED)["SHUTDOWN_GRACE_SECONDS"])

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


@pytest.mark.parametrize("size", parsed()["Mappings"]["TaskSizes"])
def test_a_task_of_every_size_has_the_memory_that_its_worker_takes(size: str) -> None:
    given = REQUIRED | {"TaskSize": size}
    task = Stack(given).resources["TaskDefinition"]

    assert WORKER_MEMORY + int(environment(given)["MEMORY_BUDGET_MIB"]) <= 0.8 * int(task["Memory"])
    assert int(task["Memory"]) in FARGATE_MEMORY[task["Cpu"]]


def test_every_size_can_be_chosen() -> None:
    assert parsed()["Parameters"]["TaskSize"]["AllowedValues"] == list(parsed()["Mappings"]["TaskSizes"])


# ---- the service


def test_a_deployment_that_fails_is_rolled_back() -> None:
    deployment = Stack(REQUIRED).resources["Service"]["DeploymentConfiguration"]

    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100


def test_an_update_leaves_the_number_of_tasks_to_the_scaling_policy() -> None:
    assert "DesiredCount" not in Stack(REQUIRED).resources["Service"]


def test_the_first_task_is_not_on_spot_and_the_others_are() -> None:
    stack = Stack(REQUIRED)
    first, others = stack.resources["Service"]["CapacityProviderStrategy"]

    assert (first["CapacityProvider"], int(first["Base"]), int(first["Weight"])) == ("FARGATE", 1, 0)
    assert (others["CapacityProvider"], "Base" in others, int(others["Weight"])) == ("FARGATE_SPOT", False, 1)
    assert stack.resources["Cluster"]["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


def test_nobody_can_connect_to_a_task_and_a_task_connects_by_tls_alone() -> None:
    group = Stack(REQUIRED).resources["SecurityGroup"]

    assert "SecurityGroupIngress" not in group
    assert {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {
        ("tcp", 443, 443)
    }


# ---- queues


@each
def test_every_queue_is_encrypted_and_takes_tls_alone(given: dict[str, str]) -> None:
    stack = Stack(given)
    queues = stack.of_type("AWS::SQS::Queue")
    (policy,) = stack.of_type("AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]

    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    assert sorted(url.rpartition("/")[2] for url in policy["Queues"]) == sorted(queues)
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_rejected_message_is_kept_longer_than_it_could_have_waited_before() -> None:
    stack = Stack(REQUIRED)
    for queue in stack.of_type("AWS::SQS::Queue").values():
        if "RedrivePolicy" in queue:
            dead = stack.resources[queue["RedrivePolicy"]["deadLetterTargetArn"].rpartition(":")[2]]
            assert dead["MessageRetentionPeriod"] == 14 * DAY
            assert queue["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"]


def test_a_stack_that_is_deleted_leaves_archives_and_rejected_requests() -> None:
    kept = {name for name, told in parsed()["Resources"].items() if told.get("DeletionPolicy") == "Retain"}

    assert kept == {"ArchiveBucket", "DeadLetterQueue"}
    assert all(parsed()["Resources"][name]["UpdateReplacePolicy"] == "Retain" for name in kept)


# ---- archives


def test_the_bucket_is_private_encrypted_and_tidy() -> None:
    bucket = Stack(REQUIRED | {"ArchiveDays": "7"}).resources["ArchiveBucket"]
    public, rules = bucket["PublicAccessBlockConfiguration"], bucket["LifecycleConfiguration"]["Rules"]
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert len(public) == 4 and all(value is True for value in public.values())
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert rules == [
        {
            "Id": "AbortIncompleteUploads",
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {"Id": "ExpireArchives", "Status": "Enabled", "ExpirationInDays": "7"},
    ]


def test_an_archive_outlives_its_link_by_default() -> None:
    defaults = {name: told.get("Default") for name, told in parsed()["Parameters"].items()}

    assert int(defaults["ArchiveDays"]) * DAY >= int(defaults["LinkExpiresIn"])


@each
def test_the_bucket_is_read_by_its_own_distribution_and_over_tls_alone(given: dict[str, str]) -> None:
    policy = Stack(given).resources["ArchiveBucketPolicy"]
    had = statements(policy["PolicyDocument"])

    assert set(had) == {"TlsOnly", "CloudFrontReads"}
    tls, reads = had["TlsOnly"], had["CloudFrontReads"]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Resource"] == ["arn:aws:s3:::archivebucket", "arn:aws:s3:::archivebucket/*"]
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert reads["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert (reads["Action"], reads["Resource"]) == ("s3:GetObject", "arn:aws:s3:::archivebucket/*")
    source = {"AWS:SourceArn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/Distribution"}
    assert reads["Condition"] == {"StringEquals": source}


@each
def test_cloudfront_serves_the_bucket_over_https_by_its_own_signature(given: dict[str, str]) -> None:
    stack = Stack(given)
    config = stack.resources["Distribution"]["DistributionConfig"]
    (origin,) = config["Origins"]
    control = stack.resources["OriginAccessControl"]["OriginAccessControlConfig"]

    assert origin["DomainName"] == "ArchiveBucket.RegionalDomainName"
    assert origin["OriginAccessControlId"] == "OriginAccessControl.Id"
    assert (control["SigningBehavior"], control["OriginAccessControlOriginType"]) == ("always", "s3")
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    assert config["DefaultCacheBehavior"]["AllowedMethods"] == ["GET", "HEAD"]
    assert "CacheBehaviors" not in config


def test_links_lead_to_the_distribution_or_to_its_other_name() -> None:
    named = REQUIRED | {key: EVERYTHING[key] for key in ("DomainName", "CertificateArn")}
    config = Stack(named).resources["Distribution"]["DistributionConfig"]

    assert environment(REQUIRED)["ARCHIVE_BASE_URL"] == "https://Distribution.DomainName"
    assert environment(named)["ARCHIVE_BASE_URL"] == "https://files.example.com"
    assert config["Aliases"] == ["files.example.com"]
    assert config["ViewerCertificate"]["AcmCertificateArn"] == EVERYTHING["CertificateArn"]


# ---- signed links


def signing(given: dict[str, str]) -> tuple[str | None, list[str] | None, list[str]]:
    """What links are signed for, which groups CloudFront asks a signature of, and the keys of the group."""
    stack = Stack(given)
    groups = stack.resources["Distribution"]["DistributionConfig"]["DefaultCacheBehavior"].get("TrustedKeyGroups")
    keys = stack.resources.get("SigningKeyGroup", {}).get("KeyGroupConfig", {}).get("Items", [])
    return environment(given).get("CLOUDFRONT_KEY_ID"), groups, keys


def test_without_keys_links_are_not_signed() -> None:
    assert signing(REQUIRED) == (None, None, [])


def test_a_key_can_be_there_before_links_are_signed_for_it() -> None:
    assert signing(REQUIRED | {"SigningPublicKeyA": PEM}) == (None, None, ["CloudFrontKeyA"])


def test_links_are_signed_for_the_key_that_is_chosen_and_links_of_the_other_still_work() -> None:
    both = REQUIRED | SIGNED | {"SigningPublicKeyB": PEM}

    assert signing(REQUIRED | SIGNED) == ("CloudFrontKeyA", ["SigningKeyGroup"], ["CloudFrontKeyA"])
    assert signing(both) == ("CloudFrontKeyA", ["SigningKeyGroup"], ["CloudFrontKeyA", "CloudFrontKeyB"])
    assert signing(both | {"SigningKey": "B"})[0] == "CloudFrontKeyB"
    assert secrets(both)["CLOUDFRONT_PRIVATE_KEY"] == SECRET


# ---- parameters


@each
def test_sensible_parameters_break_no_rule(given: dict[str, str]) -> None:
    assert Stack(given).broken_rules() == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"OnDemandWeight": "0", "SpotWeight": "0"}, "SpotWeight"),
        ({"SigningKey": "A"}, "SigningPublicKeyA"),
        ({"SigningKey": "A", "SigningPublicKeyA": PEM}, "SigningPrivateKeySecretArn"),
        ({"SigningKey": "B", "SigningPublicKeyA": PEM, "SigningPrivateKeySecretArn": SECRET}, "SigningPublicKeyB"),
        ({"DomainName": "files.example.com"}, "CertificateArn"),
    ],
)
def test_parameters_that_do_not_fit_together_stop_the_deployment(wrong: dict[str, str], named: str) -> None:
    (sentence,) = Stack(REQUIRED | wrong).broken_rules()

    assert named in sentence


def test_only_what_nobody_can_guess_has_to_be_given() -> None:
    assert {name for name, told in parsed()["Parameters"].items() if "Default" not in told} == set(REQUIRED)


def test_every_parameter_is_described_and_stands_in_one_group() -> None:
    groups = parsed()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert sorted(grouped) == sorted(parsed()["Parameters"])
    assert [name for name, told in parsed()["Parameters"].items() if len(told.get("Description", "")) < 10] == []


def test_every_default_is_allowed() -> None:
    for name, told in parsed()["Parameters"].items():
        default = str(told.get("Default", ""))
        if "AllowedPattern" in told and "Default" in told:
            assert re.fullmatch(told["AllowedPattern"], default), name
        if "AllowedValues" in told:
            assert default in [str(value) for value in told["AllowedValues"]], name
        if told["Type"] == "Number":
            assert float(told.get("MinValue", default)) <= float(default) <= float(told.get("MaxValue", default)), name


@each
def test_every_value_of_these_tests_is_one_that_cloudformation_would_take(given: dict[str, str]) -> None:
    for name, value in given.items():
        told = parsed()["Parameters"][name]
        parts = value.split(",") if told["Type"] == "CommaDelimitedList" else [value]
        assert all(re.fullmatch(told.get("AllowedPattern", ".*"), part, re.DOTALL) for part in parts), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Image", "archiver; rm -rf /"),
        ("SourceBuckets", "photos "),
        ("SourceBuckets", "s3://photos"),
        ("SourceBuckets", "photos/2026/"),
        ("SourceBuckets", ""),
        ("SourcePrefixes", "photos/2026"),
        ("SourcePrefixes", "photos/*/"),
        ("SourcePrefixes", "photos/${aws:username}/"),
        ("SourceKeyArns", "arn:aws:kms:eu-west-1:123456789012:alias/mine"),
        ("CertificateArn", "arn:aws:acm:eu-west-1:123456789012:certificate/0123"),
        ("DomainName", "https://files.example.com"),
        ("SigningPublicKeyA", "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"),
        ("SigningPrivateKeySecretArn", "signing"),
        ("AlarmTopicArn", "alarms"),
        ("FilePrefix", "a/b"),
        ("RaiseAt", "at nine"),
        ("RaiseAt", "cron(0 9 * * *)"),
        ("TimeZone", "+01:00"),
    ],
)
def test_a_parameter_that_can_not_be_meant_is_refused(name: str, value: str) -> None:
    told = parsed()["Parameters"][name]

    assert not re.fullmatch(told["AllowedPattern"], value)
    assert told["ConstraintDescription"]


def test_the_template_can_be_passed_as_it_is() -> None:
    assert len(FILE.read_bytes()) <= 51_200, "more has to be put into a bucket first"


def test_outputs_say_where_things_are() -> None:
    told = Stack(EVERYTHING).outputs

    assert {
        name: Stack(EVERYTHING).types[str(told[name]).rpartition("/")[2]] for name in told if name.endswith("QueueUrl")
    } == {f"{name}QueueUrl": "AWS::SQS::Queue" for name in ("Source", "DeadLetter", "Answer", "Failure", "Progress")}
    assert told["ArchiveBucketName"] == "archivebucket"
    assert told["DistributionDomain"] == "Distribution.DomainName"
    assert told["TaskRoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/TaskRole"
    assert "ProgressQueueUrl" not in Stack(REQUIRED).outputs
