"""
Start `python -m archiver` as a separate process by fork, from a process that has already imported all modules.

A start takes a second of CPU time, mostly imports, and the tests start hundreds of processes. So each pytest process
has one zygote, which imports all of archiver once and forks a child for every `launch`. A child has its own arguments,
environment, working directory and outputs; its parent is the pytest process.

A fork does not test the start of the interpreter, the order and cost of imports, or memory from zero, because it
begins with its parent's pages. Tests of these are marked `fresh` (conftest). `FRESH=1 pytest` starts every process of
every test without a fork.
"""

import atexit
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

import typer.main
from service_models import read_service_models, share_service_models

INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
INHERITED_KINDS = ("COVERAGE_", "COV_", "PYTHON")
FRESH = "FRESH"  # environment variable: start processes instead of forking them

IMPORTED_LATE = ("encodings.idna",)  # imported by libraries at first use

_LARGEST_ORDER = 1 << 20  # bytes
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def inherited_environment() -> dict[str, str]:
    """Return the variables that processes under test inherit: enough to run Python, and no settings of the archiver."""
    return {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith(INHERITED_KINDS)}


class ForkedProcess:
    """A child forked by the zygote, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._waiting = threading.Lock()  # a second waitpid of an ended child would fail

    def poll(self) -> int | None:
        """Return its exit code, the negative number of the signal that ended it, or None while it runs."""
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for its exit code. Raises `subprocess.TimeoutExpired` after *timeout* seconds."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("archiver", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal if it is running."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | ForkedProcess


def launch(arguments: Sequence[str], environment: Mapping[str, str], *, out: int, err: int) -> Process:
    """
    Run `python -m archiver` with *arguments* and *environment*; *out* and *err* become its descriptors 1 and 2.

    Standard input is empty. With `FRESH` in the tests' environment, start a new interpreter instead of forking.
    """
    if FRESH in os.environ:
        command = [sys.executable, "-m", "archiver", *arguments]
        return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    return _zygote().fork(arguments, environment, out, err)


class _Zygote:
    """The pytest process's end of the connection to the zygote: requests forks."""

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
            reply = self._link.recv(64)
        if not reply:
            raise ChildProcessError("the zygote exited; see its standard error")
        return ForkedProcess(int(reply))

    def close(self) -> None:
        """Stop the zygote and wait until it has exited: it saves coverage data, too."""
        self._link.close()
        self._process.wait(60)


@cache
def _zygote() -> _Zygote:
    return _Zygote()


def close() -> None:
    """Stop the zygote, if one runs. Interpreter exit is too late: xdist allows ten seconds for it in total."""
    if _zygote.cache_info().currsize:
        _zygote().close()
        _zygote.cache_clear()


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `waitpid` works for the forks."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


# ----- in the zygote ---------------------------------------------------------------------------------------------


def _read_modules() -> None:
    """Import all of archiver except `archiver.local` (with its emulator) and `archiver.__main__`."""
    package = importlib.import_module("archiver")
    for found in pkgutil.walk_packages(package.__path__, "archiver."):
        if not found.name.startswith(("archiver.local", "archiver.__main__")):
            importlib.import_module(found.name)
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    share_service_models()
    read_service_models()
    _build_commands_once()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and therefore copy, all these pages


def _build_commands_once() -> None:
    """Have typer build the tree of commands now: it takes longer than many commands."""
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(importlib.import_module("archiver.cli").app)


def _serve(link: socket.socket) -> bool:
    """Fork for each request. Return True in each child, after `_become`; return False after the last request."""
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
    """Fork twice and end the intermediate process, so that pytest adopts the child. Return 0 in it, its pid here."""
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
    os.wait()  # now the child has its new parent
    with os.fdopen(reading) as pipe:
        return int(pipe.read())


def _become(order: Mapping[str, object], descriptors: Sequence[int]) -> None:
    """Set the arguments, environment, working directory and outputs given in *order*."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest handles Ctrl-C and stops the zygote
    _read_modules()
    if _serve(socket.socket(fileno=int(sys.argv[1]))):
        _run()


def _run() -> None:
    """Run `python -m archiver`, and exit as the interpreter would."""
    try:
        runpy.run_module("archiver", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        _exit(end.code or 0)
    _exit(0)


def _exit(code: int) -> None:
    """
    Do what the interpreter does at its end, but for freeing every object: that would copy all pages of the parent, and
    takes longer than many commands. If the outputs cannot be written, the interpreter has to say so.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    _main()
