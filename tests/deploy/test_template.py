"""What the template says once it is resolved: the worker's surroundings."""

import re
from typing import Any

import pytest
from pydantic import AliasChoices, SecretStr

from archiver.core.policy import Needs, document, grants
from archiver.settings import Environment, Settings, load_settings

from .template import ACCOUNT, BESIDE, DEPLOY, EVERYTHING, FILES, KEY, PEM, REGION, REQUIRED, SECRET, SIGNED, Stack, Whole, every, parsed

GIVEN = {"required": REQUIRED, "signed": REQUIRED | SIGNED, "everything": EVERYTHING}
WORKER_MEMORY = 85  # MiB beside the budget; docs/operating.md
FARGATE_MEMORY = {"256": range(512, 2049), "1024": range(2048, 8193), "2048": range(4096, 16385)}
DAY = 24 * 3600

each = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


def container(given: dict[str, str]) -> dict[str, Any]:
    (made,) = Whole(given).resources["TaskDefinition"]["ContainerDefinitions"]
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
    stack, env = Whole(given), environment(given)
    queues = ("SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE", "PROGRESS_QUEUE")
    needs = Needs(
        source_queue=env["SQS_SOURCE_QUEUE"],
        send_to=(*(env[name] for name in queues if name in env), stack.worker.parameters["DeadLetterQueueArn"]),
        sources=env["S3_ALLOWED_SOURCES"].split(","),
        destination_bucket=env["S3_DESTINATION_BUCKET"],
        kms_keys=[given[name] for name in ("ArchiveKeyArn", "QueueKeyArn") if name in given],
        source_keys=[key for key in given.get("SourceKeyArns", "").split(",") if key],
        on_ecs=True,
        tasks=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/Cluster/*",
    )

    (policy,) = stack.resources["TaskRole"]["Policies"]
    had, wanted = statements(policy["PolicyDocument"]), statements(document(grants(needs)))
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
    stack = Whole(given)
    (policy,) = stack.resources["ExecutionRole"]["Policies"]
    had = statements(policy["PolicyDocument"])

    registry = [given[name] for name in ("RepositoryCredentialsSecretArn",) if name in given]
    assert sorted(had["ReadSecrets"]["Resource"]) == sorted([*secrets(given).values(), *registry])
    assert had.get("DecryptSecrets", {}).get("Resource") == ([given["SecretKeyArn"]] if "SecretKeyArn" in given else None)
    assert had["WriteLog"]["Resource"] == [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:LogGroup:*"]
    assert [sid for sid, one in had.items() if "*" in one["Resource"]] == ["LogIn"]
    assert not any("*" in action for one in had.values() for action in one["Action"])


@each
def test_both_roles_are_for_tasks_of_this_account_and_region_alone(given: dict[str, str]) -> None:
    for role in Whole(given).of_type("AWS::IAM::Role").values():
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
    secret = Whole(REQUIRED).resources["ArchiveKeySecret"]

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


@pytest.mark.parametrize("size", every("Mappings")["TaskSizes"])
def test_a_task_of_every_size_has_the_memory_that_its_worker_takes(size: str) -> None:
    given = REQUIRED | {"TaskSize": size}
    task = Whole(given).resources["TaskDefinition"]

    assert WORKER_MEMORY + int(environment(given)["MEMORY_BUDGET_MIB"]) <= 0.8 * int(task["Memory"])
    assert int(task["Memory"]) in FARGATE_MEMORY[task["Cpu"]]


def test_every_size_can_be_chosen() -> None:
    assert every("Parameters")["TaskSize"]["AllowedValues"] == list(every("Mappings")["TaskSizes"])


# ---- the service


def test_a_deployment_that_fails_is_rolled_back() -> None:
    deployment = Whole(REQUIRED).resources["Service"]["DeploymentConfiguration"]

    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100


def test_an_update_leaves_the_number_of_tasks_to_the_scaling_policy() -> None:
    assert "DesiredCount" not in Whole(REQUIRED).resources["Service"]


def test_the_first_task_is_not_on_spot_and_the_others_are() -> None:
    stack = Whole(REQUIRED)
    first, others = stack.resources["Service"]["CapacityProviderStrategy"]

    assert (first["CapacityProvider"], int(first["Base"]), int(first["Weight"])) == ("FARGATE", 1, 0)
    assert (others["CapacityProvider"], "Base" in others, int(others["Weight"])) == ("FARGATE_SPOT", False, 1)
    assert stack.resources["Cluster"]["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


def test_nobody_can_connect_to_a_task_and_a_task_connects_by_tls_alone() -> None:
    group = Whole(REQUIRED).resources["SecurityGroup"]

    assert "SecurityGroupIngress" not in group
    assert {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {
        ("tcp", 443, 443)
    }


# ---- queues


@each
def test_every_queue_is_encrypted_and_takes_tls_alone(given: dict[str, str]) -> None:
    stack = Whole(given)
    queues = stack.of_type("AWS::SQS::Queue")
    policies = stack.of_type("AWS::SQS::QueuePolicy").values()
    governed = [url.rpartition("/")[2] for policy in policies for url in policy["Queues"]]

    key = given.get("QueueKeyArn")
    assert {(one.get("SqsManagedSseEnabled"), one.get("KmsMasterKeyId")) for one in queues.values()} == {
        (None, key) if key else (True, None)
    }
    assert sorted(governed) == sorted(one.get("QueueName", name) for name, one in queues.items())
    for policy in policies:
        tls = statements(policy["PolicyDocument"])["TlsOnly"]
        assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "sqs:*")
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_another_account_may_send_requests_or_receive_answers_where_it_is_named() -> None:
    stack = Whole(EVERYTHING)
    producers = statements(stack.resources["SourceQueuePolicy"]["PolicyDocument"])["Producers"]
    consumers = statements(stack.resources["AnswerQueuesPolicy"]["PolicyDocument"])["Consumers"]

    assert producers["Principal"] == {"AWS": EVERYTHING["ProducerArns"].split(", ")}
    assert "sqs:SendMessage" in producers["Action"] and "sqs:ReceiveMessage" not in producers["Action"]
    assert consumers["Principal"] == {"AWS": [EVERYTHING["ConsumerArns"]]}
    assert "sqs:ReceiveMessage" in consumers["Action"] and "sqs:SendMessage" not in consumers["Action"]
    for policy in Whole(REQUIRED).of_type("AWS::SQS::QueuePolicy").values():
        assert set(statements(policy["PolicyDocument"])) == {"TlsOnly"}


def test_every_queue_that_is_received_from_and_kept_has_a_dead_letter_queue_for_it_alone() -> None:
    """A failure answer that its consumer fails at does not circle for days either."""
    resources = Whole(REQUIRED).data
    for name, queue in resources.of_type("AWS::SQS::Queue").items():
        if "RedrivePolicy" in queue:
            target = queue["RedrivePolicy"]["deadLetterTargetArn"].rpartition(":")[2]
            allowed = resources.resources[target]["RedriveAllowPolicy"]
            assert allowed["redrivePermission"] == "byQueue"
            assert f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue['QueueName']}" in allowed["sourceQueueArns"], name
        else:
            assert name in ("DeadLetterQueue", "AnswerDeadLetterQueue", "JobProgressQueue")


def test_a_rejected_message_is_kept_longer_than_it_could_have_waited_before() -> None:
    stack = Whole(REQUIRED)
    for queue in stack.of_type("AWS::SQS::Queue").values():
        if "RedrivePolicy" in queue:
            dead = stack.resources[queue["RedrivePolicy"]["deadLetterTargetArn"].rpartition(":")[2]]
            assert dead["MessageRetentionPeriod"] == 14 * DAY
            assert queue["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"]


def test_a_stack_that_is_deleted_leaves_what_may_be_wanted_and_one_that_never_was_leaves_nothing() -> None:
    """`Retain` would also hold for what a create that failed has made."""
    resources = every("Resources")
    kept = {name for name, told in resources.items() if told.get("DeletionPolicy") == "RetainExceptOnCreate"}

    assert {told.get("DeletionPolicy") for told in resources.values()} == {None, "Delete", "RetainExceptOnCreate"}
    assert kept == {
        "ArchiveBucket",
        "ArchiveBucketPolicy",
        "ArchiveKeySecret",
        "DeadLetterQueue",
        "AnswerDeadLetterQueue",
        "DeadLetterQueuesPolicy",
    }
    assert all(resources[name]["UpdateReplacePolicy"] == "Retain" for name in kept)


# ---- archives


def test_the_bucket_is_private_encrypted_and_tidy() -> None:
    bucket = Whole(REQUIRED | {"ArchiveDays": "7"}).resources["ArchiveBucket"]
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


def test_who_downloaded_what_can_be_told_where_there_is_a_bucket_for_it() -> None:
    stack = Whole(EVERYTHING)

    assert stack.resources["ArchiveBucket"]["LoggingConfiguration"] == {
        "DestinationBucketName": "access-logs",
        "LogFilePrefix": "s3/",
    }
    logging = stack.resources["Distribution"]["DistributionConfig"]["Logging"]
    assert logging == {"Bucket": "access-logs.s3.amazonaws.com", "Prefix": "cloudfront/"}
    assert "LoggingConfiguration" not in Whole(REQUIRED).resources["ArchiveBucket"]


def test_keys_of_ones_own_encrypt_what_they_are_given_for() -> None:
    stack = Whole(EVERYTHING)
    (encryption,) = stack.resources["ArchiveBucket"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert encryption["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": f"{KEY}-archives",
    }
    assert encryption["BucketKeyEnabled"] is True
    assert stack.resources["ArchiveKeySecret"]["KmsKeyId"] == f"{KEY}-secrets"
    assert stack.resources["LogGroup"]["KmsKeyId"] == f"{KEY}-logs"


def test_without_cloudfront_there_is_nothing_of_it() -> None:
    stack = Whole(REQUIRED | {"CloudFront": "no"})

    assert [kind for kind in stack.types.values() if "CloudFront" in kind] == []
    assert set(statements(stack.resources["ArchiveBucketPolicy"]["PolicyDocument"])) == {"TlsOnly"}
    assert not {"BaseUrl", "DistributionDomain"} & set(stack.outputs)
    assert "ARCHIVE_BASE_URL" not in {one["Name"] for one in stack.resources["TaskDefinition"]["ContainerDefinitions"][0]["Environment"]}


def test_the_name_of_the_access_control_fits_whatever_the_stack_is_called() -> None:
    """CloudFront takes 64 characters, a stack's name may have 128."""
    assert len(Whole(REQUIRED).resources["OriginAccessControl"]["OriginAccessControlConfig"]["Name"]) == 36


def test_an_archive_outlives_its_link_by_default() -> None:
    defaults = {name: told.get("Default") for name, told in every("Parameters").items()}

    assert int(defaults["ArchiveDays"]) * DAY >= int(defaults["LinkExpiresIn"])


@each
def test_the_bucket_is_read_by_its_own_distribution_and_over_tls_alone(given: dict[str, str]) -> None:
    policy = Whole(given).resources["ArchiveBucketPolicy"]
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
    stack = Whole(given)
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
    config = Whole(named).resources["Distribution"]["DistributionConfig"]

    assert environment(REQUIRED)["ARCHIVE_BASE_URL"] == "https://Distribution.DomainName"
    assert environment(named)["ARCHIVE_BASE_URL"] == "https://files.example.com"
    assert config["Aliases"] == ["files.example.com"]
    assert config["ViewerCertificate"]["AcmCertificateArn"] == EVERYTHING["CertificateArn"]


# ---- signed links


def signing(given: dict[str, str]) -> tuple[str | None, list[str] | None, list[str]]:
    """What links are signed for, which groups CloudFront asks a signature of, and the keys of the group."""
    stack = Whole(given)
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
    assert Whole(given).broken_rules() == []


WRONG_DATA = [
    ({"SigningKey": "A"}, "SigningPublicKeyA"),
    ({"SigningKey": "B", "SigningPublicKeyA": PEM}, "SigningPublicKeyB"),
    ({"DomainName": "files.example.com"}, "CertificateArn"),
    (
        {"CloudFront": "no"} | {name: EVERYTHING[name] for name in ("DomainName", "CertificateArn")},
        "need CloudFront",
    ),
]
WRONG_WORKER = [
    ({"OnDemandWeight": "0", "SpotWeight": "0"}, "SpotWeight"),
    ({"SigningKeyId": "K2JCJMDEHXQW5F"}, "SigningPrivateKeySecretArn"),
]


@pytest.mark.parametrize(
    ("which", "wrong", "named"),
    [("data", *case) for case in WRONG_DATA] + [("worker", *case) for case in WRONG_WORKER],
)
def test_parameters_that_do_not_fit_together_stop_the_deployment(which: str, wrong: dict[str, str], named: str) -> None:
    (sentence,) = Stack(which, BESIDE | wrong).broken_rules()

    assert named in sentence


def test_only_what_nobody_can_guess_has_to_be_given() -> None:
    required = {
        which: {name for name, told in parsed(which)["Parameters"].items() if "Default" not in told} for which in FILES
    }

    assert required == {"data": set(), "worker": set(BESIDE)}


@pytest.mark.parametrize("which", FILES)
def test_every_parameter_is_described_and_stands_in_one_group(which: str) -> None:
    parameters = parsed(which)["Parameters"]
    groups = parsed(which)["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert grouped == list(parameters), "in the order of the groups"
    assert [name for name, told in parameters.items() if len(told.get("Description", "")) < 10] == []


def test_every_default_is_allowed() -> None:
    for name, told in every("Parameters").items():
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
        told = every("Parameters")[name]
        parts = value.split(",") if told["Type"] == "CommaDelimitedList" else [value]
        assert all(re.fullmatch(told.get("AllowedPattern", ".*"), part, re.DOTALL) for part in parts), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Image", "archiver; rm -rf /"),
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
    told = every("Parameters")[name]

    assert not re.fullmatch(told["AllowedPattern"], value)
    assert told["ConstraintDescription"]


@pytest.mark.parametrize("which", FILES)
def test_a_template_can_be_passed_as_it_is(which: str) -> None:
    assert len(FILES[which].read_bytes()) <= 51_200, "more has to be put into a bucket first"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Image", "ghcr.io/team/archiver:1.0.0-RC1"),
        ("Image", "registry.example:5000/archiver@sha256:" + "0" * 64),
        ("SourceBuckets", " my-scans"),
        ("SigningPrivateKeySecretArn", f"{SECRET}:key::"),
        ("RolePath", "/services/archiver/"),
        ("ProducerArns", "arn:aws:iam::999999999999:root"),
    ],
)
def test_a_parameter_that_can_be_meant_is_taken(name: str, value: str) -> None:
    assert re.fullmatch(every("Parameters")[name]["AllowedPattern"], value)


def test_blanks_between_buckets_are_no_part_of_their_names() -> None:
    """CloudFormation trims the members of a list."""
    (policy,) = Whole(REQUIRED | {"SourceBuckets": "photos, scans"}).resources["TaskRole"]["Policies"]

    read = statements(policy["PolicyDocument"])["ReadObjects"]["Resource"]
    assert read[:2] == ["arn:aws:s3:::photos/*", "arn:aws:s3:::scans/*"]


def test_a_secret_with_several_values_is_read_by_its_own_arn() -> None:
    given = REQUIRED | SIGNED | {"SigningPrivateKeySecretArn": f"{SECRET}:key::"}
    (policy,) = Whole(given).resources["ExecutionRole"]["Policies"]

    assert secrets(given)["CLOUDFRONT_PRIVATE_KEY"] == f"{SECRET}:key::"
    assert SECRET in statements(policy["PolicyDocument"])["ReadSecrets"]["Resource"]


def test_arns_name_their_partition_but_where_lists_are_joined() -> None:
    """What Fn::Join puts between the members of a list has to be plain text."""
    for path in FILES.values():
        lines = [line.strip() for line in path.read_text().splitlines() if "arn:aws:" in line]
        assert [line for line in lines if "Join" not in line and "${List}" not in line and "${Objects}" not in line] == [
            line for line in lines if line.startswith(("Description", "Resource: !Split  #"))
        ]


def test_log_lines_can_be_kept_for_as_long_as_cloudwatch_keeps_any() -> None:
    assert max(every("Parameters")["LogDays"]["AllowedValues"]) == 3653


# ---- roles, images and clusters of one's own


def test_both_roles_take_the_path_and_the_boundary_that_an_organisation_asks_for() -> None:
    for role in Whole(EVERYTHING).of_type("AWS::IAM::Role").values():
        assert (role["Path"], role["PermissionsBoundary"]) == ("/services/", EVERYTHING["PermissionsBoundaryArn"])
    for role in Whole(REQUIRED).of_type("AWS::IAM::Role").values():
        assert role["Path"] == "/" and "PermissionsBoundary" not in role


def test_an_image_of_a_private_registry_is_pulled_with_its_password() -> None:
    assert container(EVERYTHING)["RepositoryCredentials"] == {
        "CredentialsParameter": EVERYTHING["RepositoryCredentialsSecretArn"]
    }
    assert "RepositoryCredentials" not in container(REQUIRED)


def test_a_cluster_that_is_there_is_taken_in_place_of_one_of_its_own() -> None:
    stack = Whole(REQUIRED | {"ClusterName": "shared"})

    assert "AWS::ECS::Cluster" not in stack.types.values()
    assert stack.resources["Service"]["Cluster"] == stack.outputs["ClusterName"] == "shared"
    assert stack.resources["ScalableTarget"]["ResourceId"] == "service/shared/Service"
    (policy,) = stack.resources["TaskRole"]["Policies"]
    protect = statements(policy["PolicyDocument"])["ProtectTask"]
    assert protect["Resource"] == [f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/shared/*"]


def test_the_cluster_is_made_late_so_that_a_new_account_has_its_service_linked_role() -> None:
    assert every("Resources")["Cluster"]["DependsOn"] == "ExecutionRole"


# ---- the worker alone


def test_the_worker_alone_makes_no_queue_no_bucket_and_no_distribution() -> None:
    stack = Stack("worker", BESIDE)

    made = {"AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::S3::Bucket", "AWS::S3::BucketPolicy"}
    assert not made & set(stack.types.values())
    assert not [kind for kind in stack.types.values() if "CloudFront" in kind]


def test_the_worker_alone_starts_on_the_queues_and_the_bucket_that_are_there() -> None:
    (made,) = Stack("worker", BESIDE).resources["TaskDefinition"]["ContainerDefinitions"]
    env = {one["Name"]: str(one["Value"]) for one in made["Environment"]}
    settings = load_settings(env | {"ARCHIVE_KEY_SECRET": "a secret"})

    assert settings.source_queue == BESIDE["SourceQueueArn"]
    assert settings.destination_bucket == "their-bucket"
    assert (settings.failure_queue, settings.base_url, settings.cloudfront_key_id) == (None, None, None)


def test_a_secret_that_is_there_keeps_the_links_that_are_there() -> None:
    stack = Stack("worker", BESIDE | {"ArchiveKeySecretArn": SECRET})

    assert "AWS::SecretsManager::Secret" not in stack.types.values()
    (made,) = stack.resources["TaskDefinition"]["ContainerDefinitions"]
    assert made["Secrets"] == [{"Name": "ARCHIVE_KEY_SECRET", "ValueFrom": SECRET}]


@each
def test_what_the_data_says_for_the_worker_are_parameters_of_the_worker(given: dict[str, str]) -> None:
    pairs = [pair.partition("=") for pair in str(Whole(given).data.outputs["ForWorker"]).split()]
    parameters = parsed("worker")["Parameters"]

    assert set(BESIDE) - set(REQUIRED) < {name for name, _, _ in pairs} < set(parameters)
    for name, _, value in pairs:
        if name != "SigningKeyId":  # names of resources stand for ids here
            assert re.fullmatch(parameters[name]["AllowedPattern"], value.replace("Distribution", "D")), name


def test_outputs_say_where_things_are() -> None:
    told = Whole(EVERYTHING).outputs

    assert {name: told[name].rpartition("/")[2] for name in told if name.endswith("QueueUrl")} == {
        "SourceQueueUrl": "zips-requests",
        "DeadLetterQueueUrl": "DeadLetterQueue",
        "AnswerQueueUrl": "zips-answers",
        "FailureQueueUrl": "zips-failures",
        "ProgressQueueUrl": "JobProgressQueue",
    }
    assert told["ArchiveBucketName"] == "archivebucket"
    assert told["DistributionDomain"] == "Distribution.DomainName"
    assert told["TaskRoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/TaskRole"
    assert "ProgressQueueUrl" not in Whole(REQUIRED).outputs
