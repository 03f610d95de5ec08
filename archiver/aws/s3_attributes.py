"""Writes with an ACL, and without it where the bucket has none."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_errors import AclNotSupported
from archiver.core.attributes import Attributes

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def write_with_attributes(
    calls: S3Calls, bucket: str, attributes: Attributes, write: Callable[[Attributes], Awaitable[T]]
) -> T:
    """
    Call *write* with *attributes*. If *bucket* supports no ACLs, as its owner owns all objects, write again without:
    the refused write had no effect. That is logged once for each bucket, and remembered.
    """
    if attributes.acl is None:
        return await write(attributes)
    without = replace(attributes, acl=None)
    if bucket in calls.buckets_without_acls:
        return await write(without)
    try:
        return await write(attributes)
    except AclNotSupported as refusal:
        if bucket not in calls.buckets_without_acls:
            calls.buckets_without_acls.add(bucket)
            log.warning("archive.without_acl", bucket=bucket, reason=str(refusal))
        return await write(without)
