"""`archiver iam-policy`: the least that a worker with these settings has to be allowed."""

from typing import Annotated

import typer

from archiver.cli.console import USAGE, Problem, carry_out, environment, say_json


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
) -> None:
    """Print the least privilege for these settings, as an IAM policy. AWS is asked only for what is not said."""

    async def work() -> dict[str, object]:
        from archiver.core.policy import Needs, document, grants
        from archiver.settings import load_settings

        settings = load_settings(environment())
        named = [settings.destination_queue, settings.failure_queue, settings.progress_queue]
        source, *others = await _arns([settings.source_queue, *(name for name in named if name)], account)
        dead = dead_letter_queue or await _dead_letters(settings.source_queue)
        allowed = [entry.strip() for entry in (settings.allowed_sources or "").split(",") if entry.strip()]
        needs = Needs(
            source_queue=source,
            send_to=[*others, *([dead] if dead else [])],
            sources=allowed or [name for name in (settings.source_bucket,) if name],
            destination_bucket=settings.destination_bucket,
            kms_keys=[*(kms_key or ()), *_arn(settings.archive_kms_key)],
            on_ecs=ecs,
            partition=source.split(":")[1],
        )
        return document(grants(needs))

    say_json(carry_out(work))


def _arn(key: str | None) -> list[str]:
    """*key* where it is an ARN: what else names a key can't be granted without asking."""
    return [key] if key is not None and key.startswith("arn:") else []


async def _arns(queues: list[str], account: str | None) -> list[str]:
    """Their ARNs, made up from what is known, and asked for where that is not enough."""
    from archiver.aws.asking import queue_arn_of, sqs_client
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
    from archiver.aws.asking import redrive_target, sqs_client
    from archiver.errors import ArchiverError

    try:
        async with sqs_client() as client:
            return await redrive_target(client, queue)
    except ArchiverError as error:
        sentence = f"the dead-letter queue could not be asked for ({error}): name it with --dead-letter-queue ARN"
        raise Problem(sentence, code=USAGE) from None
