"""The source of messages that the settings name, for commands that need its id, or an SQS queue."""

from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_USAGE, CommandError

if TYPE_CHECKING:
    from archiver.settings import Environment


def require_source(settings: "Environment", *names: str) -> None:
    """Check that *settings* name a source, and the variables *names*. Raises SettingsError."""
    from archiver.settings import require_settings

    elsewhere = settings.amqp_queue is not None or settings.source_orders is not None
    require_settings(settings, *(() if elsewhere else ("SQS_SOURCE_QUEUE",)), *names)


def require_sqs(settings: "Environment", instead: str, *names: str) -> None:
    """
    Check that the source of *settings* is an SQS queue, and the variables *names*. *instead*: what to do with RabbitMQ.
    Raises SettingsError, CommandError.
    """
    from archiver.settings import require_settings

    if settings.source_queue is None and settings.amqp_queue is not None:
        raise CommandError(
            f"AMQP_QUEUE is set, and this command works with SQS queues only: {instead}", code=EXIT_USAGE
        )
    if settings.source_queue is None and settings.source_orders is not None:
        message = "SOURCE_ORDERS is set, and this command works with SQS queues only: order files have no queue"
        raise CommandError(message, code=EXIT_USAGE)
    require_settings(settings, "SQS_SOURCE_QUEUE", *names)


async def source_id(settings: "Environment", account: str | None) -> str:
    """Return the id of the source, which is in the keys of archives. *account* owns the queue, if it is one of SQS."""
    from archiver.cli.policy_resources import resolve_arns
    from archiver.core.amqp_rules import amqp_source_id
    from archiver.core.orders import SOURCE_ID

    if settings.amqp_queue is not None:
        return amqp_source_id(settings.amqp_vhost, settings.amqp_queue)
    if settings.source_orders is not None:
        return SOURCE_ID
    (queue,) = await resolve_arns([str(settings.source_queue)], account)
    return queue
