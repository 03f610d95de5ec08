"""The permissions for `[after]` of the operator's policy file."""

from collections.abc import Iterator

from archiver.core.after import AfterRules
from archiver.core.locations import AllowList
from archiver.core.policy import DELETE_ACTIONS, Statement, bucket_arn, literal

COPY_FROM_ACTIONS = ("s3:GetObject", "s3:GetObjectTagging")
COPY_TO_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload")
FLAG_ACTIONS = ("s3:GetObject", "s3:PutObject")


def after_statements(rules: AfterRules, partition: str = "aws") -> list[Statement]:
    """Return what a worker needs in addition for *rules*; statements without resources are left out."""
    origins = tuple(arn for rule in rules.move for arn in _objects(rule.origins, partition))
    targets = tuple(arn for rule in rules.move for arn in _objects(rule.targets, partition))
    buckets = tuple(bucket_arn(bucket, partition=partition) for rule in rules.move for bucket in _buckets(rule.targets))
    deleted = (*_objects(rules.delete, partition), *origins)
    statements = [
        ("DeleteArchived", DELETE_ACTIONS, deleted, "archived objects are deleted here, at their ETag"),
        ("CopyArchived", COPY_FROM_ACTIONS, origins, "archived objects are moved from here"),
        ("MoveArchived", COPY_TO_ACTIONS, targets, "archived objects are moved to here"),
        ("SeeMoved", ("s3:ListBucket",), buckets, "without it S3 answers 403 for targets that do not exist"),
        ("RaiseFlags", FLAG_ACTIONS, tuple(_objects(rules.flags, partition)), "flags are written here"),
    ]
    return [
        Statement(sid, actions, tuple(dict.fromkeys(resources)), why)
        for sid, actions, resources, why in statements
        if resources
    ]


def _objects(places: AllowList, partition: str) -> Iterator[str]:
    for bucket, prefixes in (places.prefixes or {}).items():
        yield from (bucket_arn(bucket, f"{literal(prefix)}*", partition) for prefix in prefixes)


def _buckets(places: AllowList) -> Iterator[str]:
    yield from places.prefixes or {}
