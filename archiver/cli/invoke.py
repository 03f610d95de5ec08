"""`archiver invoke`: invoke the Lambda function that runs this service."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archiver.cli import request_input
from archiver.cli.answer import ERROR, FAILURES, reply_message
from archiver.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandError,
    environment,
    print_json,
    print_note,
    suggest,
)
from archiver.cli.runner import run_async

if TYPE_CHECKING:
    from archiver.core.dsn import Dsn
    from archiver.core.invocations import Invocation

EXAMPLE = "Example: archiver invoke --function archiver --type RequestResponse a.jpg b.jpg"


def add_to(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(invoke)


Payload = Annotated[
    str | None, typer.Option(metavar="JSON|@FILE|-", help="The event, instead of URIs: text, a file, or - (stdin).")
]
Function = Annotated[
    str | None,
    typer.Option("--function", "--lambda-func", help="Name or ARN. Default: ARCHIVER_LAMBDA_FUNCTION."),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--type",
        "--lambda-type",
        metavar="RequestResponse|Event|DryRun",
        help="Wait for the result, queue the event, or only check it. Default: ARCHIVER_LAMBDA_TYPE, else "
        "RequestResponse.",
    ),
]
LambdaDsn = Annotated[
    str | None,
    typer.Option(
        "--lambda-dsn",
        metavar="DSN",
        help="region=… credentials=…: how Lambda is called. Default: ARCHIVER_LAMBDA_DSN, else the environment.",
    ),
]


def invoke(
    uris: request_input.Uris = None,
    uri: request_input.MoreUris = None,
    job_id: Annotated[str | None, typer.Option("--job-id", "-j", help="With URIs: id of the job.")] = None,
    payload: Payload = None,
    function: Function = None,
    kind: Kind = None,
    lambda_dsn: LambdaDsn = None,
) -> None:
    """
    Invoke a Lambda function with a request, or with any event, and print what it returns as JSON.

    Exit code 1: the function failed, or its answer is a failure. The end of its log goes to standard error then.
    """
    from archiver.cli.dsn import parse_dsn_option
    from archiver.cli.error_messages import errors_as_messages

    with errors_as_messages():
        environ = environment("ARCHIVER_LAMBDA_FUNCTION", "ARCHIVER_LAMBDA_TYPE", "ARCHIVER_LAMBDA_DSN")
    event = _event([*(uris or ()), *(uri or ())], job_id, payload)
    name = function or environ.get("ARCHIVER_LAMBDA_FUNCTION", "").strip()
    if not name:
        raise CommandError("no function; name it with --function or ARCHIVER_LAMBDA_FUNCTION", code=EXIT_USAGE)
    chosen = _type(kind or environ.get("ARCHIVER_LAMBDA_TYPE", "").strip() or "RequestResponse")
    option, text = ("--lambda-dsn", lambda_dsn) if lambda_dsn else ("ARCHIVER_LAMBDA_DSN", _variable(environ))
    dsn = parse_dsn_option(option, text)
    report(run_async(lambda: _invoke(name, chosen, event, dsn), dsn.region if dsn else None), name, chosen)


def _variable(environ: dict[str, str]) -> str:
    return environ.get("ARCHIVER_LAMBDA_DSN", "").strip()


def _type(text: str) -> str:
    from archiver.core.invocations import TYPES

    if text not in TYPES:
        message = f"--type {text}: should be {', '.join(TYPES[:-1])} or {TYPES[-1]}{suggest(text, TYPES)}"
        raise CommandError(message, code=EXIT_USAGE)
    return text


def _event(uris: list[str], job_id: str | None, payload: str | None) -> bytes:
    """Return the event of the arguments, as JSON. Raises CommandError."""
    from archiver.core.invocations import MAX_PAYLOAD_BYTES, payload_of_uris

    if uris and payload is not None:
        raise CommandError("URIs and --payload can't be combined; the payload is the whole event", code=EXIT_USAGE)
    if payload is not None and job_id is not None:
        raise CommandError("--job-id goes with URIs; write it into the payload instead", code=EXIT_USAGE)
    if not uris and payload is None:
        raise CommandError("nothing to send; name objects, or give an event with --payload", code=EXIT_USAGE)
    request_input.check_uris(uris)
    event = json.dumps(payload_of_uris(uris, job_id)).encode() if payload is None else _read_payload(payload)
    if len(event) > MAX_PAYLOAD_BYTES:
        told = f"the event has {len(event):,} bytes, and Lambda takes {MAX_PAYLOAD_BYTES:,}; name a manifest in it"
        raise CommandError(told, code=EXIT_USAGE)
    return event


def _read_payload(payload: str) -> bytes:
    from archiver.cli.input_file import decode_input, read_input
    from archiver.core.invocations import MAX_PAYLOAD_BYTES

    is_file = payload == "-" or payload.startswith("@")
    name = payload.removeprefix("@") if is_file else "--payload"
    data = read_input(name, "the event", MAX_PAYLOAD_BYTES) if is_file else payload.encode(errors="surrogateescape")
    text = decode_input(data, name)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(*request_input.describe_json_error(text, error), code=EXIT_USAGE) from None
    except (ValueError, RecursionError):
        raise CommandError(f"{name}: is no JSON that can be read", code=EXIT_USAGE) from None
    return text.encode()


async def _invoke(function: str, kind: str, event: bytes, dsn: "Dsn | None") -> "Invocation":
    from archiver.aws.dsn_session import open_access
    from archiver.aws.invoke import READ_SECONDS, invoke

    # One attempt: a function whose response was lost may have run.
    async with open_access(dsn).client("lambda", read=READ_SECONDS, attempts=1, tcp_keepalive=True) as client:
        return await invoke(client, function, kind, event)


def report(done: "Invocation", function: str, kind: str) -> None:
    """Print what came of the invocation. Raises CommandError if the function, or the job, failed."""
    if done.error:
        for line in done.log.splitlines():
            print_note(f"  {line}")
        raise CommandError(f"the function {function} failed: {done.error}", code=EXIT_FAILED)
    if kind == "RequestResponse":
        print_json(done.payload)
        if failure := _failure(done.payload):
            raise CommandError(failure, code=EXIT_FAILED)
        return
    told = {"Event": "queued: Lambda runs the function", "DryRun": "allowed: the function was not run"}
    print_note(f"{told[kind]} ({function}, status {done.status})")


def _failure(payload: Any) -> str | None:
    """Return why the job failed, if *payload* is its failure answer."""
    if not isinstance(payload, dict) or payload.get("status") not in FAILURES:
        return None
    if payload["status"] == ERROR:
        return reply_message(payload)
    error = payload.get("error")
    return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else "the job failed"
