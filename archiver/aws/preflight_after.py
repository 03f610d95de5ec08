"""The check of `archiver check` for `[after]` of POLICY_FILE."""

from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_changes import S3Changes
from archiver.core.policy import RECEIPTS, bucket_arn, permission_hint
from archiver.core.preflight import CheckResult
from archiver.errors import ConfigurationError, TransientError

WHAT = "after"


async def check_conditional_deletes(calls: S3Calls, archives: str) -> CheckResult:
    """Check that the store deletes on a condition, with an object in the bucket *archives* that is deleted again."""
    try:
        conditional = await S3Changes(calls, archives).proves_conditional()
    except ConfigurationError as error:
        hint = permission_hint("s3:PutObject and s3:DeleteObject", bucket_arn(archives, RECEIPTS))
        return CheckResult(WHAT, "bad", f"the store can't prove that it deletes on a condition: {error}", hint)
    except TransientError as error:
        return CheckResult(WHAT, "unknown", f"the store did not answer: {error}")
    if conditional:
        return CheckResult(WHAT, "ok", "the store deletes on a condition")
    told = "the store can't delete on a condition: delete and move keep everything (not_conditional)"
    return CheckResult(
        WHAT, "warning", told, "remove delete and move from [after] of POLICY_FILE, or use another store"
    )
