"""The least privilege of a worker, as data, as a document, and as a remedy."""

import json
from dataclasses import replace

import pytest

from archiver.core.after import AfterRules, MoveRule
from archiver.core.locations import AllowList
from archiver.core.policy import (
    ACL_ACTIONS,
    TAG_ACTIONS,
    WRITE_ACTIONS,
    Statement,
    WorkerResources,
    bucket_arn,
    consumer_statements,
    permission_hint,
    policy_document,
    producer_statements,
    queue_arn,
    worker_statements,
)
from archiver.core.policy_after import after_statements

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:"
NEEDS = WorkerResources(
    source_queue=f"{QUEUE}in",
    send_to=(f"{QUEUE}out", f"{QUEUE}in-dlq"),
    sources=("photos", "scans/2026/"),
    destination_bucket="zips",
)


def of(sid: str, needs: WorkerResources) -> Statement:
    """The one grant called *sid*."""
    (grant,) = [grant for grant in worker_statements(needs) if grant.sid == sid]
    return grant


def test_attributes_of_archives_need_actions_of_their_own() -> None:
    assert of("WriteArchives", NEEDS).actions == WRITE_ACTIONS
    with_tags = of("WriteArchives", replace(NEEDS, attribute_actions=(*ACL_ACTIONS, *TAG_ACTIONS)))
    assert with_tags.actions == (*WRITE_ACTIONS, "s3:PutObjectAcl", "s3:PutObjectTagging")


def test_roles_that_requests_may_name_are_assumed_and_no_others() -> None:
    roles = ("arn:aws:iam::210987654321:role/exports", "arn:aws:iam::321098765432:role/photos")

    assert of("AssumeRoles", replace(NEEDS, roles=roles)).resources == roles
    assert "AssumeRoles" not in {grant.sid for grant in worker_statements(NEEDS)}


def test_the_rows_of_the_readme_are_the_statements() -> None:
    allowed = {
        (action, resource)
        for grant in worker_statements(NEEDS)
        for action in grant.actions
        for resource in grant.resources
    }

    assert allowed == {
        ("sqs:ReceiveMessage", f"{QUEUE}in"),
        ("sqs:DeleteMessage", f"{QUEUE}in"),
        ("sqs:ChangeMessageVisibility", f"{QUEUE}in"),
        ("sqs:GetQueueAttributes", f"{QUEUE}in"),
        ("sqs:GetQueueUrl", f"{QUEUE}in"),
        *(
            (f"sqs:{action}", f"{QUEUE}{name}")
            for action in ("SendMessage", "GetQueueAttributes", "GetQueueUrl")
            for name in ("out", "in-dlq")
        ),
        ("s3:GetObject", "arn:aws:s3:::photos/*"),
        ("s3:GetObject", "arn:aws:s3:::scans/2026/*"),
        ("s3:GetObject", "arn:aws:s3:::zips/*"),
        ("s3:ListBucket", "arn:aws:s3:::photos"),
        ("s3:ListBucket", "arn:aws:s3:::scans"),
        ("s3:ListBucket", "arn:aws:s3:::zips"),
        ("s3:PutObject", "arn:aws:s3:::zips/*"),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::zips/*"),
        ("s3:ListMultipartUploadParts", "arn:aws:s3:::zips/*"),
        ("s3:DeleteObject", "arn:aws:s3:::zips/*/receipt-*.json.gz"),
        ("s3:DeleteObject", "arn:aws:s3:::zips/*/build-*.json.gz"),
        ("s3:ListBucketMultipartUploads", "arn:aws:s3:::zips"),
    }


def test_what_is_literal_in_the_setting_is_literal_in_the_policy() -> None:
    """IAM has wildcards and variables; S3_ALLOWED_SOURCES is compared byte for byte."""
    objects = of("ReadObjects", replace(NEEDS, sources=("a/team-?/", "a/*/", "a/${aws:username}/"))).resources

    s3 = "arn:aws:s3:::"
    assert objects[:3] == (f"{s3}a/team-${{?}}/*", f"{s3}a/${{*}}/*", f"{s3}a/${{$}}{{aws:username}}/*")


def test_a_source_is_a_bucket_with_or_without_its_slash_or_a_prefix() -> None:
    objects = of("ReadObjects", replace(NEEDS, sources=("a", "a/", "b/c/", "b/d/e/"))).resources
    buckets = of("TellMissingFromDenied", replace(NEEDS, sources=("a", "a/", "b/c/", "b/d/e/"))).resources

    s3 = "arn:aws:s3:::"
    assert objects == (f"{s3}a/*", f"{s3}b/c/*", f"{s3}b/d/e/*", f"{s3}zips/*")
    assert buckets == (f"{s3}a", f"{s3}b", f"{s3}zips")


def test_where_no_source_is_named_every_bucket_is_granted_and_the_reason_says_so() -> None:
    grant = of("ReadObjects", replace(NEEDS, sources=()))

    assert "arn:aws:s3:::*" in grant.resources
    assert "arn:aws:s3:::*" in of("TellMissingFromDenied", replace(NEEDS, sources=())).resources
    assert "S3_ALLOWED_SOURCES" in grant.why
    assert "S3_ALLOWED_SOURCES" not in of("ReadObjects", NEEDS).why


def test_a_worker_that_sends_nothing_is_allowed_to_send_nothing() -> None:
    actions = {action for grant in worker_statements(replace(NEEDS, send_to=())) for action in grant.actions}

    assert "sqs:SendMessage" not in actions


def test_a_queue_that_is_named_twice_is_granted_once() -> None:
    twice = replace(NEEDS, send_to=(f"{QUEUE}out", f"{QUEUE}out"))

    assert of("SendAnswers", twice).resources == (f"{QUEUE}out",)


def test_keys_and_ecs_are_granted_where_they_are_used_and_not_otherwise() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/one"
    tasks = "arn:aws:ecs:eu-west-1:123456789012:task/zips/*"
    usual = {grant.sid for grant in worker_statements(NEEDS)}

    assert usual.isdisjoint({"UseKeys", "ReadEncryptedSources", "ProtectTask", "SeeDeployment"})
    assert of("UseKeys", replace(NEEDS, kms_keys=(key,))).actions == ("kms:Decrypt", "kms:GenerateDataKey")
    assert of("ReadEncryptedSources", replace(NEEDS, source_keys=(key,))).actions == ("kms:Decrypt",)
    assert of("ProtectTask", replace(NEEDS, on_ecs=True, tasks=tasks)).resources == (tasks,)
    assert of("ProtectTask", replace(NEEDS, on_ecs=True)).resources == ("*",)
    services = tasks.replace(":task/", ":service/")
    assert of("SeeDeployment", replace(NEEDS, on_ecs=True, tasks=tasks)).resources == (tasks, services)
    assert of("SeeDeployment", replace(NEEDS, on_ecs=True)).resources == ("*",)


def test_buckets_are_named_in_the_partition_of_their_region() -> None:
    china = replace(NEEDS, partition="aws-cn", sources=())
    arns = {arn for sid in ("ReadObjects", "TellMissingFromDenied", "SweepUploads") for arn in of(sid, china).resources}

    assert {arn.split(":")[1] for arn in arns} == {"aws-cn"}


def test_the_document_is_one_that_iam_takes() -> None:
    made = json.loads(json.dumps(policy_document(worker_statements(NEEDS))))

    assert made["Version"] == "2012-10-17"
    assert [set(statement) for statement in made["Statement"]] == [{"Sid", "Effect", "Action", "Resource"}] * 7
    assert {statement["Effect"] for statement in made["Statement"]} == {"Allow"}
    sids = [statement["Sid"] for statement in made["Statement"]]
    assert len(set(sids)) == len(sids) and all(sid.isalnum() for sid in sids)
    assert len(json.dumps(made, separators=(",", ":"))) < 6144, "a managed policy has 6,144 characters at most"


def test_a_remedy_names_the_action_and_the_resource() -> None:
    sentence = permission_hint("s3:ListBucket", bucket_arn("photos"))

    assert "s3:ListBucket on arn:aws:s3:::photos " in sentence
    assert bucket_arn("photos", "*") == "arn:aws:s3:::photos/*"


@pytest.mark.parametrize(
    ("queue", "arn"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:in", f"{QUEUE}in"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/in", f"{QUEUE}in"),
        ("in", "arn:aws:sqs:us-east-1:999999999999:in"),
        ("http://localhost:4566/123456789012/in", "arn:aws:sqs:us-east-1:123456789012:in"),
        ("https://example.com/elsewhere", None),
    ],
)
def test_a_queue_is_named_by_what_is_known_of_it(queue: str, arn: str | None) -> None:
    assert queue_arn(queue, "us-east-1", "999999999999") == arn


@pytest.mark.parametrize(("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_a_queue_is_in_the_partition_of_its_region(region: str, partition: str) -> None:
    assert queue_arn("in", region, "123456789012") == f"arn:{partition}:sqs:{region}:123456789012:in"


def test_a_queue_whose_account_or_region_is_not_known_has_no_arn_yet() -> None:
    assert queue_arn("in", None, "123456789012") is None
    assert queue_arn("in", "eu-west-1", None) is None


def test_access_point_is_granted_by_its_own_arn() -> None:
    point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/team-photos"
    assert bucket_arn(point) == point
    assert bucket_arn(point, "*") == f"{point}/object/*"
    assert bucket_arn("photos", "*", "aws-cn") == "arn:aws-cn:s3:::photos/*"


def test_who_asks_and_who_hears_are_granted_what_they_do_and_nothing_else() -> None:
    asks = producer_statements(f"{QUEUE}in", "zips", ["key"], "aws-cn")
    sends = producer_statements(f"{QUEUE}in")
    hears = consumer_statements([f"{QUEUE}out", f"{QUEUE}out"], ["key"])

    assert [grant.sid for grant in asks] == ["SendRequests", "LookForArchives", "TellMissingFromDenied", "UseKeys"]
    assert asks[1].resources == ("arn:aws-cn:s3:::zips/*",)
    assert [grant.sid for grant in sends] == ["SendRequests"]
    assert [(grant.sid, grant.resources) for grant in hears] == [
        ("HearAnswers", (f"{QUEUE}out",)),
        ("UseKeys", ("key",)),
    ]


def test_parameters_and_secrets_that_settings_refer_to_can_be_read_and_no_others() -> None:
    parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/archiver/url"
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keys-??????"
    needs = replace(NEEDS, parameters=(parameter, parameter), secrets=(secret,))

    assert of("ReadParameters", needs).resources == (parameter,)
    assert of("ReadSecrets", needs).resources == (secret,)
    assert not {"ReadParameters", "ReadSecrets"} & {grant.sid for grant in worker_statements(NEEDS)}


def test_only_a_worker_that_may_restore_objects_has_the_right_and_for_sources_alone() -> None:
    assert [one for one in worker_statements(NEEDS) if "s3:RestoreObject" in one.actions] == []

    grant = of("RestoreObjects", replace(NEEDS, restores=True))
    assert grant.actions == ("s3:RestoreObject",)
    assert grant.resources == ("arn:aws:s3:::photos/*", "arn:aws:s3:::scans/2026/*")


def test_what_is_done_after_archives_needs_rights_where_it_is_done_and_nowhere_else() -> None:
    move = MoveRule(AllowList.of(["photos"], ""), AllowList.of(["old/p*/"], ""))
    rules = AfterRules(AllowList.of(["tmp/x/"], ""), (move,), AllowList.of(["old/flags/"], ""))
    grants = {one.sid: one for one in after_statements(rules)}

    assert grants["DeleteArchived"].resources == ("arn:aws:s3:::tmp/x/*", "arn:aws:s3:::photos/*")
    assert (grants["CopyArchived"].actions, grants["CopyArchived"].resources) == (
        ("s3:GetObject", "s3:GetObjectTagging"),
        ("arn:aws:s3:::photos/*",),
    )
    assert grants["MoveArchived"].resources == ("arn:aws:s3:::old/p${*}/*",)
    assert "s3:PutObject" in grants["MoveArchived"].actions
    assert grants["SeeMoved"].resources == ("arn:aws:s3:::old",)
    assert grants["RaiseFlags"].resources == ("arn:aws:s3:::old/flags/*",)
    assert after_statements(AfterRules()) == []
