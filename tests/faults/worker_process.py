"""The worker as a process of its own: started, signalled, read; never left behind."""

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

WAIT_TIMEOUT = 40.0  # seconds: how long a test waits for anything, at the most


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """What a process holds: threads, open sockets, and memory in use, in bytes."""

    threads: int
    sockets: int
    memory: int


def exceeds_baseline(before: ProcessResources, after: ProcessResources, memory: int) -> list[str]:
    """Promise 10: threads and sockets are no more than *before*, memory no more than *memory* bytes above."""
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
    """Return when *thread* has ended. Raises AssertionError where it does not: somebody still holds what it reads."""
    thread.join(WAIT_TIMEOUT)
    assert not thread.is_alive(), f"{thread.name} goes on after {WAIT_TIMEOUT} s"


class WorkerProcess:
    """One `archiver run`. What it writes is kept in *output*, in order; after `close` nothing of it is left."""

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
        """Take nothing more of what it writes, and leave it one page of pipe."""
        self._may_read.clear()
        fcntl.fcntl(self._written, fcntl.F_SETPIPE_SZ, resource.getpagesize())

    def resume_reading(self) -> None:
        """Read all that it has written meanwhile, and go on."""
        self._may_read.set()

    @property
    def log(self) -> str:
        return "\n".join(self.output)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def events(self, name: str | None = None) -> Iterator[dict[str, Any]]:
        """The log lines that are JSON, or those of one event."""
        for line in list(self.output):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and name in (None, event.get("message")):
                yield event

    def wait_for(self, event: str, seconds: float = WAIT_TIMEOUT) -> dict[str, Any]:
        """The first log line of *event*, as soon as it is there."""
        wait_until(lambda: any(self.events(event)) or not self.running, f"{event} of {self.name}", seconds)
        found = next(self.events(event), None)
        assert found is not None, f"{self.name} ended without {event}:\n{self.log}"
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to get it."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (SIGKILL), and return when it is gone."""
        self.send(signal.SIGKILL)
        self._process.wait(WAIT_TIMEOUT)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.terminating = True
        self.send(signal.SIGTERM)

    def stop(self) -> None:
        """Let it stand still (SIGSTOP), and return when it does."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: not self.running or self._state() == "T", f"{self.name} to stand still")

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.send(signal.SIGCONT)

    def suspend_for(self, seconds: float) -> None:
        """Let it stand still for *seconds* from now on."""
        self.stop()
        thaw = threading.Timer(seconds, self.resume)
        thaw.daemon = True
        thaw.start()

    def exit_code(self, seconds: float = WAIT_TIMEOUT) -> int:
        """Its exit code, when it has ended by itself and its last words are read."""
        code = self._process.wait(seconds)
        join_thread(self._reader)
        return code

    def close(self) -> None:
        """See to it that it is gone, whatever state it is in."""
        if self.running:
            self._process.kill()
        self._process.wait(WAIT_TIMEOUT)
        self.resume_reading()
        join_thread(self._reader)
        self._written.close()

    def facts(self) -> ProcessResources:
        """What it holds now."""
        links = (link.readlink() for link in Path(f"/proc/{self._process.pid}/fd").iterdir() if link.is_symlink())
        sockets = sum(str(target).startswith("socket:") for target in links)
        return ProcessResources(self._status("Threads"), sockets, self._status("VmRSS") * 1024)

    def wait_for_baseline(self, before: ProcessResources, memory: int) -> None:
        """Wait until it holds no more than *before*, but for *memory* bytes. Connections may be kept for a while."""
        try:
            wait_until(lambda: not exceeds_baseline(before, self.facts(), memory), "the baseline")
        except AssertionError as error:
            raise AssertionError("; ".join(exceeds_baseline(before, self.facts(), memory))) from error

    def peak_memory(self) -> int:
        """The most that it has ever held, in bytes."""
        return self._status("VmHWM") * 1024

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(dict(line.split(":", 1) for line in lines)[name].split()[0])

    def _state(self) -> str:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2]
        return fields.split()[0]
