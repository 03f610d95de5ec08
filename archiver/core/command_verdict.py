"""What the end of a program means for its job."""

import signal
from dataclasses import dataclass
from typing import Literal

from archiver.core.command_result import CommandRejected, CommandResult
from archiver.core.commands import Command
from archiver.errors import ArchiverError, ConfigurationError, TransientError

Stopped = Literal["timeout", "disk"]

DOCKER_FAILED = {
    125: "docker could not run the container",
    126: "the program of the image can't be executed",
    127: "the image has no such program",
}
"""Exit codes of `docker run` ("Exit status", docker's reference)."""

_KILLED = 9
_BY_SIGNAL = 128  # a container's exit code is this more than the signal that ended its program
_SHOWN = 300  # characters


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """*stopped*: the limit that it was ended for; None: it ended by itself."""

    exit_code: int | None
    signal: int | None
    stopped: Stopped | None = None


def judge(command: Command, end: ProgramEnd, result: CommandResult) -> ArchiverError | None:
    """
    Return why the job of *command* fails; None: it does not. A death by SIGKILL that nobody here caused is the
    kernel's, for want of memory: other jobs may give some back.
    """
    if end.stopped is None and end.exit_code == 0:
        return None
    failed = _failed(command, end, result)
    if end.stopped is not None:
        return failed
    if end.exit_code in command.retry_exit_codes:
        return TransientError(failed.message, rejection=failed)
    if command.container is not None and end.exit_code in DOCKER_FAILED:
        return ConfigurationError(f"{DOCKER_FAILED[end.exit_code]}: {failed.message}")
    killed = end.signal == _KILLED or (command.container is not None and end.exit_code == _BY_SIGNAL + _KILLED)
    if killed and not command.at_most_once:
        return TransientError(failed.message, rejection=failed)
    return failed


def _failed(command: Command, end: ProgramEnd, result: CommandResult) -> CommandRejected:
    name, limits = command.name, command.limits
    if end.stopped == "timeout":
        text = f"the command {name} did not end within its time of {limits.timeout:g} seconds"
        return CommandRejected("command_timeout", text, result)
    if end.stopped == "disk":
        more = "printed more into objects, or made 100,000 files"
        text = f"the command {name} filled its disk of {limits.disk:,} bytes, {more}"
        return CommandRejected("disk_limit", text, result)
    how = f"exit code {end.exit_code}" if end.exit_code is not None else f"signal {_signal_name(end.signal or 0)}"
    last = "".join(result.stderr.text.strip().splitlines()[-1:])
    shown = "".join(character if character.isprintable() else "?" for character in last[-_SHOWN:])
    return CommandRejected(
        "command_failed", f"the command {name} ended with {how}" + (f": {shown}" if shown else ""), result
    )


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
