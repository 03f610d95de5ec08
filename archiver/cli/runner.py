"""Runs the coroutine of a command: exceptions become error messages, signals cancel it."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from archiver.cli.console import EXIT_INTERRUPTED, CommandError

T = TypeVar("T")


def run_async(work: Callable[[], Coroutine[Any, Any, T]], region: str | None = None) -> T:
    """
    Run *work* and return its result. Raises CommandError for every exception. *region*: of messages; None: that of the
    environment.

    Ctrl-C and SIGTERM cancel *work*, which then cleans up; the exit code is 130.
    """
    from archiver.cli.error_messages import errors_as_messages

    async def until_interrupted() -> T:
        task = asyncio.ensure_future(work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        return await task

    log_warnings_only()
    with errors_as_messages(region):
        try:
            return asyncio.run(until_interrupted())
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise CommandError("interrupted; nothing was left behind", code=EXIT_INTERRUPTED) from None


def log_warnings_only() -> None:
    """
    Show only warnings of the service's log, on standard error, and nothing of the libraries' logs.

    A library's warning (for example a failing credentials provider, with a traceback) would repeat the error message.
    """
    from archiver.telemetry.logs import LIBRARY_LOGGERS, configure_logs

    configure_logs(dev_mode=True, stream=sys.stderr, min_level="warning")
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
