"""Whole, or the worker alone beside what is there: clusters, roles, queues and buckets of one's own."""

import re

from archiver.settings import load_settings

from .stack_values import container, each, statements
from .template import (
    ACCOUNT,
    EVERYTHING,
    REGION,
    REQUIRED,
    SECRET,
    WITH_EXISTING_RESOURCES,
    BothStacks,
    Stack,
    load_template,
    merged_section,
)

# ---- roles, images and clusters of one's own


def test_both_roles_take_the_path_and_the_boundary_that_an_organisation_asks_for() -> None:
    for role in BothStacks(EVERYTHING).of_type("AWS::IAM::Role").values():
        assert (role["Path"], role["PermissionsBoundary"]) == ("/services/", EVERYTHING["PermissionsBoundaryArn"])
    for role in BothStacks(REQUIRED).of_type("AWS::IAM::Role").values():
        assert role["Path"] == "/" and "PermissionsBoundary" not in role


def test_an_image_of_a_private_registry_is_pulled_with_its_password() -> None:
    assert container(EVERYTHING)["RepositoryCredentials"] == {
        "CredentialsParameter": EVERYTHING["RepositoryCredentialsSecretArn"]
    }
    assert "RepositoryCredentials" not in container(REQUIRED)


def test_a_cluster_that_is_there_is_taken_in_place_of_one_of_its_own() -> None:
    stack = BothStacks(REQUIRED | {"ClusterName": "shared"})

    assert "AWS::ECS::Cluster" not in stack.types.values()
    assert stack.resources["Service"]["Cluster"] == stack.outputs["ClusterName"] == "shared"
    assert stack.resources["ScalableTarget"]["ResourceId"] == "service/shared/Service"
    (policy,) = stack.resources["TaskRole"]["Policies"]
    protect = statements(policy["PolicyDocument"])["ProtectTask"]
    assert protect["Resource"] == [f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/shared/*"]


def test_the_cluster_is_made_late_so_that_a_new_account_has_its_service_linked_role() -> None:
    assert merged_section("Resources")["Cluster"]["DependsOn"] == "ExecutionRole"


# ---- the worker alone


def test_the_worker_alone_makes_no_queue_no_bucket_and_no_distribution() -> None:
    stack = Stack("worker", WITH_EXISTING_RESOURCES)

    made = {"AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::S3::Bucket", "AWS::S3::BucketPolicy"}
    assert not made & set(stack.types.values())
    assert not [kind for kind in stack.types.values() if "CloudFront" in kind]


def test_the_worker_alone_starts_on_the_queues_and_the_bucket_that_are_there() -> None:
    (made,) = Stack("worker", WITH_EXISTING_RESOURCES).resources["TaskDefinition"]["ContainerDefinitions"]
    env = {one["Name"]: str(one["Value"]) for one in made["Environment"]}
    settings = load_settings(env | {"ARCHIVE_KEY_SECRET": "a secret"})

    assert settings.source_queue == WITH_EXISTING_RESOURCES["SourceQueueArn"]
    assert settings.destination_bucket == "their-bucket"
    assert (settings.failure_queue, settings.base_url, settings.cloudfront_key_id) == (None, None, None)


def test_a_secret_that_is_there_keeps_the_links_that_are_there() -> None:
    stack = Stack("worker", WITH_EXISTING_RESOURCES | {"ArchiveKeySecretArn": SECRET})

    assert "AWS::SecretsManager::Secret" not in stack.types.values()
    (made,) = stack.resources["TaskDefinition"]["ContainerDefinitions"]
    assert made["Secrets"] == [{"Name": "ARCHIVE_KEY_SECRET", "ValueFrom": SECRET}]


@each
def test_what_the_data_says_for_the_worker_are_parameters_of_the_worker(given: dict[str, str]) -> None:
    pairs = [pair.partition("=") for pair in str(BothStacks(given).data.outputs["ForWorker"]).split()]
    parameters = load_template("worker")["Parameters"]

    assert set(WITH_EXISTING_RESOURCES) - set(REQUIRED) < {name for name, _, _ in pairs} < set(parameters)
    for name, _, value in pairs:
        if name != "SigningKeyId":  # names of resources stand for ids here
            assert re.fullmatch(parameters[name]["AllowedPattern"], value.replace("Distribution", "D")), name


def test_outputs_say_where_things_are() -> None:
    told = BothStacks(EVERYTHING).outputs

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
    assert "ProgressQueueUrl" not in BothStacks(REQUIRED).outputs
