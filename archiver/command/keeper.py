"""
Runs one program, and ends it with everything that it started. A process of its own, with the standard library only:

    python -I -S keeper.py FD

FD is a socket to the worker. The first line on it says what to run (`Spec` in `archiver.command.native`). Then a byte
`T` asks the program's process group to end (SIGTERM), and `K`, or the end of the worker, ends everything at once.

The keeper adopts orphans (PR_SET_CHILD_SUBREAPER): a process that leaves the group, even by setsid, stays among its
descendants. When the program has ended, all of them are killed, so nobody holds its pipes any longer.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
KILL_SECONDS = 30.0  # a process that waits for a disk dies when the disk answers
CLEANUP_SECONDS = 30.0


def main(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)  # a program that had it could tell the worker of an end of its own making
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the worker decides, not who signals its group
        signal.signal(number, signal.SIG_IGN)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    spec = json.loads(_read_line(control))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # the program may have stopped this process when the worker is killed
    pid, problem = _start(spec)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for own in (0, 1, 2):  # the program's pipes end with the program
        os.dup2(nothing, own)
    _send(control, {"pid": pid, "problem": problem})
    ended = _wait(control, wake, pid)
    left = kill_descendants()
    if spec["cleanup"] and (ended is None or "signal" in ended or ended.get("code") in spec["cleanup_codes"]):
        _run_cleanup(spec["cleanup"], spec["env"])
    _send(control, {"left": left, **_reaped.get(pid, {})})


_reaped: dict[int, dict[str, int]] = {}


def _read_line(control: socket.socket) -> bytes:
    """Read one line, and nothing of what follows: the worker may ask for the end before the start."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = control.recv(65536, socket.MSG_PEEK)
        if not data:
            sys.exit(1)  # the worker has gone before it said what to run
        line += control.recv(data.find(b"\n") + 1 or len(data))
    return bytes(line)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the worker has gone
        control.sendall(json.dumps(message).encode() + b"\n")


def _start(spec: dict[str, Any]) -> tuple[int, str]:
    """Start the program; return its process id, and why it could not be started ("" if it was)."""
    problems, report = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(spec, report)
    os.close(report)
    with open(problems, "rb") as pipe:
        return pid, pipe.read().decode(errors="replace")


def _become(spec: dict[str, Any], report: int) -> NoReturn:
    """Become the program."""
    step = spec["argv"][0]
    try:
        os.setsid()
        os.umask(0o077)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                with contextlib.suppress(OSError, ValueError):  # numbers that the C library keeps for itself
                    signal.signal(number, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _prefer_for_oom_killer()
        for name, value in spec["limits"].items():
            _limit(getattr(resource, name), value)
        os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - what this is for
    except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it
        text = error.strerror if isinstance(error, OSError) else repr(error)
        os.write(report, f"{step}: {text}".encode(errors="replace"))
    os._exit(127)


def _limit(number: int, value: int) -> None:
    if number == resource.RLIMIT_NPROC:  # counts all of the user's, not those of the program alone
        value += _tasks_of(os.getuid())
    _, hard = resource.getrlimit(number)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(number, (value, value))


def _tasks_of(user: int) -> int:
    """Return how many processes and threads *user* has."""
    count = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _prefer_for_oom_killer() -> None:
    """Out of memory, the kernel ends the program rather than the worker."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")


def _wait(control: socket.socket, wake: int, pid: int) -> dict[str, int] | None:
    """Wait for the end of the program, and return how it ended; None if it must be killed."""
    while True:
        _reap()
        if pid in _reaped:
            return _reaped[pid]
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if control.fileno() in ready:
            try:
                data = control.recv(64)
            except OSError:
                data = b""
            if not data or b"K" in data:
                return None
            _signal_group(pid, signal.SIGTERM)  # not collected yet: the number is still its own
            _signal_group(pid, signal.SIGCONT)


def _reap() -> bool:
    """Collect the children that have ended. Return whether there are others."""
    try:
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return True
            code = os.waitstatus_to_exitcode(status)
            _reaped[ended] = {"signal": -code} if code < 0 else {"code": code}
    except ChildProcessError:
        return False


def kill_descendants() -> int:
    """
    End all descendants of this process. Return how many are left after `KILL_SECONDS`.

    Whole groups are signalled: within one, no process can fork and escape the signal. Those that left their group, or
    were started meanwhile, are found in the next round; orphans are adopted, so none is ever out of reach.
    """
    deadline, pause = time.monotonic() + KILL_SECONDS, 0.001
    while True:
        own, found = os.getpgid(0), descendants()
        for group in {group for _, group in found if group != own}:
            _signal_group(group, signal.SIGKILL)
        for pid in [pid for pid, group in found if group == own]:
            os.kill(pid, signal.SIGKILL)
        if not _reap():
            return 0
        if time.monotonic() > deadline:
            return max(1, len(found))
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def descendants() -> list[tuple[int, int]]:
    """Return the process and group ids of all descendants of this process."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    _, parent, group = file.read().rpartition(b")")[2].split()[:3]
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(int(parent), []).append((int(name), int(group)))
    found: list[tuple[int, int]] = []
    waiting = [os.getpid()]
    while waiting:
        more = children.get(waiting.pop(), [])
        found += more
        waiting += [pid for pid, _ in more]
    return found


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _run_cleanup(argv: list[str], env: dict[str, str]) -> None:
    import subprocess  # noqa: PLC0415 - late: most programs need no cleanup

    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, env=env, timeout=CLEANUP_SECONDS, check=False)  # noqa: S603 - the operator's program
    kill_descendants()


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
