"""`archiver iam-policy`: the least-privilege IAM policy of a worker, a producer or a consumer."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, environment, print_json
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.operator_policy import OperatorPolicy
    from archiver.core.policy import Statement
    from archiver.settings import Settings


def add_to(app: typer.Typer) -> None:
    app.command("iam-policy", epilog="Example: archiver iam-policy --account 123456789012 > policy.json")(iam_policy)


def iam_policy(
    account: Annotated[
        str | None,
        typer.Option(help="Account id of the queues. Default: from their URLs or ARNs, else from SQS."),
    ] = None,
    dead_letter_queue: Annotated[
        str | None, typer.Option(help="ARN of the dead-letter queue. Default: from the source queue's redrive policy.")
    ] = None,
    kms_key: Annotated[
        list[str] | None, typer.Option(help="ARN of a KMS key that encrypts buckets or queues; may be repeated.")
    ] = None,
    ecs: Annotated[bool, typer.Option("--ecs", help="Add the actions for ECS scale-in protection.")] = False,
    producer: Annotated[
        bool, typer.Option("--producer", help="Policy of a program that sends requests and looks for archives.")
    ] = False,
    manifest_to: Annotated[
        str | None,
        typer.Option(
            "--manifest-to",
            metavar="s3://BUCKET/PREFIX/",
            help="With --producer: where send puts the files of long requests.",
        ),
    ] = None,
    consumer: Annotated[
        bool, typer.Option("--consumer", help="Policy of a program that receives answers, failures and progress.")
    ] = False,
) -> None:
    """
    Print the least-privilege IAM policy for these settings: of a worker, or with an option of a producer or consumer.
    AWS is queried only for values that neither the settings nor the options give.
    """
    keys = kms_key or ()
    roles = [name for name, given in (("--producer", producer), ("--consumer", consumer)) if given]
    worker_options = [name for name, given in (("--ecs", ecs), ("--dead-letter-queue", dead_letter_queue)) if given]
    if len(roles) > 1 or (roles and worker_options):
        message = f"{' and '.join(roles + worker_options)} can't be combined; print one policy at a time"
        raise CommandError(message, code=EXIT_USAGE)

    if manifest_to is not None and not producer:
        raise CommandError("--manifest-to goes with --producer: a worker reads manifests as sources", code=EXIT_USAGE)

    async def work() -> dict[str, object]:
        from archiver.core.policy import policy_document

        if producer:
            return policy_document(await _producer_statements(account, keys, manifest_to))
        if consumer:
            return policy_document(await _consumer_statements(account, keys))
        return policy_document(await _worker_statements(account, dead_letter_queue, keys, on_ecs=ecs))

    print_json(run_async(work))


async def _worker_statements(
    account: str | None, dead_letter_queue: str | None, kms_keys: Sequence[str], *, on_ecs: bool
) -> list["Statement"]:
    from archiver.core.policy import WorkerResources, worker_statements
    from archiver.core.references import reference_arn
    from archiver.core.ways_out_policy import WaysOutResources, ways_out_statements
    from archiver.doors.policy import read_policy
    from archiver.doors.references import references_of
    from archiver.settings import load_settings, require_settings

    settings = load_settings(environment())
    require_settings(settings, "SQS_SOURCE_QUEUE")
    source_queue = str(settings.source_queue)
    policy = read_policy(settings)
    answer_queues = [settings.destination_queue, settings.failure_queue, settings.progress_queue]
    source, *others = await resolve_arns([source_queue, *(name for name in answer_queues if name)], account)
    dlq_arn = dead_letter_queue or await _find_dead_letter_queue(source_queue)
    references = [*references_of(os.environ), *(policy.references if policy else ())]
    referred = [(one.service, reference_arn(one, source)) for one in references]
    allowed = [entry.strip() for entry in (settings.allowed_sources or "").split(",") if entry.strip()]
    resources = WorkerResources(
        source_queue=source,
        send_to=[*others, *([dlq_arn] if dlq_arn else [])],
        sources=allowed or [name for name in (settings.source_bucket,) if name],
        destination_bucket=settings.destination_bucket,
        kms_keys=[*kms_keys, *_key_arns(settings.archive_kms_key)],
        restores=settings.restore_tiers is not None,
        on_ecs=on_ecs,
        partition=_partition(source),
        roles=list(policy.roles) if policy else (),
        attribute_actions=_attribute_actions(settings, policy),
        parameters=[arn for service, arn in referred if service == "ssm"],
        secrets=[arn for service, arn in referred if service == "secretsmanager"],
    )
    ways_out = WaysOutResources(settings.notify_sns_topic, settings.notify_event_bus, settings.notify_lambda)
    return [
        *worker_statements(resources),
        *ways_out_statements(ways_out, source),
        *_after_statements(policy, resources.partition),
    ]


def _after_statements(policy: "OperatorPolicy | None", partition: str) -> list["Statement"]:
    if policy is None:
        return []
    from archiver.core.policy_after import after_statements

    return after_statements(policy.after, partition)


def _attribute_actions(settings: "Settings", policy: "OperatorPolicy | None") -> list[str]:
    from archiver.core.attributes import NO_ATTRIBUTE_RULES
    from archiver.core.policy import ACL_ACTIONS, TAG_ACTIONS

    allowed = policy.archives if policy else NO_ATTRIBUTE_RULES
    actions = list[str]()
    if settings.archive_acl or allowed.acl:
        actions += ACL_ACTIONS
    if settings.archive_tags or allowed.tags or allowed.expires_in:
        actions += TAG_ACTIONS
    return actions


async def _producer_statements(
    account: str | None, kms_keys: Sequence[str], manifest_to: str | None
) -> list["Statement"]:
    from archiver.cli.selection_input import parse_place
    from archiver.core.policy import producer_statements
    from archiver.settings import load_environment, require_settings

    settings = load_environment(environment())
    require_settings(settings, "SQS_SOURCE_QUEUE")
    (source,) = await resolve_arns([str(settings.source_queue)], account)
    place = parse_place(manifest_to) if manifest_to else None
    manifests = f"{place.bucket}/{place.key}" if place else None
    return producer_statements(source, settings.destination_bucket, kms_keys, _partition(source), manifests)


async def _consumer_statements(account: str | None, kms_keys: Sequence[str]) -> list["Statement"]:
    from archiver.core.policy import consumer_statements
    from archiver.settings import load_environment

    settings = load_environment(environment())
    queues = [name for name in (settings.destination_queue, settings.failure_queue, settings.progress_queue) if name]
    if not queues:
        message = "no queue to receive from; set SQS_DESTINATION_QUEUE, SQS_FAILURE_QUEUE or PROGRESS_QUEUE"
        raise CommandError(message, code=EXIT_USAGE)
    return consumer_statements(await resolve_arns(queues, account), kms_keys)


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _key_arns(key: str | None) -> list[str]:
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


async def _find_dead_letter_queue(queue: str) -> str | None:
    """Return the ARN of the dead-letter queue of *queue*. Raises CommandError if SQS does not return it."""
    from archiver.aws.request_client import get_dead_letter_queue_arn, sqs_client
    from archiver.errors import ArchiverError

    try:
        async with sqs_client() as client:
            return await get_dead_letter_queue_arn(client, queue)
    except ArchiverError as error:
        message = f"the dead-letter queue can't be read from SQS: {error}; name it with --dead-letter-queue ARN"
        raise CommandError(message, code=EXIT_USAGE) from None
