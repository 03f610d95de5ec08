"""
The least privilege of a worker, of who asks it, and of who hears its answers: every action that is called, on what, and
why; as data, and as an IAM policy.

The lists are held against the calls that are made, by `tests/faults/test_policy.py` for a worker, and by
`tests/docs/test_integrate.py` for the programs of docs/integrate.md: no more, no less.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archiver.core.locations import access_point, parted

_QUEUE_URL = re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.)?[^/]+/(?P<account>\d{12})/(?P<name>[\w.-]+)")

RECEIVE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
FIND_QUEUE = ("sqs:GetQueueAttributes", "sqs:GetQueueUrl")
SEND = ("sqs:SendMessage",)
REQUEST = ("sqs:SendMessage", "sqs:GetQueueUrl")
HEAR = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueUrl")
WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
SWEEP = ("s3:ListBucketMultipartUploads",)
ENCRYPT = ("kms:Decrypt", "kms:GenerateDataKey")
DECRYPT = ("kms:Decrypt",)
PROTECT = ("ecs:UpdateTaskProtection",)
LOOK = ("ecs:DescribeTasks", "ecs:DescribeServices")


@dataclass(frozen=True, slots=True)
class Needs:
    """
    What a worker is set up with. Queues are ARNs; *send_to* are those that are sent to, the dead-letter queue among
    them. *sources* are buckets and `bucket/prefix/`; none of them: every bucket may be named. *kms_keys* and
    *source_keys* are ARNs; those only decrypt what is read. *tasks* is the ARN, or a pattern of it, of ECS tasks that
    protect themselves while *on_ecs*.
    """

    source_queue: str
    send_to: Sequence[str]
    sources: Sequence[str]
    destination_bucket: str
    kms_keys: Sequence[str] = ()
    source_keys: Sequence[str] = ()
    on_ecs: bool = False
    tasks: str = "*"
    partition: str = "aws"


@dataclass(frozen=True, slots=True)
class Grant:
    """One statement: *sid* names it, *why* says what breaks without it."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str


def grants(needs: Needs) -> list[Grant]:
    """All that a worker with *needs* has to be allowed, and nothing else."""
    objects, buckets = _sources(needs.partition, needs.sources)
    archives = bucket_arn(needs.destination_bucket, "*", needs.partition)
    destination = bucket_arn(needs.destination_bucket, partition=needs.partition)
    every = "" if needs.sources else " (every bucket, as none is named: S3_ALLOWED_SOURCES narrows it)"
    read_why = f"what goes into archives{every}; and an archive that is there already is answered from itself"
    granted = [
        Grant("ReceiveJobs", RECEIVE + FIND_QUEUE, (needs.source_queue,), "messages come from here"),
        Grant("SendAnswers", SEND + FIND_QUEUE, _once(needs.send_to), "answers and rejected messages go here"),
        Grant("ReadObjects", ("s3:GetObject",), _once((*objects, archives)), read_why),
        Grant(
            "TellMissingFromDenied",
            ("s3:ListBucket",),
            _once((*buckets, destination)),
            "without it S3 answers 403 for keys that do not exist",
        ),
        Grant("WriteArchives", WRITE, (archives,), "archives go here, in parts"),
        Grant("SweepUploads", SWEEP, (destination,), "uploads that a killed worker left behind are looked for here"),
        Grant("UseKeys", ENCRYPT, _once(needs.kms_keys), "buckets and queues are encrypted with these keys"),
        Grant("ReadEncryptedSources", DECRYPT, _once(needs.source_keys), "objects are encrypted with these keys"),
        Grant("ProtectTask", PROTECT, (needs.tasks,) if needs.on_ecs else (), "a task at work is not scaled away"),
        Grant("SeeDeployment", LOOK, _on_ecs(needs), "a task that a deployment has replaced ends, however busy"),
    ]
    return [grant for grant in granted if grant.resources]


def producer_grants(
    source_queue: str, destination_bucket: str | None = None, kms_keys: Sequence[str] = (), partition: str = "aws"
) -> list[Grant]:
    """
    All that a program has to be allowed that asks for archives on *source_queue* (an ARN), and, where
    *destination_bucket* is named, looks there whether one is made. *kms_keys*: as in Needs.
    """
    bucket, queue = destination_bucket, (source_queue,)
    looking, named = (
        ((bucket_arn(bucket, "*", partition),), (bucket_arn(bucket, partition=partition),)) if bucket else ((), ())
    )
    granted = [
        Grant("SendRequests", REQUEST, queue, "requests go here"),
        Grant("LookForArchives", ("s3:GetObject",), looking, "HEAD tells whether an archive is there"),
        Grant("TellMissingFromDenied", ("s3:ListBucket",), named, "without it HEAD answers 403 for what is not there"),
        Grant("UseKeys", ENCRYPT, _once(kms_keys), "what is sent is encrypted with these keys"),
    ]
    return [grant for grant in granted if grant.resources]


def consumer_grants(queues: Sequence[str], kms_keys: Sequence[str] = ()) -> list[Grant]:
    """All that a program has to be allowed that hears answers on *queues* (ARNs)."""
    granted = [
        Grant("HearAnswers", HEAR, _once(queues), "answers, failures and progress come here"),
        Grant("UseKeys", DECRYPT, _once(kms_keys), "what is received is encrypted with these keys"),
    ]
    return [grant for grant in granted if grant.resources]


def _sources(partition: str, sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ARNs of the objects that *sources* cover, and of their buckets."""
    if not sources:
        return [f"arn:{partition}:s3:::*"], [f"arn:{partition}:s3:::*"]
    each = [parted(source) for source in sources]
    objects = [bucket_arn(bucket, f"{_literal(prefix)}*", partition) for bucket, prefix in each]
    return objects, [bucket_arn(bucket, partition=partition) for bucket, _ in each]


def _literal(text: str) -> str:
    """
    *text* in an ARN of a policy, where `*` and `?` would be wildcards and `$` would begin a variable ("IAM policy
    elements: Variables and tags", special characters).
    """
    return re.sub(r"[*?$]", r"${\g<0>}", text)


def _on_ecs(needs: Needs) -> tuple[str, ...]:
    """The tasks and the services of their cluster."""
    return _once((needs.tasks, needs.tasks.replace(":task/", ":service/"))) if needs.on_ecs else ()


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def document(granted: Sequence[Grant]) -> dict[str, Any]:
    """*granted* as an IAM policy document."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": grant.sid, "Effect": "Allow", "Action": list(grant.actions), "Resource": list(grant.resources)}
            for grant in granted
        ],
    }


def to_grant(action: str, resource: str) -> str:
    """What to do where *action* on *resource* (an ARN) is refused."""
    return f"allow {action} on {resource} to the role (archiver iam-policy prints all that it needs)"


def bucket_arn(bucket: str, key: str = "", partition: str = "aws") -> str:
    """The ARN of *bucket* (or access point, which is one already), or with *key* (`*`, say) of its objects."""
    if access_point(bucket) is not None:
        return f"{bucket}/object/{key}" if key else bucket
    return f"arn:{partition}:s3:::{bucket}/{key}" if key else f"arn:{partition}:s3:::{bucket}"


def queue_arn(queue: str, region: str | None = None, account: str | None = None) -> str | None:
    """
    The ARN of the *queue* that a setting names (name, URL or ARN), without asking anyone; None where *region* or
    *account* would have to be known.
    """
    if queue.startswith("arn:"):
        return queue
    if url := _QUEUE_URL.fullmatch(queue):
        region, account, queue = url["region"] or region, url["account"], url["name"]
    if not region or not account or "://" in queue:
        return None
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:sqs:{region}:{account}:{queue}"
