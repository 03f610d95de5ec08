"""
The least privilege of a worker: every action that it calls, on what, and why; as data, and as an IAM policy.

The list is held against the calls that a worker makes by `tests/faults/test_policy.py`: no more, no less.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_QUEUE_URL = re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.)?[^/]+/(?P<account>\d{12})/(?P<name>[\w.-]+)")

RECEIVE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
FIND_QUEUE = ("sqs:GetQueueAttributes", "sqs:GetQueueUrl")
WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
PROTECT = ("ecs:UpdateTaskProtection",)


@dataclass(frozen=True, slots=True)
class Needs:
    """
    What a worker is set up with. Queues are ARNs; *send_to* are those that are sent to, the dead-letter queue among
    them. *sources* are buckets and `bucket/prefix/`; none of them: every bucket may be named. *kms_keys* are ARNs.
    """

    source_queue: str
    send_to: Sequence[str]
    sources: Sequence[str]
    destination_bucket: str
    kms_keys: Sequence[str] = ()
    on_ecs: bool = False
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
    s3 = f"arn:{needs.partition}:s3:::"
    sources = [
        source.rstrip("/") + "/" if "/" in source.rstrip("/") else source.rstrip("/") for source in needs.sources
    ]
    objects = tuple(f"{s3}{source}*" if source.endswith("/") else f"{s3}{source}/*" for source in sources) or (
        f"{s3}*",
    )
    buckets = tuple(dict.fromkeys(f"{s3}{source.partition('/')[0]}" for source in sources)) or (f"{s3}*",)
    archives, destination = f"{s3}{needs.destination_bucket}/*", f"{s3}{needs.destination_bucket}"
    made = [
        Grant("ReceiveJobs", RECEIVE + FIND_QUEUE, (needs.source_queue,), "messages come from here"),
        Grant(
            "SendAnswers",
            ("sqs:SendMessage", *FIND_QUEUE),
            tuple(dict.fromkeys(needs.send_to)),
            "answers, failures and rejected messages go here",
        ),
        Grant(
            "ReadObjects",
            ("s3:GetObject",),
            tuple(dict.fromkeys((*objects, archives))),
            "what goes into archives; and an archive that is there already is answered from itself",
        ),
        Grant(
            "TellMissingFromDenied",
            ("s3:ListBucket",),
            tuple(dict.fromkeys((*buckets, destination))),
            "without it S3 answers 403 for keys that do not exist",
        ),
        Grant("WriteArchives", WRITE, (archives,), "archives go here, in parts"),
        Grant(
            "SweepUploads",
            ("s3:ListBucketMultipartUploads",),
            (destination,),
            "uploads that a killed worker left behind are looked for here",
        ),
    ]
    if needs.kms_keys:
        actions = ("kms:Decrypt", "kms:GenerateDataKey")
        made.append(
            Grant("UseKeys", actions, tuple(needs.kms_keys), "buckets and queues are encrypted with these keys")
        )
    if needs.on_ecs:
        why = "a task with running jobs is not scaled away"
        made.append(Grant("ProtectTask", PROTECT, ("*",), why))
    return [grant for grant in made if grant.resources]


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


def bucket_arn(bucket: str, key: str = "") -> str:
    """The ARN of *bucket*, or with *key* (`*`, say) of its objects."""
    return f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"


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
