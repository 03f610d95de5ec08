"""Runs what a command does: errors become sentences, signals cancel it."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from archiver.cli.console import INTERRUPTED, Problem

T = TypeVar("T")


def carry_out(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run *work* to its end, with every error of ours told in a sentence. Ctrl-C and SIGTERM
    cancel it, so that it undoes what it began; then the exit code is 130.

    Raises Problem.
    """
    from archiver.cli.error_messages import told

    async def until_interrupted() -> T:
        task = asyncio.ensure_future(work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        return await task

    quiet_logs()
    with told():
        try:
            return asyncio.run(until_interrupted())
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise Problem("interrupted; nothing was left behind", code=INTERRUPTED) from None


def quiet_logs() -> None:
    """
    Commands speak for themselves; of the service's log only warnings are shown, on standard error. What libraries warn
    of (a provider of credentials that fails, with a traceback) is told in a sentence when it matters.
    """
    from archiver.telemetry.logs import LIBRARIES, configure_logs

    configure_logs(dev_mode=True, stream=sys.stderr, least="warning")
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
