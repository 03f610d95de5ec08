"""Runs of small shell programs, as jobs run them."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archiver.command.native import Spec
from archiver.command.run import Ended, RunLimits, environment, run
from archiver.command.space import JobDirectory, WorkSpace
from archiver.command.streams import Meter, ProgressLines, Streams, Tail, text_pieces

MIB = 1024 * 1024


@dataclass
class Seen:
    """What a run left: its end, what it printed, the fractions that it told, and the names that were in its `work`."""

    ended: Ended
    stdout: str
    stderr: str
    size: int
    fractions: list[float] = field(default_factory=list)
    work: list[str] = field(default_factory=list)


async def run_shell(
    space: WorkSpace,
    script: str,
    *,
    timeout: float = 60,
    disk: int = 16 * MIB,
    stdin: AsyncIterator[bytes] | str = "",
    limits: dict[str, int] | None = None,
    kept: int = 1000,
) -> Seen:
    return await run_program(
        space, ["sh", "-c", script], timeout=timeout, disk=disk, stdin=stdin, limits=limits, kept=kept
    )


async def run_program(
    space: WorkSpace,
    argv: Sequence[str],
    *,
    timeout: float = 60,
    disk: int = 16 * MIB,
    stdin: AsyncIterator[bytes] | str = "",
    limits: dict[str, int] | None = None,
    kept: int = 1000,
) -> Seen:
    out, err, fractions = Tail(kept), Tail(kept), list[float]()
    async with space.job(disk) as directory:
        spec = spec_of(directory, argv, limits or {})
        pieces = text_pieces(stdin) if isinstance(stdin, str) else stdin
        streams = Streams(pieces, out, ProgressLines(err, fractions.append), Meter(disk))
        ended = await run(spec, directory, RunLimits(timeout, disk), streams)
        work = sorted(os.listdir(directory.path / "work"))
    return Seen(ended, out.text(), err.text(), out.size, fractions, work)


def spec_of(directory: JobDirectory, argv: Sequence[str], limits: dict[str, int]) -> Spec:
    return Spec(argv, environment(directory.path, {}), directory.path / "work", limits)


def processes_in(directory: Path) -> list[str]:
    """The command lines of all processes that work in, or below, *directory*."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd").startswith(str(directory)):
                found.append(Path(f"/proc/{name}/cmdline").read_text())
        except OSError:
            continue
    return found
