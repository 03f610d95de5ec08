"""The permissions of a worker, from its settings."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_USAGE, CommandError, environment
from archiver.cli.policy_resources import find_account, find_dead_letter_queue, key_arns, partition_of, resolve_arns

if TYPE_CHECKING:
    from archiver.core.operator_policy import OperatorPolicy
    from archiver.core.policy import Statement, WorkerResources
    from archiver.settings import Environment


@dataclass(frozen=True, slots=True)
class Needs:
    """The options about a worker. *account* owns the queues; *dead_letter_queue* is an ARN."""

    account: str | None = None
    dead_letter_queue: str | None = None
    kms_keys: Sequence[str] = ()
    on_ecs: bool = False


async def worker_mode_statements(needs: Needs) -> list["Statement"]:
    """Return the permissions of a worker with the settings of the environment. Raises SettingsError, CommandError."""
    from archiver.core.policy import worker_statements
    from archiver.settings import load_settings

    settings = load_settings(environment())
    if settings.source_queue is None:
        return await _statements_without_queue(settings, needs)
    (source,) = await resolve_arns([str(settings.source_queue)], needs.account)
    dead_letters = needs.dead_letter_queue or await find_dead_letter_queue(str(settings.source_queue))
    resources = await worker_resources(settings, replace(needs, dead_letter_queue=dead_letters), source)
    return [*worker_statements(resources), *further_statements(settings, source)]


async def _statements_without_queue(settings: "Environment", needs: Needs) -> list["Statement"]:
    """
    Return the permissions of a worker that reads RabbitMQ or order files. The account is needed only if the settings
    name something in it without an ARN.
    """
    from archiver.core.mode_policy import Account, one_off_statements
    from archiver.core.policy import region_partition
    from archiver.doors.policy import read_policy
    from archiver.doors.references import references_of

    if needs.dead_letter_queue:
        message = "--dead-letter-queue goes with SQS_SOURCE_QUEUE: other sources have no dead-letter queue in AWS"
        raise CommandError(message, code=EXIT_USAGE)
    policy = read_policy(settings)
    named = [settings.notify_event_bus, settings.notify_lambda]
    references = [*references_of(os.environ), *(policy.references if policy else ())]
    if needs.on_ecs or references or any(name and not name.startswith("arn:") for name in named):
        place = find_account(needs.account)
    else:
        environ = environment()
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        place = Account(region, needs.account or "", region_partition(region))
    source = place.arn("sqs", "none")
    resources = await worker_resources(settings, needs, source)
    return [*one_off_statements(resources), *further_statements(settings, source)]


def further_statements(settings: "Environment", source: str) -> list["Statement"]:
    """Return what the ways out and the policy file of *settings* need. *source*: as in `worker_resources`."""
    from archiver.core.ways_out_policy import WaysOutResources, ways_out_statements
    from archiver.doors.policy import read_policy

    ways_out = WaysOutResources(settings.notify_sns_topic, settings.notify_event_bus, settings.notify_lambda)
    return [
        *ways_out_statements(ways_out, source),
        *_after_statements(read_policy(settings), partition_of(source)),
    ]


async def worker_resources(settings: "Environment", needs: Needs, source: str) -> "WorkerResources":
    """Return what *settings* name. *source*: the ARN of the source queue, or any ARN in its region and account."""
    from archiver.core.policy import WorkerResources
    from archiver.core.references import reference_arn
    from archiver.doors.policy import read_policy
    from archiver.doors.references import references_of

    policy = read_policy(settings)
    answer_queues = [settings.destination_queue, settings.failure_queue, settings.progress_queue]
    others = await resolve_arns([name for name in answer_queues if name], needs.account)
    dead_letters = [needs.dead_letter_queue] if needs.dead_letter_queue else []
    references = [*references_of(os.environ), *(policy.references if policy else ())]
    referred = [(one.service, reference_arn(one, source)) for one in references]
    allowed = [entry.strip() for entry in (settings.allowed_sources or "").split(",") if entry.strip()]
    return WorkerResources(
        source_queue=source,
        send_to=[*others, *dead_letters],
        sources=allowed or [name for name in (settings.source_bucket,) if name],
        destination_bucket=settings.destination_bucket or "",
        kms_keys=[*needs.kms_keys, *key_arns(settings.archive_kms_key)],
        restores=settings.restore_tiers is not None,
        on_ecs=needs.on_ecs,
        partition=partition_of(source),
        roles=list(policy.roles) if policy else (),
        attribute_actions=_attribute_actions(settings, policy),
        parameters=[arn for service, arn in referred if service == "ssm"],
        secrets=[arn for service, arn in referred if service == "secretsmanager"],
    )


def _after_statements(policy: "OperatorPolicy | None", partition: str) -> list["Statement"]:
    if policy is None:
        return []
    from archiver.core.policy_after import after_statements

    return after_statements(policy.after, partition)


def _attribute_actions(settings: "Environment", policy: "OperatorPolicy | None") -> list[str]:
    from archiver.core.attributes import NO_ATTRIBUTE_RULES
    from archiver.core.policy import ACL_ACTIONS, TAG_ACTIONS

    allowed = policy.archives if policy else NO_ATTRIBUTE_RULES
    actions = list[str]()
    if settings.archive_acl or allowed.acl:
        actions += ACL_ACTIONS
    if settings.archive_tags or allowed.tags or allowed.expires_in:
        actions += TAG_ACTIONS
    return actions
