"""`archiver run`, `local` and `demo`: run the service."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, environment
from archiver.cli.describe import print_description
from archiver.worker.signals import SIGNALS, stop_signals

if TYPE_CHECKING:
    from archiver.settings import Settings


Policy = Annotated[str | None, typer.Option("--policy", metavar="FILE", help="Policy file, for POLICY_FILE.")]


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver run --policy policy.toml order.json")(run)
    app.command(epilog="Example: archiver local --port 4566")(local)
    app.command(epilog="Example: archiver demo --verbose")(demo)


def run(
    orders: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Files with one request each: done in order, without a queue."),
    ] = None,
    policy: Policy = None,
) -> None:
    """
    Run the worker: poll SQS_SOURCE_QUEUE until SIGTERM or SIGINT. Settings come from the environment.

    With FILEs (or SOURCE_ORDERS): do the requests in them, print the answers, and exit: 1 if one failed, 3 if one was
    not finished.
    """
    stop_signals.listen()
    from archiver.settings import SettingsError, load_environment, load_settings
    from archiver.telemetry.logs import configure_logs
    from archiver.telemetry.stdout import open_stderr, open_stdout

    output = None
    try:
        environ = _with_policy(environment(), policy)
        if environ.get("DESCRIBE", "").strip() and load_environment(environ).describe:
            print_description(environ)
            return
        settings = load_settings(environ, orders or ())
        if settings.source_orders is not None:
            from archiver.doors.orders import read_orders

            read_orders(settings.source_orders)  # before there are credentials, which a worker waits for
        # Answers to order files are on standard output: everything else is written to standard error.
        output = open_stdout() if settings.source_orders is None else open_stderr()
        configure_logs(debug=settings.debug, dev_mode=settings.dev_mode, stream=output)
        code = asyncio.run(_until_stopped(settings, output.write))
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the interpreter removes handlers at exit, but keeps SIG_IGN
    except SettingsError as error:
        raise CommandError(*error.problems, code=EXIT_USAGE) from None
    finally:
        if output is not None:
            output.finish()
    raise typer.Exit(code)


def _with_policy(environ: dict[str, str], policy: str | None) -> dict[str, str]:
    """Return *environ* with the policy file of the command line, if there is one. Raises CommandError."""
    if policy is None:
        return environ
    if not policy.strip():  # a variable of the shell that is not set
        raise CommandError("--policy: names no file", code=EXIT_USAGE)
    return {**environ, "POLICY_FILE": policy}


async def _until_stopped(settings: "Settings", write: Callable[[str], object]) -> int:
    import structlog

    from archiver.app import serve

    if stop_signals.requested:  # a stop signal arrived during the imports
        structlog.get_logger(__name__).info("worker.stopped")
        return settings.exit_code_unstarted
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is already exiting
            loop.call_soon_threadsafe(stop.set)

    stop_signals.on_stop(on_signal)
    return await serve(settings, stop, write)


def local(
    port: Annotated[int, typer.Option(help="Port of the embedded S3 and SQS on 127.0.0.1.")] = 4566,
    policy: Policy = None,
) -> None:
    """Run the worker with an embedded S3 and SQS, and print how to send it a message."""
    from archiver.local import run_local
    from archiver.settings import SettingsError

    try:
        code = run_local(port, _with_policy(dict(os.environ), policy))
    except SettingsError as error:
        raise CommandError(*error.problems, code=EXIT_USAGE) from None
    raise typer.Exit(code)


def demo(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the worker's log on standard error.")] = False,
) -> None:
    """Build one archive with an embedded S3 and SQS, and print each step."""
    from archiver.local import run_demo

    raise typer.Exit(run_demo(verbose=verbose))
