"""`archiver iam-policy`: the least that a worker, its producers or its consumers have to be allowed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import USAGE, Problem, environment, say_json
from archiver.cli.runner import carry_out

if TYPE_CHECKING:
    from archiver.core.policy import Grant


def add_to(app: typer.Typer) -> None:
    app.command("iam-policy", epilog="Example: archiver iam-policy --account 123456789012 > policy.json")(iam_policy)


def iam_policy(
    account: Annotated[
        str | None,
        typer.Option(help="The account that queues are named in; else taken from their URLs or ARNs, or asked."),
    ] = None,
    dead_letter_queue: Annotated[str | None, typer.Option(help="Its ARN; else asked of SQS.")] = None,
    kms_key: Annotated[
        list[str] | None, typer.Option(help="ARN of a key that buckets or queues are encrypted with; may be repeated.")
    ] = None,
    ecs: Annotated[bool, typer.Option("--ecs", help="Also what scale-in protection of ECS tasks needs.")] = False,
    producer: Annotated[
        bool, typer.Option("--producer", help="For who sends requests, and looks whether an archive is there.")
    ] = False,
    consumer: Annotated[bool, typer.Option("--consumer", help="For who hears answers, failures and progress.")] = False,
) -> None:
    """
    Print the least privilege for these settings, as an IAM policy: of a worker, or of a program beside it. AWS is asked
    only for what is not said.
    """
    chosen = [name for name, given in (("--producer", producer), ("--consumer", consumer)) if given]
    of_worker = [name for name, given in (("--ecs", ecs), ("--dead-letter-queue", dead_letter_queue)) if given]
    if len(chosen) > 1 or (chosen and of_worker):
        told = f"{' and '.join(chosen + of_worker)}: one policy is of one program: ask for each alone"
        raise Problem(told, code=USAGE)

    async def work() -> dict[str, object]:
        from archiver.core.policy import document

        keys = kms_key or ()
        if producer:
            return document(await _of_producer(account, keys))
        if consumer:
            return document(await _of_consumer(account, keys))
        return document(await _of_worker(account, dead_letter_queue, keys, on_ecs=ecs))

    say_json(carry_out(work))


async def _of_worker(
    account: str | None, dead_letter_queue: str | None, kms_keys: Sequence[str], *, on_ecs: bool
) -> list["Grant"]:
    from archiver.core.policy import Needs, grants
    from archiver.settings import load_settings

    settings = load_settings(environment())
    named = [settings.destination_queue, settings.failure_queue, settings.progress_queue]
    source, *others = await arns([settings.source_queue, *(name for name in named if name)], account)
    dead = dead_letter_queue or await _dead_letters(settings.source_queue)
    allowed = [entry.strip() for entry in (settings.allowed_sources or "").split(",") if entry.strip()]
    needs = Needs(
        source_queue=source,
        send_to=[*others, *([dead] if dead else [])],
        sources=allowed or [name for name in (settings.source_bucket,) if name],
        destination_bucket=settings.destination_bucket,
        kms_keys=[*kms_keys, *_arn(settings.archive_kms_key)],
        on_ecs=on_ecs,
        partition=_partition(source),
    )
    return grants(needs)


async def _of_producer(account: str | None, kms_keys: Sequence[str]) -> list["Grant"]:
    from archiver.core.policy import producer_grants
    from archiver.settings import load_environment, needed

    settings = load_environment(environment())
    needed(settings, "SQS_SOURCE_QUEUE")
    (source,) = await arns([str(settings.source_queue)], account)
    return producer_grants(source, settings.destination_bucket, kms_keys, _partition(source))


async def _of_consumer(account: str | None, kms_keys: Sequence[str]) -> list["Grant"]:
    from archiver.core.policy import consumer_grants
    from archiver.settings import load_environment

    settings = load_environment(environment())
    queues = [name for name in (settings.destination_queue, settings.failure_queue, settings.progress_queue) if name]
    if not queues:
        told = "nothing is told to anyone: set SQS_DESTINATION_QUEUE, SQS_FAILURE_QUEUE or PROGRESS_QUEUE"
        raise Problem(told, code=USAGE)
    return consumer_grants(await arns(queues, account), kms_keys)


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _arn(key: str | None) -> list[str]:
    """*key* where it is an ARN: what else names a key can't be granted without asking."""
    return [key] if key is not None and key.startswith("arn:") else []


async def arns(queues: list[str], account: str | None) -> list[str]:
    """Their ARNs, made up from what is known, and asked for where that is not enough."""
    from archiver.aws.request_client import queue_arn_of, sqs_client
    from archiver.core.policy import queue_arn

    environ = environment()
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    known = [queue_arn(queue, region, account) for queue in queues]
    if all(known):
        return [str(arn) for arn in known]
    async with sqs_client() as client:
        return [arn or await queue_arn_of(client, queue) for arn, queue in zip(known, queues, strict=True)]


async def _dead_letters(queue: str) -> str | None:
    """The ARN of the dead-letter queue behind *queue*. Raises Problem where SQS does not tell."""
    from archiver.aws.request_client import redrive_target, sqs_client
    from archiver.errors import ArchiverError

    try:
        async with sqs_client() as client:
            return await redrive_target(client, queue)
    except ArchiverError as error:
        sentence = f"the dead-letter queue could not be asked for ({error}): name it with --dead-letter-queue ARN"
        raise Problem(sentence, code=USAGE) from None
