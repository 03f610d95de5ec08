"""`archiver dlq`: what was rejected and why, and how it goes back once mended."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from archiver.cli.console import NO, USAGE, Problem, environment, meant, note, say, say_json, write_error
from archiver.cli.runner import carry_out
from archiver.core.printable import printable

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from archiver.aws.dead_letters import DeadLetterQueue, Look
    from archiver.core.dead_letters import Choice, Reject

Queue = Annotated[
    str | None,
    typer.Option(help="The dead-letter queue: name, URL or ARN. Else the one of SQS_SOURCE_QUEUE's redrive policy."),
]
Limit = Annotated[int, typer.Option(min=1, help="Look at so many messages at the most.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Code = Annotated[str | None, typer.Option(help="Those that were rejected with this code.")]
JobId = Annotated[str | None, typer.Option("--job-id", "-j", help="Those of this job.")]
Id = Annotated[str | None, typer.Option("--id", help="The one with this message id, here or when it was sent.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LIMIT = 10_000
LONGEST_CODE = 40  # characters of what may be anything, where SQS moved the message


def add_to(app: typer.Typer) -> None:
    commands = typer.Typer(help="What was rejected and why; send it back once mended.", no_args_is_help=True)
    commands.command("list", epilog="Example: archiver dlq list")(list_)
    commands.command(epilog="Example: archiver dlq show --code source_missing")(show)
    commands.command(epilog="Example: archiver dlq redrive --code source_missing --yes")(redrive)
    commands.command(epilog="Example: archiver dlq drop --job-id order-4711")(drop)
    app.add_typer(commands, name="dlq")


def list_(queue: Queue = None, limit: Limit = LIMIT, json_: Json = False) -> None:
    """What was rejected, grouped by code. Nothing is changed: messages that were looked at are there again at once."""
    from archiver.core.dead_letters import Choice, grouped

    async def work() -> None:
        rejects, look = await _look(queue, limit, Choice())
        if json_:
            messages = [_data(reject) for reject in rejects]
            say_json({"complete": look.complete, "hidden": look.hidden, "messages": messages})
            return
        if not rejects:
            say("the dead-letter queue is empty")
        for group in grouped(rejects):
            jobs = ", ".join(group.jobs)
            say(f"{group.count:>6}  {group.code[:LONGEST_CODE]:<20} since {group.oldest:%Y-%m-%d %H:%M} UTC  {jobs}")
            say(f"{'':>6}  {group.reason[:200]}")
        _incomplete(look, f"only the first {len(rejects):,} were looked at: --limit raises that")

    carry_out(work)


def show(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    limit: Limit = LIMIT,
    json_: Json = False,
) -> None:
    """Messages with their reason and body, all of them unless chosen."""
    choice = _choice(code, job_id, id_)

    async def work() -> None:
        rejects, look = await _look(queue, limit, choice)
        if json_:
            say_json([_data(reject) for reject in rejects])
        for reject in [] if json_ else rejects:
            _show(reject)
        _incomplete(look, "not all of the queue was looked at: --limit raises that")
        if not rejects and not json_:
            raise Problem("no such message in the dead-letter queue", code=NO)

    carry_out(work)


def redrive(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    all_: All = False,
    yes: Yes = False,
    limit: Limit = LIMIT,
    json_: Json = False,
) -> None:
    """Send messages back to the source queue, without the reason of their rejection."""
    from archiver.aws.dead_letters import move_all

    choice = _choice(code, job_id, id_)
    _chosen(choice, all_=all_)
    _confirm("send back", choice, yes=yes)

    async def work() -> None:
        async with _opened(queue) as (client, dead):
            moved = await move_all(client, dead, _moving) if choice.all else None
            if moved is None:
                moved = await _each(client, dead, choice, limit, "send_back")
            _done("sent back", moved, as_json=json_)

    carry_out(work)


def drop(
    queue: Queue = None,
    code: Code = None,
    job_id: JobId = None,
    id_: Id = None,
    all_: All = False,
    yes: Yes = False,
    limit: Limit = LIMIT,
    json_: Json = False,
) -> None:
    """Delete messages for good."""
    choice = _choice(code, job_id, id_)
    _chosen(choice, all_=all_)
    _confirm("delete", choice, yes=yes)

    async def work() -> None:
        async with _opened(queue) as (client, dead):
            _done("deleted", await _each(client, dead, choice, limit, "drop"), as_json=json_)

    carry_out(work)


@asynccontextmanager
async def _opened(named: str | None) -> AsyncIterator[tuple["SQSClient", "DeadLetterQueue"]]:
    from archiver.aws.dead_letters import open_dead_letters
    from archiver.aws.request_client import sqs_client
    from archiver.settings import load_environment, needed

    settings = load_environment(environment())
    needed(settings, "SQS_SOURCE_QUEUE")
    async with sqs_client() as client:
        dead = await open_dead_letters(client, str(settings.source_queue), named)
        if dead.peeking_counts:
            note("warning: this queue has a redrive policy of its own: each look counts as a receive")
        yield client, dead


async def _look(named: str | None, limit: int, choice: "Choice") -> tuple[list["Reject"], "Look"]:
    from archiver.aws.dead_letters import Look

    async with _opened(named) as (client, dead), Look(client, dead, limit) as look:
        found = [held.reject async for held in look.messages() if choice.takes(held.reject)]
        return sorted(found, key=lambda reject: reject.sent_at), look


def _incomplete(look: "Look", limited: str) -> None:
    """Say what was not seen, and why: *limited* where it is for --limit alone."""
    if look.hidden:
        note(
            f"about {look.hidden:,} more are not shown: a FIFO queue keeps back what stands behind others of its "
            "message group; it comes when those before it are sent back or dropped"
        )
    elif not look.complete:
        note(limited)


async def _each(client: "SQSClient", dead: "DeadLetterQueue", choice: "Choice", limit: int, verb: str) -> int:
    """
    Do *verb* with every message that *choice* takes and that was there when the command began; how many. At once, one
    after the other: a FIFO queue goes on with a message group only then.
    """
    from archiver.aws.dead_letters import Look

    count = 0
    async with Look(client, dead, limit) as look:
        act = look.send_back if verb == "send_back" else look.drop
        async for held in look.messages():
            if choice.takes(held.reject) and look.older(held):
                await act(held)
                count += 1
    _incomplete(look, "not all of the queue was looked at: do it again, or raise --limit")
    return count


def _choice(code: str | None, job_id: str | None, id_: str | None) -> "Choice":
    """Raises Problem where no message can have been rejected with *code*."""
    from archiver.core.dead_letters import UNTOLD, Choice
    from archiver.errors import Code as Known

    known = (*get_args(Known), UNTOLD)
    if code not in (None, *known):
        raise Problem(
            f"--code {code}: there is no such code{meant(str(code), known)}; there are {', '.join(known)}", code=USAGE
        )
    return Choice(code, job_id, id_)


def _chosen(choice: "Choice", *, all_: bool) -> None:
    if choice.all and not all_:
        raise Problem("which messages? choose with --code, --job-id or --id, or say --all", code=USAGE)
    if all_ and not choice.all:
        raise Problem("--all and a choice contradict each other: leave one out", code=USAGE)


def _confirm(what: str, choice: "Choice", *, yes: bool) -> None:
    if yes:
        return
    told = [
        f"{name} {value}"
        for name, value in (("code", choice.code), ("job", choice.job_id), ("message", choice.id))
        if value
    ]
    which = f"the messages of {' and '.join(told)}" if told else "all messages"
    if not sys.stdin.isatty():
        raise Problem(f"this would {what} {which}: say --yes where nobody can be asked", code=USAGE)
    if not typer.confirm(printable(f"{what} {which}?")):
        raise Problem("nothing was done", code=NO)


def _moving(moved: int, planned: int | None) -> None:
    if sys.stderr.isatty():
        write_error(f"\rmoving {moved:,}" + (f" of {planned:,}" if planned is not None else ""))


def _done(what: str, count: int, *, as_json: bool) -> None:
    if as_json:
        say_json({what.replace(" ", "_"): count})
    else:
        say(f"{what}: {count:,} {'message' if count == 1 else 'messages'}")


def _data(reject: "Reject") -> dict[str, Any]:
    return {
        "message_id": reject.id,
        "first_message_id": reject.first_id,
        "job_id": reject.job_id,
        "code": reject.code,
        "reason": reject.reason,
        "sent_at": f"{reject.sent_at:%Y-%m-%dT%H:%M:%SZ}",
        "body": reject.body,
    }


def _show(reject: "Reject") -> None:
    say(f"message  {reject.id}" + (f" (sent as {reject.first_id})" if reject.first_id else ""))
    if reject.job_id:
        say(f"job      {reject.job_id}")
    say(f"sent     {reject.sent_at:%Y-%m-%d %H:%M:%S} UTC")
    say(f"code     {reject.code}")
    say(f"reason   {reject.reason}")
    for number, line in enumerate(reject.body.splitlines()):
        say(f"{'' if number else 'body':<9}{line}")
    say()
