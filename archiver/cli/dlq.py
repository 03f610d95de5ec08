"""`archiver dlq`: list, redrive and delete rejected messages."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from archiver.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandError,
    environment,
    print_json,
    print_line,
    print_note,
    suggest,
    write_error,
)
from archiver.cli.runner import run_async
from archiver.core.printable import printable

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from archiver.aws.dead_letters import DeadLetterQueue, QueueScan
    from archiver.core.dead_letters import DeadLetter, DeadLetterFilter

Queue = Annotated[
    str | None,
    typer.Option(help="Dead-letter queue: name, URL or ARN. Default: from the redrive policy of SQS_SOURCE_QUEUE."),
]
Limit = Annotated[int, typer.Option(min=1, help="Read at most this many messages.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Code = Annotated[str | None, typer.Option(help="Only messages rejected with this code.")]
JobId = Annotated[str | None, typer.Option("--job-id", "-j", help="Only messages of this job.")]
Id = Annotated[
    str | None, typer.Option("--id", help="Only the message with this id, in this queue or when it was first sent.")
]
All = Annotated[bool, typer.Option("--all", help="All messages.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DEFAULT_LIMIT = 10_000
MAX_CODE_CHARS = 40  # a message that SQS moved here may have any text as its code


def add_to(app: typer.Typer) -> None:
    commands = typer.Typer(help="List, redrive and delete rejected messages.", no_args_is_help=True)
    commands.command("list", epilog="Example: archiver dlq list")(list_)
    commands.command(epilog="Example: archiver dlq show --code source_missing")(show)
    commands.command(epilog="Example: archiver dlq redrive --code source_missing --yes")(redrive)
    commands.command(epilog="Example: archiver dlq drop --job-id order-4711")(drop)
    app.add_typer(commands, name="dlq")


def list_(queue: Queue = None, limit: Limit = DEFAULT_LIMIT, json_: Json = False) -> None:
    """List rejected messages, grouped by code. The messages stay in the queue."""
    from archiver.core.dead_letters import DeadLetterFilter, group_by_code

    async def work() -> None:
        dead_letters, scan = await _scan(queue, limit, DeadLetterFilter())
        if json_:
            messages = [_to_json(dead_letter) for dead_letter in dead_letters]
            print_json({"complete": scan.complete, "hidden": scan.hidden, "messages": messages})
            return
        if not dead_letters:
            print_line("the dead-letter queue is empty")
        for group in group_by_code(dead_letters):
            jobs = ", ".join(group.jobs)
            print_line(
                f"{group.count:>6}  {group.code[:MAX_CODE_CHARS]:<20} since {group.oldest:%Y-%m-%d %H:%M} UTC  {jobs}"
            )
            print_line(f"{'':>6}  {group.reason[:200]}")
        _print_incomplete(scan, f"only the first {len(dead_letters):,} messages were read; raise --limit to read more")

    run_async(work)


def show(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    limit: Limit = DEFAULT_LIMIT,
    json_: Json = False,
) -> None:
    """Print messages with reason and body: those that match the options, or all."""
    selection = _build_filter(code, job_id, id_)

    async def work() -> None:
        dead_letters, scan = await _scan(queue, limit, selection)
        if json_:
            print_json([_to_json(dead_letter) for dead_letter in dead_letters])
        for dead_letter in [] if json_ else dead_letters:
            _print_dead_letter(dead_letter)
        _print_incomplete(scan, "the queue was not read completely; raise --limit to read more")
        if not dead_letters and not json_:
            raise CommandError("no matching message in the dead-letter queue", code=EXIT_FAILED)

    run_async(work)


def redrive(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    all_: All = False,
    yes: Yes = False,
    limit: Limit = DEFAULT_LIMIT,
    json_: Json = False,
) -> None:
    """Send messages back to the source queue, without the attributes that the rejection added."""
    from archiver.aws.dead_letters import redrive_all

    selection = _build_filter(code, job_id, id_)
    _require_filter(selection, all_=all_)
    _confirm("send back", selection, yes=yes)

    async def work() -> None:
        async with _open_queue(queue) as (client, dlq):
            moved = await redrive_all(client, dlq, _print_progress) if selection.all else None
            if moved is None:
                moved = await _for_each_match(client, dlq, selection, limit, "redrive")
            _print_count("sent back", moved, as_json=json_)

    run_async(work)


def drop(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    all_: All = False,
    yes: Yes = False,
    limit: Limit = DEFAULT_LIMIT,
    json_: Json = False,
) -> None:
    """Delete messages permanently."""
    selection = _build_filter(code, job_id, id_)
    _require_filter(selection, all_=all_)
    _confirm("delete", selection, yes=yes)

    async def work() -> None:
        async with _open_queue(queue) as (client, dlq):
            _print_count("deleted", await _for_each_match(client, dlq, selection, limit, "drop"), as_json=json_)

    run_async(work)


@asynccontextmanager
async def _open_queue(named: str | None) -> AsyncIterator[tuple["SQSClient", "DeadLetterQueue"]]:
    from archiver.aws.dead_letters import open_dead_letter_queue
    from archiver.aws.request_client import sqs_client
    from archiver.cli.source import require_sqs
    from archiver.settings import load_environment

    settings = load_environment(environment())
    require_sqs(settings, "look at AMQP_DEAD_LETTER_QUEUE with RabbitMQ's own tools (docs/rabbitmq.md)")
    async with sqs_client() as client:
        dlq = await open_dead_letter_queue(client, str(settings.source_queue), named)
        if dlq.scan_counts_as_receive:
            print_note("warning: the dead-letter queue has its own redrive policy: each read counts as a receive")
        yield client, dlq


async def _scan(named: str | None, limit: int, selection: "DeadLetterFilter") -> tuple[list["DeadLetter"], "QueueScan"]:
    from archiver.aws.dead_letters import QueueScan

    async with _open_queue(named) as (client, dlq), QueueScan(client, dlq, limit) as scan:
        found = [received.dead_letter async for received in scan.messages() if selection.matches(received.dead_letter)]
        return sorted(found, key=lambda dead_letter: dead_letter.sent_at), scan


def _print_incomplete(scan: "QueueScan", limited: str) -> None:
    """Print why messages were not read: held back by a FIFO queue, or *limited* if --limit is the only reason."""
    if scan.hidden:
        print_note(
            f"about {scan.hidden:,} more messages are not shown: a FIFO queue holds back messages behind others of "
            "their message group; redrive or drop those first"
        )
    elif not scan.complete:
        print_note(limited)


async def _for_each_match(
    client: "SQSClient", dlq: "DeadLetterQueue", selection: "DeadLetterFilter", limit: int, verb: str
) -> int:
    """
    Redrive or drop (*verb*) every message that matches *selection* and was sent before the command began.

    Returns their number. Each message is handled as soon as it is received: a FIFO queue releases the next message of
    a group only then.
    """
    from archiver.aws.dead_letters import QueueScan

    count = 0
    async with QueueScan(client, dlq, limit) as scan:
        act = scan.redrive if verb == "redrive" else scan.drop
        async for received in scan.messages():
            if selection.matches(received.dead_letter) and scan.predates_scan(received):
                await act(received)
                count += 1
    _print_incomplete(scan, "the queue was not read completely; run the command again or raise --limit")
    return count


def _build_filter(code: str | None, job_id: str | None, id_: str | None) -> "DeadLetterFilter":
    """Return the filter of the options. Raises CommandError if *code* is not an error code."""
    from archiver.core.dead_letters import NO_CODE, DeadLetterFilter
    from archiver.errors import Code as Known

    known = (*get_args(Known), NO_CODE)
    if code not in (None, *known):
        raise CommandError(
            f"--code {code}: unknown code{suggest(str(code), known)}; known codes: {', '.join(known)}",
            code=EXIT_USAGE,
        )
    return DeadLetterFilter(code, job_id, id_)


def _require_filter(selection: "DeadLetterFilter", *, all_: bool) -> None:
    if selection.all and not all_:
        raise CommandError("no messages selected; use --code, --job-id or --id, or --all", code=EXIT_USAGE)
    if all_ and not selection.all:
        raise CommandError("--all can't be combined with --code, --job-id or --id; leave one out", code=EXIT_USAGE)


def _confirm(what: str, selection: "DeadLetterFilter", *, yes: bool) -> None:
    if yes:
        return
    filters = [
        f"{name} {value}"
        for name, value in (("code", selection.code), ("job", selection.job_id), ("message", selection.id))
        if value
    ]
    which = f"the messages of {' and '.join(filters)}" if filters else "all messages"
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandError(
            f"this would {what} {which}; confirm with --yes, as standard input is not a terminal", code=EXIT_USAGE
        )
    if not typer.confirm(printable(f"{what} {which}?")):
        raise CommandError("cancelled; nothing was changed", code=EXIT_FAILED)


def _print_progress(moved: int, planned: int | None) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        write_error(f"\rmoving {moved:,}" + (f" of {planned:,}" if planned is not None else ""))


def _print_count(what: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({what.replace(" ", "_"): count})
    else:
        print_line(f"{what}: {count:,} {'message' if count == 1 else 'messages'}")


def _to_json(dead_letter: "DeadLetter") -> dict[str, Any]:
    return {
        "message_id": dead_letter.id,
        "first_message_id": dead_letter.original_id,
        "job_id": dead_letter.job_id,
        "code": dead_letter.code,
        "reason": dead_letter.reason,
        "sent_at": f"{dead_letter.sent_at:%Y-%m-%dT%H:%M:%SZ}",
        "body": dead_letter.body,
    }


def _print_dead_letter(dead_letter: "DeadLetter") -> None:
    print_line(
        f"message  {dead_letter.id}" + (f" (sent as {dead_letter.original_id})" if dead_letter.original_id else "")
    )
    if dead_letter.job_id:
        print_line(f"job      {dead_letter.job_id}")
    print_line(f"sent     {dead_letter.sent_at:%Y-%m-%d %H:%M:%S} UTC")
    print_line(f"code     {dead_letter.code}")
    print_line(f"reason   {dead_letter.reason}")
    for number, line in enumerate(dead_letter.body.splitlines()):
        print_line(f"{'' if number else 'body':<9}{line}")
    print_line()
