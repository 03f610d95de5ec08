"""The ARNs of what a policy allows: from the settings and options if possible, else from AWS."""

from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_USAGE, CommandError, environment

if TYPE_CHECKING:
    from archiver.core.mode_policy import Account


def partition_of(arn: str) -> str:
    return arn.split(":")[1]


def key_arns(key: str | None) -> list[str]:
    """Return *key* if it is an ARN; the ARN of a key id or alias is known to KMS only."""
    return [key] if key is not None and key.startswith("arn:") else []


async def resolve_arns(queues: list[str], account: str | None) -> list[str]:
    """Return the ARNs of *queues*: built from names, region and *account* if possible, else read from SQS."""
    from archiver.aws.request_client import get_queue_arn, sqs_client
    from archiver.core.policy import queue_arn

    environ = environment()
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    known = [queue_arn(queue, region, account) for queue in queues]
    if all(known):
        return [str(arn) for arn in known]
    async with sqs_client() as client:
        return [arn or await get_queue_arn(client, queue) for arn, queue in zip(known, queues, strict=True)]


async def find_dead_letter_queue(queue: str) -> str | None:
    """Return the ARN of the dead-letter queue of *queue*. Raises CommandError if SQS does not return it."""
    from archiver.aws.request_client import get_dead_letter_queue_arn, sqs_client
    from archiver.errors import ArchiverError

    try:
        async with sqs_client() as client:
            return await get_dead_letter_queue_arn(client, queue)
    except ArchiverError as error:
        message = f"the dead-letter queue can't be read from SQS: {error}; name it with --dead-letter-queue ARN"
        raise CommandError(message, code=EXIT_USAGE) from None


def find_account(account: str | None, *arns: str | None) -> "Account":
    """
    Return region, account and partition of the environment and *account*, or of the first of *arns* that is one. Raises
    CommandError if the account or the region is not known.
    """
    from archiver.core.mode_policy import Account
    from archiver.core.policy import region_partition

    for arn in arns:
        if arn is not None and arn.startswith("arn:"):
            _, partition, _, region, owner, *_ = arn.split(":")
            return Account(region, owner, partition)
    environ = environment()
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if not account or not region:
        lacking = (
            "the account is not known; name it with --account" if region else "no AWS region is set; set AWS_REGION"
        )
        raise CommandError(lacking, code=EXIT_USAGE)
    return Account(region, account, region_partition(region))
