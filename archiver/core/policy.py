"""
Least-privilege permissions of a worker, of senders, and of consumers of answers: each action, its resources, and the
reason; as data and as an IAM policy.

Tests check that the actions are exactly those that are called: `tests/faults/test_policy.py` for a worker, and
`tests/docs/test_integrate.py` for the programs of docs/integrate.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archiver.core.locations import access_point, split_bucket

_QUEUE_URL = re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.)?[^/]+/(?P<account>\d{12})/(?P<name>[\w.-]+)")

RECEIVE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
FIND_QUEUE_ACTIONS = ("sqs:GetQueueAttributes", "sqs:GetQueueUrl")
SEND_ACTIONS = ("sqs:SendMessage",)
REQUEST_ACTIONS = ("sqs:SendMessage", "sqs:GetQueueUrl")
CONSUME_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueUrl")
WRITE_ACTIONS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
ACL_ACTIONS = ("s3:PutObjectAcl",)
TAG_ACTIONS = ("s3:PutObjectTagging",)
DELETE_ACTIONS = ("s3:DeleteObject",)
LIST_UPLOADS_ACTIONS = ("s3:ListBucketMultipartUploads",)
RESTORE_ACTIONS = ("s3:RestoreObject",)
ENCRYPT_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey")
DECRYPT_ACTIONS = ("kms:Decrypt",)
RECEIPTS = "*/receipt-*.json.gz"  # the keys of receipts
RECORDS = "*/build-*.json.gz"  # the keys of records of unfinished uploads
ASSUME_ACTIONS = ("sts:AssumeRole",)
READ_PARAMETERS_ACTIONS = ("ssm:GetParameters",)
READ_SECRETS_ACTIONS = ("secretsmanager:GetSecretValue",)
PROTECT_ACTIONS = ("ecs:UpdateTaskProtection",)
DESCRIBE_ACTIONS = ("ecs:DescribeTasks", "ecs:DescribeServices")


@dataclass(frozen=True, slots=True)
class WorkerResources:
    """
    The resources that a worker uses. Queues and KMS keys are ARNs. *send_to*: the queues that it sends to, including
    the dead-letter queue. *sources*: buckets and `bucket/prefix/`; if empty, requests may name every bucket.
    *source_keys* only decrypt sources. *restores*: requests may restore archived objects. *tasks*: the ARN, or a
    pattern of it, of ECS tasks with scale-in protection, if *on_ecs*. *roles*: ARNs of roles that requests may name.
    *attribute_actions*: those of `ACL_ACTIONS` and `TAG_ACTIONS` that archives need. *parameters* and *secrets*: the
    ARNs of those that settings refer to.
    """

    source_queue: str
    send_to: Sequence[str]
    sources: Sequence[str]
    destination_bucket: str
    kms_keys: Sequence[str] = ()
    source_keys: Sequence[str] = ()
    restores: bool = False
    on_ecs: bool = False
    tasks: str = "*"
    partition: str = "aws"
    roles: Sequence[str] = ()
    attribute_actions: Sequence[str] = ()
    parameters: Sequence[str] = ()
    secrets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One statement of a policy. *sid*: its id. *why*: the reason, or what fails without it. *condition*: as IAM has it.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    condition: Mapping[str, Mapping[str, str]] | None = None


def worker_statements(worker: WorkerResources) -> list[Statement]:
    """Return exactly the permissions that a worker with the resources *worker* needs."""
    objects, buckets = _sources(worker.partition, worker.sources)
    archives = bucket_arn(worker.destination_bucket, "*", worker.partition)
    swept = tuple(bucket_arn(worker.destination_bucket, keys, worker.partition) for keys in (RECEIPTS, RECORDS))
    destination = bucket_arn(worker.destination_bucket, partition=worker.partition)
    every = "" if worker.sources else " (every bucket, as none is named: S3_ALLOWED_SOURCES narrows it)"
    read_why = f"reads sources{every}; and receipts of existing archives, to answer a repeated job from them"
    statements = [
        Statement(
            "ReceiveJobs", RECEIVE_ACTIONS + FIND_QUEUE_ACTIONS, (worker.source_queue,), "messages come from here"
        ),
        Statement(
            "SendAnswers",
            SEND_ACTIONS + FIND_QUEUE_ACTIONS,
            _unique(worker.send_to),
            "answers and rejected messages go here",
        ),
        Statement("ReadObjects", ("s3:GetObject",), _unique((*objects, archives)), read_why),
        Statement(
            "TellMissingFromDenied",
            ("s3:ListBucket",),
            _unique((*buckets, destination)),
            "lists prefixes of requests, and receipts of killed workers; without it S3 answers 403 for missing keys",
        ),
        Statement(
            "WriteArchives",
            (*WRITE_ACTIONS, *worker.attribute_actions),
            (archives,),
            "archives and their receipts go here",
        ),
        Statement(
            "SweepReceipts",
            DELETE_ACTIONS,
            swept,
            "receipts and build records of failed attempts are deleted; archives never",
        ),
        Statement(
            "SweepUploads",
            LIST_UPLOADS_ACTIONS,
            (destination,),
            "incomplete uploads of killed workers are listed here",
        ),
    ]
    return [one for one in (*statements, *_optional_statements(worker)) if one.resources]


def _optional_statements(worker: WorkerResources) -> list[Statement]:
    """For restores, keys, references, roles and ECS; those without resources are not needed."""
    objects, _ = _sources(worker.partition, worker.sources)
    return [
        Statement(
            "RestoreObjects",
            RESTORE_ACTIONS,
            _unique(objects) if worker.restores else (),
            "requests may ask for archived objects to be restored (RESTORE_TIERS)",
        ),
        Statement(
            "UseKeys", ENCRYPT_ACTIONS, _unique(worker.kms_keys), "buckets and queues are encrypted with these keys"
        ),
        Statement(
            "ReadEncryptedSources",
            DECRYPT_ACTIONS,
            _unique(worker.source_keys),
            "objects are encrypted with these keys",
        ),
        Statement("ReadParameters", READ_PARAMETERS_ACTIONS, _unique(worker.parameters), "settings refer to these"),
        Statement("ReadSecrets", READ_SECRETS_ACTIONS, _unique(worker.secrets), "settings refer to these"),
        Statement("AssumeRoles", ASSUME_ACTIONS, _unique(worker.roles), "requests may name these roles"),
        Statement(
            "ProtectTask",
            PROTECT_ACTIONS,
            (worker.tasks,) if worker.on_ecs else (),
            "tasks with running jobs get scale-in protection",
        ),
        Statement(
            "SeeDeployment",
            DESCRIBE_ACTIONS,
            _on_ecs(worker),
            "a task detects that a deployment replaced it, and drains",
        ),
    ]


def producer_statements(
    source_queue: str,
    destination_bucket: str | None = None,
    kms_keys: Sequence[str] = (),
    partition: str = "aws",
    manifests: str | None = None,
) -> list[Statement]:
    """
    Return the permissions of a program that sends requests to *source_queue* (an ARN) and, if *destination_bucket* is
    given, checks with HEAD whether an archive exists there. *kms_keys*: as in `WorkerResources`. *manifests*: `bucket`
    or `bucket/prefix/`, where it puts the files of requests that are too long for a message.
    """
    bucket, queue = destination_bucket, (source_queue,)
    archives, buckets = (
        ((bucket_arn(bucket, "*", partition),), (bucket_arn(bucket, partition=partition),)) if bucket else ((), ())
    )
    statements = [
        Statement("SendRequests", REQUEST_ACTIONS, queue, "requests go here"),
        Statement("LookForArchives", ("s3:GetObject",), archives, "HEAD shows whether an archive exists"),
        Statement(
            "TellMissingFromDenied", ("s3:ListBucket",), buckets, "without it HEAD answers 403 for missing archives"
        ),
        Statement(
            "PutManifests",
            ("s3:PutObject",),
            tuple(_sources(partition, [manifests])[0]) if manifests else (),
            "the files of requests that are too long for a message go here",
        ),
        Statement("UseKeys", ENCRYPT_ACTIONS, _unique(kms_keys), "requests are encrypted with these keys"),
    ]
    return [statement for statement in statements if statement.resources]


def consumer_statements(queues: Sequence[str], kms_keys: Sequence[str] = ()) -> list[Statement]:
    """Return the permissions of a program that receives answers from *queues* (ARNs)."""
    statements = [
        Statement("HearAnswers", CONSUME_ACTIONS, _unique(queues), "answers, failures and progress come here"),
        Statement("UseKeys", DECRYPT_ACTIONS, _unique(kms_keys), "answers are encrypted with these keys"),
    ]
    return [statement for statement in statements if statement.resources]


def _sources(partition: str, sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the ARNs of the objects that *sources* cover, and of their buckets."""
    if not sources:
        return [f"arn:{partition}:s3:::*"], [f"arn:{partition}:s3:::*"]
    each = [split_bucket(source) for source in sources]
    objects = [bucket_arn(bucket, f"{literal(prefix)}*", partition) for bucket, prefix in each]
    return objects, [bucket_arn(bucket, partition=partition) for bucket, _ in each]


def literal(text: str) -> str:
    """
    Escape *text* for an ARN in a policy, where `*` and `?` are wildcards and `$` starts a variable ("IAM policy
    elements: Variables and tags", special characters).
    """
    return re.sub(r"[*?$]", r"${\g<0>}", text)


def _on_ecs(worker: WorkerResources) -> tuple[str, ...]:
    """Return the ARNs of the tasks and of the services of their cluster."""
    return _unique((worker.tasks, worker.tasks.replace(":task/", ":service/"))) if worker.on_ecs else ()


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def policy_document(statements: Sequence[Statement]) -> dict[str, Any]:
    """Return *statements* as an IAM policy document."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": statement.sid,
                "Effect": "Allow",
                "Action": list(statement.actions),
                "Resource": list(statement.resources),
                **({"Condition": statement.condition} if statement.condition else {}),
            }
            for statement in statements
        ],
    }


def permission_hint(action: str, resource: str) -> str:
    """Return what to do if *action* on *resource* (an ARN) is denied."""
    return f"allow {action} on {resource} for the role (archiver iam-policy prints all permissions that it needs)"


def bucket_arn(bucket: str, key: str = "", partition: str = "aws") -> str:
    """Return the ARN of *bucket* (a name, or the ARN of an access point); with *key* (such as `*`), of its objects."""
    if access_point(bucket) is not None:
        return f"{bucket}/object/{key}" if key else bucket
    return f"arn:{partition}:s3:::{bucket}/{key}" if key else f"arn:{partition}:s3:::{bucket}"


def queue_arn(queue: str, region: str | None = None, account: str | None = None) -> str | None:
    """
    Return the ARN of *queue* (name, URL or ARN) without calling AWS. None if *region* or *account* is needed and
    unknown.
    """
    if queue.startswith("arn:"):
        return queue
    if url := _QUEUE_URL.fullmatch(queue):
        region, account, queue = url["region"] or region, url["account"], url["name"]
    if not region or not account or "://" in queue:
        return None
    return f"arn:{region_partition(region)}:sqs:{region}:{account}:{queue}"


def region_partition(region: str) -> str:
    """Return the partition that *region* belongs to."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
