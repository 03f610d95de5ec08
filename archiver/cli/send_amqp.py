"""`archiver send --amqp`: the request goes to RabbitMQ instead of SQS."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, print_json, print_line
from archiver.cli.request_input import file_count

if TYPE_CHECKING:
    from archiver.settings import Environment

Amqp = Annotated[
    bool, typer.Option("--amqp", help="Send to RabbitMQ: AMQP_QUEUE (or --queue) at AMQP_HOSTNAME, without --wait.")
]


def refuse_wait() -> None:
    """Raises CommandError."""
    raise CommandError(
        "--wait: goes with SQS only; replies of RabbitMQ go to the queues that are bound to job_response",
        code=EXIT_USAGE,
    )


async def send_to_broker(
    body: str, request: dict[str, Any], settings: "Environment", queue: str | None, *, as_json: bool
) -> None:
    """Publish *body*, which is *request*, and print its message id. *queue*: instead of AMQP_QUEUE."""
    from archiver.amqp.request import publish_request
    from archiver.doors.amqp import broker_address
    from archiver.settings import require_settings

    if queue is None:
        require_settings(settings, "AMQP_QUEUE")
    name, job_id = queue or str(settings.amqp_queue), request.get("job_id")
    message = await publish_request(broker_address(settings), name, body)
    if as_json:
        print_json({"message_id": message, "job_id": job_id, "queue": name})
    else:
        print_line(f"sent {file_count(request)} to {name}: message {message}" + (f", job {job_id}" if job_id else ""))
