"""`archiver run`, `local` and `demo`: run the service."""

import asyncio
import signal
from contextlib import suppress
from typing import Annotated

import typer

from archiver.cli.console import EXIT_USAGE, CommandError, environment
from archiver.worker.signals import SIGNALS, stop_signals


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: archiver run")(run)
    app.command(epilog="Example: archiver local --port 4566")(local)
    app.command(epilog="Example: archiver demo --verbose")(demo)


def run() -> None:
    """Run the worker: poll SQS_SOURCE_QUEUE until SIGTERM or SIGINT. Settings come from the environment."""
    stop_signals.listen()
    import structlog

    from archiver.app import serve
    from archiver.settings import SettingsError, load_settings
    from archiver.telemetry.logs import configure_logs
    from archiver.telemetry.stdout import open_stdout

    output = open_stdout()

    async def until_stopped() -> int:
        if stop_signals.requested:  # a stop signal arrived during the imports
            structlog.get_logger(__name__).info("worker.stopped")
            return 0
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def on_signal() -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is already exiting
                loop.call_soon_threadsafe(stop.set)

        stop_signals.on_stop(on_signal)
        return await serve(settings, stop, output.write)

    try:
        settings = load_settings(environment())
        configure_logs(debug=settings.debug, dev_mode=settings.dev_mode, stream=output)
        code = asyncio.run(until_stopped())
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the interpreter removes handlers at exit, but keeps SIG_IGN
    except SettingsError as error:
        raise CommandError(*error.problems, code=EXIT_USAGE) from None
    finally:
        output.finish()
    raise typer.Exit(code)


def local(port: Annotated[int, typer.Option(help="Port of the embedded S3 and SQS on 127.0.0.1.")] = 4566) -> None:
    """Run the worker with an embedded S3 and SQS, and print how to send it a message."""
    from archiver.local import run_local

    raise typer.Exit(run_local(port))


def demo(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the worker's log on standard error.")] = False,
) -> None:
    """Build one archive with an embedded S3 and SQS, and print each step."""
    from archiver.local import run_demo

    raise typer.Exit(run_demo(verbose=verbose))
