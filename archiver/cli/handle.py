"""`archiver handle`: do one event as the Lambda function does, in an ECS task or on a laptop."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.answer import FAILURES
from archiver.cli.console import EXIT_FAILED, EXIT_RETRY_LATER, EXIT_USAGE, CommandError, environment, print_json
from archiver.cli.input_file import decode_input, read_input
from archiver.worker.signals import exit_on_signal, stop_signals

if TYPE_CHECKING:
    from archiver.awslambda.task import Handled
    from archiver.core.locations import Location


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver handle event.json")(handle)


def handle(
    event: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-|s3://BUCKET/KEY]", help="The event as JSON. Default: the variable TASK_ORDER."),
    ] = None,
) -> None:
    """
    Do one event as the Lambda function does: a request, or an event of SQS, S3, EventBridge or SNS. Prints the answers.

    Settings come from the environment, as those of the worker. Exits 1 if a request failed, 3 if one was not finished.
    """
    exit_on_signal()  # until the event is read: a pipe may never have an end
    from archiver.core.tasks import ORDER_VARIABLE
    from archiver.telemetry.logs import configure_logs
    from archiver.telemetry.stdout import open_stderr

    text = os.environ.get(ORDER_VARIABLE, "") if event is None else event
    if not text.strip():
        raise CommandError(f"name the event: a file, - or s3://bucket/key, or set {ORDER_VARIABLE}", code=EXIT_USAGE)
    given = _given(text, is_content=event is None)
    stop_signals.listen()
    output = open_stderr()
    configure_logs(stream=output)
    try:
        handled = _run(given, output.write)
    finally:
        output.finish()
    for answer in handled.answers:
        print_json(answer)
    if handled.unfinished:
        raise CommandError("the event was not finished: the log says why", code=EXIT_RETRY_LATER)
    if any(answer.get("status") in FAILURES for answer in handled.answers if isinstance(answer, dict)):
        raise typer.Exit(EXIT_FAILED)


def _given(text: str, *, is_content: bool) -> "Location | str":
    """Return the event, or where it is in S3. *is_content*: *text* is no name of a file. Raises CommandError."""
    from archiver.core.locations import parse_source
    from archiver.errors import Rejected

    if text.lower().startswith("s3://"):
        try:
            return parse_source(text, None)
        except Rejected as problem:
            raise CommandError(f"{text}: {problem.message}", code=EXIT_USAGE) from None
    if is_content:
        return text
    from archiver.awslambda.task import MAX_EVENT_BYTES

    return decode_input(read_input(text, "the event", MAX_EVENT_BYTES), text)


def _run(given: "Location | str", write: Callable[[str], object]) -> "Handled":
    from archiver.awslambda.task import handle_event
    from archiver.cli.error_messages import errors_as_messages
    from archiver.errors import Rejected
    from archiver.settings import load_function_settings

    async def run() -> "Handled":
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_signal() -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is already exiting
                loop.call_soon_threadsafe(stop.set)

        stop_signals.on_stop(on_signal)
        name = hashlib.sha256(str(given).encode(errors="surrogatepass")).hexdigest()[:32]
        return await handle_event(settings, given, name, stop, write)

    with errors_as_messages():
        settings = load_function_settings(environment())
        try:
            return asyncio.run(run())
        except Rejected as problem:
            raise CommandError(problem.message, code=EXIT_USAGE) from None
