"""Keepers that a program kills, stops or starves: the program ends all the same, with all that it started."""

import asyncio
import ctypes
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.command import native
from archiver.command import run as run_module
from archiver.command.native import started
from archiver.command.orphans import PR_SET_DUMPABLE
from archiver.command.space import WorkSpace
from archiver.command.streams import Meter, Streams, Tail, text_pieces
from archiver.errors import TransientError

from .runs import MIB, processes_in, run_program, run_shell, spec_of

PR_GET_DUMPABLE = 3


async def test_a_program_whose_keeper_is_killed_ends_and_counts_as_killed(space: WorkSpace) -> None:
    """The kernel kills the keeper's child with it; the worker does its cleanup, which removes a container."""
    async with space.job(MIB) as directory:
        spec = replace(spec_of(directory, ["sleep", "1000"], {}), cleanup=["touch", "cleaned"])
        async with started(spec) as process:
            process._keeper.signal(signal.SIGKILL)
            ended = await process.ended()
        while processes_in(directory.path):
            await asyncio.sleep(0.01)
        cleaned = os.listdir(directory.path / "work")

    assert (ended.code, ended.signal, cleaned) == (None, 9, ["cleaned"])


async def test_a_program_that_kills_its_keeper_leaves_nothing(space: WorkSpace, tmp_path: Path) -> None:
    """What it moved to other sessions, with its pipes, becomes the worker's, which ends it; other programs go on."""
    script = (
        f"setsid sh -c 'setsid sleep 999 & sleep 999' & until test -e {tmp_path}/go; do sleep 0.01; done; kill -9 $PPID"
    )
    killed = asyncio.create_task(run_shell(space, script))
    while not processes_in(space.root):
        await asyncio.sleep(0.01)
    later = asyncio.create_task(run_shell(space, "until test -e done; do sleep 0.01; done"))
    while len({name for name in os.listdir(space.root) if name.startswith("job-")}) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    (tmp_path / "go").touch()
    end = (await killed).ended.exit
    (directory,) = space.root.glob("job-*")
    (directory / "work" / "done").touch()

    assert (end.signal, end.left, (await later).ended.exit.code) == (9, 0, 0)


async def test_a_program_that_stops_its_keeper_ends_in_its_time(space: WorkSpace) -> None:
    """The keeper is continued when it is told to end the program."""
    seen = await run_shell(space, "setsid sleep 1000 & kill -STOP $PPID; sleep 1000", timeout=0.5)

    assert (seen.ended.stopped, seen.ended.exit.left) == ("timeout", 0)


async def test_a_keeper_that_does_not_answer_is_killed(space: WorkSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that the program stops again and again: then the worker ends what is left."""
    monkeypatch.setattr(native, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(native, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(native, "CANCEL_SECONDS", 0.1)
    monkeypatch.setattr(native.Keeper, "tell", lambda keeper, text: text in "TK" or keeper.control.write(text.encode()))
    async with space.job(MIB) as directory:
        async with started(spec_of(directory, ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], {})) as process:
            process._keeper.signal(signal.SIGSTOP)

        assert await process.ended() == native.Exit(None, 9)


async def test_a_program_has_no_descriptors_but_its_streams(space: WorkSpace) -> None:
    """With the keeper's socket, it could tell the worker of an end of its own making. The fourth is the folder's."""
    seen = await run_program(space, [sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"])

    assert seen.stdout == "['0', '1', '2', '3']\n"


async def test_a_worker_of_commands_keeps_its_environment_and_memory_to_itself(space: WorkSpace) -> None:
    """A program is the same user: only a process that is not "dumpable" is closed to it in /proc."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    await run_shell(space, "true")

    assert libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0


async def test_a_program_whose_output_nobody_takes_any_more_is_ended(space: WorkSpace) -> None:
    """An upload fails while the program prints for ever: its full pipe, which nobody reads, does not hold the job."""
    async with space.job(MIB) as directory:
        streams = Streams(text_pieces(""), _FullSink(), Tail(0), Meter(MIB))
        with pytest.raises(TransientError):
            await run_module.run(spec_of(directory, ["yes"], {}), directory, run_module.RunLimits(60, MIB), streams)


class _FullSink:
    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0.05)  # meanwhile, the pipe is read until it is full
        raise TransientError("the part was not taken")
