"""How commands talk: problems in a sentence, data as JSON, long work as a bar or as lines."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

T = TypeVar("T")

NO = 1  # exit codes; see the package's docstring
USAGE = 2
LATER = 3
DEFECT = 70  # sysexits.h: internal software error
INTERRUPTED = 128 + signal.SIGINT


class Problem(Exception):
    """What stands in the way of a command: one clear sentence each, with what to do next."""

    def __init__(self, *sentences: str, code: int = NO) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
        self.code = code

    def tell(self) -> None:
        """Say it on standard error."""
        for sentence in self.sentences:
            typer.echo(sentence, err=True)


def say(text: str = "") -> None:
    """One line for the person who asked, on standard output."""
    typer.echo(text)


def say_json(data: object) -> None:
    """*data* as JSON on standard output: indented for people, and read by `jq` all the same."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def environment() -> dict[str, str]:
    """A copy of the process's environment, for the settings."""
    return dict(os.environ)


def carry_out(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run *work* to its end, with every error of ours told in a sentence (`archiver.cli.sentences`). Ctrl-C and SIGTERM
    cancel it, so that it undoes what it began; then the exit code is 130.

    Raises Problem.
    """
    from archiver.cli.sentences import told

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
    from archiver.logs import LIBRARIES, configure_logs

    configure_logs(dev_mode=True, stream=sys.stderr, least="warning")
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
