"""
Programs as processes of this machine, each under a keeper (`archiver.command.keeper`), which ends it for certain: when
it is asked to, when the program has ended, and when the worker itself is gone. If a keeper is killed or does not
answer, the worker ends what is left itself (`archiver.command.orphans`).
"""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from archiver.command.keeper import CLEANUP_SECONDS, KILL_SECONDS
from archiver.command.orphans import keepers
from archiver.errors import ConfigurationError, TransientError
from archiver.stages.undo import run_to_its_end

log = structlog.get_logger(__name__)

TERM_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""

CANCEL_SECONDS = 2.0
"""The same, for a job that is cancelled: its worker has little time itself."""

ANSWER_SECONDS = 5.0
"""A keeper that was told to end everything, and has had its time, is killed after these."""

START_SECONDS = 1.0
"""Between two looks at a keeper that has not told of the start."""

_KEEPER = str(Path(__file__).with_name("keeper.py"))
_KEEPER_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH")
_LIMIT = 64 * 1024  # bytes that a stream holds before its pipe is not read any more


@dataclass(frozen=True, slots=True)
class Spec:
    """
    A program. *argv*: its first word is looked up in the PATH of *env*, which is the whole environment. *limits*: by
    name, such as RLIMIT_AS. *cleanup*: what is run if it is killed, or ends with one of *cleanup_codes*.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    limits: Mapping[str, int] = field(default_factory=dict)
    cleanup: Sequence[str] = ()
    cleanup_codes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended: with *code*, or by *signal*. *left*: processes of it that could not be ended."""

    code: int | None
    signal: int | None = None
    left: int = 0


@dataclass(frozen=True, slots=True)
class Keeper:
    """A keeper, and the socket to it. *since*: when it was started, in clock ticks."""

    process: asyncio.subprocess.Process
    answers: asyncio.StreamReader
    control: asyncio.StreamWriter
    since: int

    def tell(self, text: str) -> None:
        """Write to the keeper, which goes on if the program has stopped it."""
        self.control.write(text.encode())
        self.signal(signal.SIGCONT)

    async def answer(self) -> dict[str, Any]:
        """Return its next answer; an empty one if it has ended."""
        with suppress(ConnectionError):
            if (line := await self.answers.readline()).endswith(b"\n"):
                return dict(json.loads(line))
        return {}

    async def first_answer(self) -> dict[str, Any]:
        """The same, though the program may have stopped the keeper before it could tell of the start."""
        asking = asyncio.create_task(self.answer(), name="command.start")
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=START_SECONDS)
                self.signal(signal.SIGCONT)
            return asking.result()
        finally:
            asking.cancel()

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def gone(self) -> None:
        """Wait for its end: not for that of its pipes, which others may hold, or which nobody may read any more."""
        deadline, pause = monotonic() + KILL_SECONDS, 0.001
        while self.process.returncode is None and monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(0.1, pause * 1.5)

    async def close(self) -> None:
        self.process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - also a pipe that is still held
        await self.gone()
        keepers.remove(self.process.pid)
        self.control.close()
        with suppress(OSError):
            await self.control.wait_closed()


class Process:
    """A started program."""

    def __init__(self, keeper: Keeper, spec: Spec) -> None:
        process = keeper.process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("a program has three pipes")
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self._keeper = keeper
        self._spec = spec
        self._pid = 0
        self._end_seconds = KILL_SECONDS + (CLEANUP_SECONDS + KILL_SECONDS if spec.cleanup else 0)
        self._exit: asyncio.Task[Exit] | None = None

    async def begin(self) -> None:
        """Raises ConfigurationError if the program can't be started."""
        spec = {name: getattr(self._spec, name) for name in Spec.__slots__}
        self._keeper.tell(json.dumps(spec, default=_plain) + "\n")
        started = await self._keeper.first_answer()
        if "pid" not in started:
            raise TransientError("the program was not started: its keeper has ended")
        self._pid = started["pid"]
        if started["problem"]:
            raise ConfigurationError(f"the program can't be started: {started['problem']}")
        self._exit = self._waiting()

    def _waiting(self) -> asyncio.Task[Exit]:
        return asyncio.create_task(self._wait(), name=f"command.{self._pid}")

    async def _wait(self) -> Exit:
        while "pid" in (answer := await self._keeper.answer()):
            pass  # the answer to a start that was given up
        await self._keeper.gone()
        if "left" not in answer:  # the keeper was killed, and its child with it
            log.warning("command.keeper_lost", pid=self._pid)
            answer = {"signal": 9, "left": await keepers.end_orphans(self._keeper.since)}
            await _clean_up(self._spec)
        if answer["left"]:
            log.error("command.processes_left", pid=self._pid, processes=answer["left"])
        return Exit(answer.get("code"), answer.get("signal"), answer["left"])

    async def ended(self) -> Exit:
        """Wait for the end of the program, and of all that it started."""
        if self._exit is None:
            raise RuntimeError("the program was not started")
        return await asyncio.shield(self._exit)

    async def wait(self, seconds: float) -> Exit | None:
        """Wait for the same so long; None if it has not ended."""
        if self._exit is not None:
            await asyncio.wait([self._exit], timeout=seconds)
        return self._exit.result() if self._exit is not None and self._exit.done() else None

    async def end(self, seconds: float) -> None:
        """Ask the program to end; after *seconds*, end it, and all that it started."""
        if self._exit is None:
            self._exit = self._waiting()  # it may run all the same: the start was given up while the keeper was at it
        elif not self._exit.done() and seconds:
            self._keeper.tell("T")
            await asyncio.wait([self._exit], timeout=seconds)
        self._keeper.tell("K")
        await asyncio.wait([self._exit], timeout=self._end_seconds + ANSWER_SECONDS)
        if not self._exit.done():
            self._keeper.signal(signal.SIGKILL)
            await asyncio.wait([self._exit])

    async def close(self, seconds: float) -> None:
        """End the program, as above, and give back all descriptors."""
        await self.end(seconds)
        await self._keeper.close()


@asynccontextmanager
async def started(spec: Spec) -> AsyncIterator[Process]:
    """
    Start a program; at the end of the block, it has ended with all that it started, even if the block is cancelled.

    Raises ConfigurationError if it can't be started; TransientError, OSError if this machine has no room for it.
    """
    process = Process(await _start_keeper(), spec)
    try:
        await process.begin()
        yield process
    finally:
        await run_to_its_end(process.close(CANCEL_SECONDS), "command.end")


async def _start_keeper() -> Keeper:
    own, theirs = socket.socketpair()
    try:
        answers, control = await asyncio.open_unix_connection(sock=own)
        try:
            with keepers.starting() as since:
                process = await _start_process(theirs)  # nothing waits from here on: a cancellation would lose it
                keepers.add(process.pid)
        except BaseException:
            control.close()
            raise
    finally:
        theirs.close()
    return Keeper(process, answers, control, since)


async def _start_process(control: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", _KEEPER, str(control.fileno())),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=[control.fileno()],
        start_new_session=True,
        limit=_LIMIT,
        env={name: os.environ[name] for name in _KEEPER_ENVIRONMENT if name in os.environ},
    )


async def _clean_up(spec: Spec) -> None:
    """Do for a program what its keeper would have done."""
    if spec.cleanup:
        with suppress(ConfigurationError, TransientError, OSError):
            async with started(Spec(spec.cleanup, spec.env, spec.cwd)) as process:
                process.stdin.close()
                await process.wait(CLEANUP_SECONDS)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else dict(value)  # type: ignore[call-overload]
