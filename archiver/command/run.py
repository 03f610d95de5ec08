"""One program from its start to its end, within its limits."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from archiver.command.files import MAX_ENTRIES
from archiver.command.native import TERM_SECONDS, Exit, Process, Spec, started
from archiver.command.space import JobDirectory
from archiver.command.streams import CHUNK_BYTES, DRAIN_SECONDS, Meter, Pump, Streams, feed
from archiver.errors import root_cause

WATCH_SECONDS = 1.0
"""Between two looks at a program's files."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
SIGXFSZ = 25

Stopped = Literal["timeout", "disk"]


@dataclass(frozen=True, slots=True)
class RunLimits:
    """*timeout* in seconds; *disk*: bytes of all files below the job's directory."""

    timeout: float
    disk: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. *stopped*: the limit that it was ended for, None: none."""

    exit: Exit
    seconds: float
    stopped: Stopped | None = None


async def run(spec: Spec, directory: JobDirectory, limits: RunLimits, streams: Streams) -> Ended:
    """
    Run a program. When this returns or raises, it has ended with all that it started.

    Raises ConfigurationError if it can't be started; TransientError, OSError; what the sinks raise.
    """
    begun = monotonic()
    try:
        async with started(spec) as process, asyncio.TaskGroup() as tasks:
            pumps = [Pump(process.stdout, streams.stdout), Pump(process.stderr, streams.stderr)]
            pumping = {tasks.create_task(pump.run(), name="command.pump"): pump for pump in pumps}
            feeding = tasks.create_task(feed(process.stdin, streams.stdin), name="command.stdin")
            stopped = await _watch(process, directory, limits, streams.meter)
            feeding.cancel()
            await _drain(pumping)
            if stopped is None and streams.meter.exceeded:  # by what it had left in its pipes
                stopped = "disk"
            ended = Ended(await process.ended(), monotonic() - begun, stopped)
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return ended


async def _watch(process: Process, directory: JobDirectory, limits: RunLimits, meter: Meter) -> Stopped | None:
    """Wait for the end of the program; end it if it exceeds a limit, and return which one."""
    deadline = monotonic() + limits.timeout
    while (ended := await process.wait(min(WATCH_SECONDS, max(0.0, deadline - monotonic())))) is None:
        if monotonic() >= deadline:
            await process.end(TERM_SECONDS)
            return "timeout"
        if meter.exceeded or await _exceeds(directory, limits.disk):
            await process.end(0)
            return "disk"
    if ended.signal == SIGXFSZ or await _exceeds(directory, limits.disk):
        return "disk"
    return None


async def _exceeds(directory: JobDirectory, disk: int) -> bool:
    usage = await directory.usage()
    return usage.bytes >= disk or usage.entries > MAX_ENTRIES


async def _drain(pumping: Mapping[asyncio.Task[None], Pump]) -> None:
    """Wait for the rest of the output. One that brings nothing has a writer that nobody can find: it is given up."""
    pending = set(pumping)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=DRAIN_SECONDS)
        for task in pending:
            if not pumping[task].writing:
                task.cancel()


def environment(directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a native program: nothing of the worker's but PATH and LANG."""
    return {
        "PATH": os.environ.get("PATH", DEFAULT_PATH),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": str(directory / "tmp"),
        "TMPDIR": str(directory / "tmp"),
        **given,
    }


async def file_pieces(descriptor: int) -> AsyncIterator[bytes]:
    """What is in the file, from its beginning."""
    position = 0
    while data := await asyncio.to_thread(os.pread, descriptor, 4 * CHUNK_BYTES, position):
        yield data
        position += len(data)
