"""
`python -m archiver` as a process of its own, by fork: the interpreter has started and every module is read already.

A start costs a second of processor time, most of it imports, and the tests start hundreds. So one process for each
process of pytest (the zygote) imports all of archiver once, and forks a child for every `launch`: with arguments,
environment, working directory and outputs of its own, and the tests' process for a parent.

What a fork does not show: the start of the interpreter, the order and the cost of imports, and memory counted from
nothing, for a fork begins with its parent's pages. Tests of these are marked `fresh` (conftest), and `FRESH=1 pytest`
starts every process of every test.
"""

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from service_models import read_service_models, share_service_models

INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
INHERITED_KINDS = ("COVERAGE_", "COV_", "PYTHON")
FRESH = "FRESH"  # the variable that asks for processes that are started, not forked

IMPORTED_LATE = ("encodings.idna",)  # by libraries, when they are first needed

_LARGEST_ORDER = 1 << 20  # bytes
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def inherited_environment() -> dict[str, str]:
    """What processes under test get of this environment: enough to run Python, and nothing that they are told by."""
    return {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith(INHERITED_KINDS)}


class ForkedProcess:
    """A child that another process forked for this one: as much of `subprocess.Popen` as the tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._waiting = threading.Lock()  # whoever comes second would ask for a child that is gone

    def poll(self) -> int | None:
        """Its exit code, the signal that ended it as a negative number, or None while it runs."""
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, when it has ended. Raises `subprocess.TimeoutExpired` after *timeout* seconds."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("archiver", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if there is still somebody to get it."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | ForkedProcess


def launch(arguments: Sequence[str], environment: Mapping[str, str], *, out: int, err: int) -> Process:
    """
    `python -m archiver` and *arguments* with this *environment*; *out* and *err* are its descriptors 1 and 2, and
    standard input is empty. With `FRESH` in the tests' environment: an interpreter of its own.
    """
    if FRESH in os.environ:
        command = [sys.executable, "-m", "archiver", *arguments]
        return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    return _zygote().fork(arguments, environment, out, err)


class _Zygote:
    """The tests' end: where forks are ordered."""

    def __init__(self) -> None:
        _adopt_orphans()
        self._link, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, __file__, str(its.fileno())]
            self._process = subprocess.Popen(
                command, env=inherited_environment(), stdin=subprocess.DEVNULL, pass_fds=[its.fileno()]
            )
        self._ordering = threading.Lock()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> ForkedProcess:
        order = json.dumps({"arguments": list(arguments), "environment": dict(environment), "folder": str(Path.cwd())})
        with self._ordering:
            socket.send_fds(self._link, [order.encode()], [out, err])
            told = self._link.recv(64)
        if not told:
            raise ChildProcessError("the zygote ended; what it wrote to standard error says why")
        return ForkedProcess(int(told))

    def close(self) -> None:
        """End it, and wait until it has: it, too, has coverage to save."""
        self._link.close()
        self._process.wait(60)


@cache
def _zygote() -> _Zygote:
    return _Zygote()


def close() -> None:
    """End the zygote, where there is one. Not left to the interpreter's exit: xdist gives that ten seconds in all."""
    if _zygote.cache_info().currsize:
        _zygote().close()
        _zygote.cache_clear()


def _adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends: `waitpid` then knows the forks."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


# ----- in the zygote ---------------------------------------------------------------------------------------------


def _read_modules() -> None:
    """Import all of archiver but what is fresh in every test (`archiver demo`, with its emulator), and the program."""
    package = importlib.import_module("archiver")
    for found in pkgutil.walk_packages(package.__path__, "archiver."):
        if not found.name.startswith(("archiver.local", "archiver.__main__")):
            importlib.import_module(found.name)
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    share_service_models()
    read_service_models()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of these


def _serve(link: socket.socket) -> bool:
    """Fork for every order. Return True in each child, made what was ordered; False when there are no more orders."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(link, _LARGEST_ORDER, 2)
        if not order:
            return False
        pid = _fork_orphan()
        if pid == 0:
            link.close()
            _become(json.loads(order), descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(str(pid).encode())


def _fork_orphan() -> int:
    """Fork twice and let the one between end, so that the second belongs to the tests; 0 in it, its id here."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        pid = os.fork()
        if pid:
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.close(reading)
        os.close(writing)
        return 0
    os.close(writing)
    os.wait()  # from here on it has its new parent
    with os.fdopen(reading) as told:
        return int(told.read())


def _become(order: Mapping[str, object], descriptors: Sequence[int]) -> None:
    """Take on the arguments, environment, working directory and outputs that *order* names."""
    arguments, environment = order["arguments"], order["environment"]
    assert isinstance(arguments, list) and isinstance(environment, dict)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(order["folder"]))
    sys.argv = ["archiver", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends us all
    _read_modules()
    if _serve(socket.socket(fileno=int(sys.argv[1]))):
        runpy.run_module("archiver", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
