"""`archiver iam-policy`: the least-privilege IAM policy of a worker, a producer or a consumer, or of another mode."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, environment, print_json
from archiver.cli.policy_modes import OtherMode
from archiver.cli.policy_resources import partition_of, resolve_arns
from archiver.cli.policy_worker import Needs, worker_mode_statements
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.policy import Statement


def add_to(app: typer.Typer) -> None:
    app.command("iam-policy", epilog="Example: archiver iam-policy --account 123456789012 > policy.json")(iam_policy)


Account = Annotated[
    str | None,
    typer.Option(help="Account id of the queues. Default: from their URLs or ARNs, else from SQS."),
]
DeadLetterQueue = Annotated[
    str | None, typer.Option(help="ARN of the dead-letter queue. Default: from the source queue's redrive policy.")
]
KmsKey = Annotated[
    list[str] | None, typer.Option(help="ARN of a KMS key that encrypts buckets or queues; may be repeated.")
]
Mode = Annotated[
    str,
    typer.Option(
        metavar="worker|task|ecs-run|lambda|invoke",
        help="Of a worker, a one-off task, who runs ecs-run, the function, who invokes it.",
    ),
]
PassRole = Annotated[
    list[str] | None,
    typer.Option(metavar="ARN", help="With ecs-run, lambda: a role of the one-off task; may be repeated."),
]
LogGroup = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With ecs-run: log group of the task. With lambda: of the function."),
]
Function = Annotated[
    str | None, typer.Option(help="With lambda, invoke: its name or ARN. Default: ARCHIVER_LAMBDA_FUNCTION.")
]
Producer = Annotated[
    bool, typer.Option("--producer", help="Policy of a program that sends requests and looks for archives.")
]
ManifestTo = Annotated[
    str | None,
    typer.Option(
        "--manifest-to",
        metavar="s3://BUCKET/PREFIX/",
        help="With --producer: where send puts the files of long requests.",
    ),
]
Consumer = Annotated[
    bool, typer.Option("--consumer", help="Policy of a program that receives answers, failures and progress.")
]


def iam_policy(
    account: Account = None,
    dead_letter_queue: DeadLetterQueue = None,
    kms_key: KmsKey = None,
    mode: Mode = "worker",
    pass_role: PassRole = None,
    log_group: LogGroup = None,
    function: Function = None,
    ecs: Annotated[bool, typer.Option("--ecs", help="Add the actions for ECS scale-in protection.")] = False,
    producer: Producer = False,
    manifest_to: ManifestTo = None,
    consumer: Consumer = False,
) -> None:
    """
    Print the least-privilege IAM policy for these settings: of a worker, or with an option of a producer or consumer.
    AWS is queried only for values that neither the settings nor the options give.
    """
    keys = kms_key or ()
    needs = Needs(account, dead_letter_queue, tuple(keys), on_ecs=ecs)
    other = OtherMode(mode, tuple(pass_role or ()), log_group, function)
    _check_combination(mode, needs, producer=producer, consumer=consumer)
    if manifest_to is not None and not producer:
        raise CommandError("--manifest-to goes with --producer: a worker reads manifests as sources", code=EXIT_USAGE)
    other.check()

    async def work() -> dict[str, object]:
        from archiver.core.policy import policy_document

        if producer:
            return policy_document(await _producer_statements(account, keys, manifest_to))
        if consumer:
            return policy_document(await _consumer_statements(account, keys))
        if mode == "worker":
            return policy_document(await worker_mode_statements(needs))
        return policy_document(await other.statements(needs))

    print_json(run_async(work))


def _check_combination(mode: str, needs: Needs, *, producer: bool, consumer: bool) -> None:
    """Raises CommandError."""
    roles = [name for name, given in (("--producer", producer), ("--consumer", consumer)) if given]
    roles += [f"--mode {mode}"] if mode != "worker" else []
    dead_letters = needs.dead_letter_queue if mode != "task" else None  # of a task: that of what a function hands on
    options = [name for name, given in (("--ecs", needs.on_ecs), ("--dead-letter-queue", dead_letters)) if given]
    if len(roles) > 1 or (roles and options and mode != "lambda"):
        message = f"{' and '.join(roles + options)} can't be combined; print one policy at a time"
        raise CommandError(message, code=EXIT_USAGE)


async def _producer_statements(
    account: str | None, kms_keys: Sequence[str], manifest_to: str | None
) -> list["Statement"]:
    from archiver.cli.selection_input import parse_place
    from archiver.cli.source import require_sqs
    from archiver.core.policy import producer_statements
    from archiver.settings import load_environment

    settings = load_environment(environment())
    require_sqs(settings, "RabbitMQ has permissions of its own")
    (source,) = await resolve_arns([str(settings.source_queue)], account)
    place = parse_place(manifest_to) if manifest_to else None
    manifests = f"{place.bucket}/{place.key}" if place else None
    return producer_statements(source, settings.destination_bucket, kms_keys, partition_of(source), manifests)


async def _consumer_statements(account: str | None, kms_keys: Sequence[str]) -> list["Statement"]:
    from archiver.core.policy import consumer_statements
    from archiver.settings import load_environment

    settings = load_environment(environment())
    queues = [name for name in (settings.destination_queue, settings.failure_queue, settings.progress_queue) if name]
    if not queues:
        message = "no queue to receive from; set SQS_DESTINATION_QUEUE, SQS_FAILURE_QUEUE or PROGRESS_QUEUE"
        raise CommandError(message, code=EXIT_USAGE)
    return consumer_statements(await resolve_arns(queues, account), kms_keys)
