"""The worker process: start, signals, output, resources. `close` always ends it."""

import fcntl
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zygote import inherited_environment, launch

WAIT_TIMEOUT = 40.0  # seconds: the default timeout of every wait


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """Resources of a process: threads, open sockets, and resident memory in bytes."""

    threads: int
    sockets: int
    memory: int


def exceeds_baseline(before: ProcessResources, after: ProcessResources, memory: int) -> list[str]:
    """Return violations of promise 10: more threads or sockets than *before*, or more than *memory* bytes of growth."""
    findings = [
        f"{kind} grew from {getattr(before, kind)} to {getattr(after, kind)}"
        for kind in ("threads", "sockets")
        if getattr(after, kind) > getattr(before, kind)
    ]
    if after.memory > before.memory + memory:
        findings.append(f"memory grew by {after.memory - before.memory} bytes")
    return findings


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_TIMEOUT) -> None:
    """Return as soon as *condition* holds. Raises AssertionError after *seconds*."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"still waiting for {what} after {seconds} s")
        time.sleep(0.02)


def join_thread(thread: threading.Thread) -> None:
    """Wait until *thread* has ended. Raises AssertionError on timeout: a process still holds the pipe that it reads."""
    thread.join(WAIT_TIMEOUT)
    assert not thread.is_alive(), f"{thread.name} goes on after {WAIT_TIMEOUT} s"


class WorkerProcess:
    """One `archiver run` process. *output*: its lines of stdout and stderr, in order."""

    def __init__(self, name: str, settings: Mapping[str, str]) -> None:
        self.name = name
        self.output: list[str] = []
        self.terminating = False
        reading, writing = os.pipe()
        self._process = launch(["run"], {**inherited_environment(), **settings}, out=writing, err=writing)
        os.close(writing)
        self._written = os.fdopen(reading, encoding="utf-8")
        self._may_read = threading.Event()
        self._may_read.set()
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._written:
            self.output.append(line.rstrip("\n"))
            self._may_read.wait()

    def stop_reading(self) -> None:
        """Stop reading its output, and reduce the pipe to one page."""
        self._may_read.clear()
        fcntl.fcntl(self._written, fcntl.F_SETPIPE_SZ, resource.getpagesize())

    def resume_reading(self) -> None:
        """Resume reading its output."""
        self._may_read.set()

    @property
    def log(self) -> str:
        return "\n".join(self.output)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def events(self, name: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the JSON log lines, or those of one event."""
        for line in list(self.output):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and name in (None, event.get("message")):
                yield event

    def wait_for(self, event: str, seconds: float = WAIT_TIMEOUT) -> dict[str, Any]:
        """Wait for the first log line of *event*, and return it."""
        wait_until(lambda: any(self.events(event)) or not self.running, f"{event} of {self.name}", seconds)
        found = next(self.events(event), None)
        assert found is not None, f"{self.name} ended without {event}:\n{self.log}"
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process is running."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it has ended."""
        self.send(signal.SIGKILL)
        self._process.wait(WAIT_TIMEOUT)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.terminating = True
        self.send(signal.SIGTERM)

    def stop(self) -> None:
        """Suspend it (SIGSTOP), and wait until it is suspended."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: not self.running or self._state() == "T", f"{self.name} to be suspended")

    def resume(self) -> None:
        """Resume it (SIGCONT)."""
        self.send(signal.SIGCONT)

    def suspend_for(self, seconds: float) -> None:
        """Suspend it now, and resume it after *seconds*."""
        self.stop()
        timer = threading.Timer(seconds, self.resume)
        timer.daemon = True
        timer.start()

    def exit_code(self, seconds: float = WAIT_TIMEOUT) -> int:
        """Wait until it has exited and its output is read; return its exit code."""
        code = self._process.wait(seconds)
        join_thread(self._reader)
        return code

    def close(self) -> None:
        """End it in any state, and close its output."""
        if self.running:
            self._process.kill()
        self._process.wait(WAIT_TIMEOUT)
        self.resume_reading()
        join_thread(self._reader)
        self._written.close()

    def facts(self) -> ProcessResources:
        """Return its current resources."""
        links = (link.readlink() for link in Path(f"/proc/{self._process.pid}/fd").iterdir() if link.is_symlink())
        sockets = sum(str(target).startswith("socket:") for target in links)
        return ProcessResources(self._status("Threads"), sockets, self._status("VmRSS") * 1024)

    def wait_for_baseline(self, before: ProcessResources, memory: int) -> None:
        """Wait until its resources are at most *before* plus *memory* bytes; idle connections close after a while."""
        try:
            wait_until(lambda: not exceeds_baseline(before, self.facts(), memory), "the baseline")
        except AssertionError as error:
            raise AssertionError("; ".join(exceeds_baseline(before, self.facts(), memory))) from error

    def peak_memory(self) -> int:
        """Return its peak resident memory in bytes."""
        return self._status("VmHWM") * 1024

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(dict(line.split(":", 1) for line in lines)[name].split()[0])

    def _state(self) -> str:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2]
        return fields.split()[0]
