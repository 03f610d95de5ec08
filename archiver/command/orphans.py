"""
What is left of a program whose keeper was killed, such as by the program itself.

The worker is the next in line that adopts orphans (PR_SET_CHILD_SUBREAPER), so they become its children, and it ends
them. They are in other sessions than the worker, and are no keepers; a worker starts no other processes.
"""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from archiver.command.keeper import KILL_SECONDS, PR_SET_CHILD_SUBREAPER

PR_SET_DUMPABLE = 4


class _Child(NamedTuple):
    """A process as /proc shows it. *begun*: in clock ticks since the start of the machine."""

    pid: int
    parent: int
    group: int
    session: int
    begun: int


class Keepers:
    """The keepers of this process. There is one such object for a process, as there is one list of children."""

    def __init__(self) -> None:
        self._pids = set[int]()
        self._starting = 0

    @contextmanager
    def starting(self) -> Iterator[int]:
        """A keeper is started in this block, and added. Yields the time before, in clock ticks."""
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # other processes of the user can't read our environment, nor our memory
        self._starting += 1
        try:
            yield int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        finally:
            self._starting -= 1

    def add(self, pid: int) -> None:
        self._pids.add(pid)

    def remove(self, pid: int) -> None:
        self._pids.discard(pid)

    async def end_orphans(self, since: int) -> int:
        """
        End the orphans that were started after *since*, with all that they start. Return how many are left after
        `KILL_SECONDS`.
        """
        deadline, pause = time.monotonic() + KILL_SECONDS, 0.001
        while True:
            found = [] if self._starting else self._orphans(since)
            for orphan in found:
                _end(orphan)
            if not found and not self._starting:
                return 0
            if time.monotonic() > deadline:
                return len(found)
            await asyncio.sleep(pause)
            pause = min(0.1, pause * 1.5)

    def _orphans(self, since: int) -> list[_Child]:
        processes = [_look(int(name)) for name in os.listdir("/proc") if name.isdecimal()]
        children = dict[int, list[_Child]]()
        for one in processes:
            if one is not None:
                children.setdefault(one.parent, []).append(one)
        own = os.getsid(0)
        found = [
            one
            for one in children.get(os.getpid(), [])
            if one.session != own and one.pid not in self._pids and one.begun >= since
        ]
        for one in found:  # it grows meanwhile
            found += children.get(one.pid, [])
        return found


def _end(orphan: _Child) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(orphan.group, signal.SIGKILL)
    with suppress(ChildProcessError):  # it may be a child of another orphan, and ours in the next round
        os.waitpid(orphan.pid, os.WNOHANG)


def _look(pid: int) -> _Child | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None  # it has ended meanwhile
    return _Child(pid, *(int(fields[number]) for number in (1, 2, 3, 19)))


keepers = Keepers()
