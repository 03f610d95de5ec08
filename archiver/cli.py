"""The command line: what a person (or a container) types."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from archiver import __version__

app = typer.Typer(
    name="archiver",
    help="Turns objects in S3 into one zip, on request: a message in, an archive and a link out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
USAGE = 2  # exit code for a wrong environment, as for wrong arguments


def _version(given: bool) -> None:
    if given:
        typer.echo(f"archiver {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Without a command: run the worker."""
    del version
    if context.invoked_subcommand is None:
        run()


@app.command()
def run() -> None:
    """Run the worker: poll SQS_SOURCE_QUEUE until SIGTERM or SIGINT. Settings come from the environment."""
    from archiver.app import serve  # noqa: PLC0415 - late: the SDK takes half a second
    from archiver.logs import configure_logs  # noqa: PLC0415
    from archiver.settings import SettingsError, load_settings  # noqa: PLC0415

    async def until_stopped() -> int:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_signal(*_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: we are leaving anyway
                loop.call_soon_threadsafe(stop.set)

        for number in SIGNALS:
            # Not the loop's own handlers: they end with it, and a signal in the last moment would kill us.
            signal.signal(number, on_signal)
        return await serve(settings, stop)

    try:
        settings = load_settings(os.environ)
        configure_logs(debug=settings.debug, dev_mode=settings.dev_mode)
        code = asyncio.run(until_stopped())
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the interpreter's own end takes handlers away, but not this
    except SettingsError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(USAGE) from None
    raise typer.Exit(code)


@app.command()
def schema() -> None:
    """Print the JSON schema of requests and answers."""
    from archiver.core.schema import json_schema  # noqa: PLC0415

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def local(port: Annotated[int, typer.Option(help="Where the embedded AWS listens, on 127.0.0.1.")] = 4566) -> None:
    """Run the worker against an AWS embedded in this process, and print how to send it a message."""
    from archiver.local import run_local  # noqa: PLC0415

    raise typer.Exit(run_local(port))


@app.command()
def demo(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the worker's log on standard error.")] = False,
) -> None:
    """Turn one message into one archive on an embedded AWS, and say what happened."""
    from archiver.local import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(verbose=verbose))


def main() -> None:
    """Entry point of the `archiver` command."""
    app(args=sys.argv[1:])
