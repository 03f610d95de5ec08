"""A command as a process of its own, with pipes or on a terminal; signalled, read, and never left behind."""

import contextlib
import fcntl
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from faults.scenario import Scenario
from faults.worker_process import WAIT_TIMEOUT, join_thread, wait_until
from zygote import Process, inherited_environment, launch

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;)[0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


class CliProcess:
    """
    `with CliProcess(arguments, env) as command`: `python -m archiver` and *arguments*, or *program* and arguments.
    *terminal*: standard error is a terminal of so many columns (standard output never is one). *largest_file* in bytes.
    Only a *program* has a standard input that `say` writes to.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        terminal: int | None = None,
        program: Sequence[str] = (),
        largest_file: int | None = None,
    ) -> None:
        self._leader, follower = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, terminal, 0, 0))
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # until the block is left
        environment = {**inherited_environment(), "TERM": "xterm-256color", **env}
        self._input: IO[bytes] | None = None
        self.process: Process
        if program:
            command = [sys.executable, *program, *arguments]
            self.process = started = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=self._output, stderr=follower
            )
            self._input = started.stdin
        else:
            self.process = launch(arguments, environment, out=self._output.fileno(), err=follower)
        os.close(follower)
        if largest_file is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        self._errors = bytearray()
        self._reader = threading.Thread(target=self._read, name="standard-error", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._wait()
        self._output.close()
        os.close(self._leader)
        if error is not None:
            error.add_note(f"--- standard error\n{self.errors}")

    def _read(self) -> None:
        try:
            while block := os.read(self._leader, 65536):
                self._errors += block
        except OSError:  # what a terminal says when nobody holds its other end any more
            pass

    @property
    def errors(self) -> str:
        """What stands on standard error so far, escapes and all."""
        return self._errors.decode(errors="replace")

    @property
    def frames(self) -> list[str]:
        """The same as a person sees it: every line that was ever painted, one after the other."""
        return [line for line in re.split(r"[\r\n]+", ESCAPE.sub("", self.errors)) if line.strip()]

    def say(self, line: str) -> None:
        """Write *line* to its standard input."""
        assert self._input is not None
        self._input.write(f"{line}\n".encode())
        self._input.flush()

    def wait_for_text(self, text: str) -> None:
        """Wait until *text* stands in one of the frames."""
        wait_until(lambda: self._said(text) or self.process.poll() is not None, f"{text!r} on standard error")
        if not self._said(text):
            join_thread(self._reader)  # what it wrote before it ended may still be on its way
        assert self._said(text), f"it ended with {self.process.returncode}, without {text!r} on standard error"

    def _said(self, text: str) -> bool:
        return any(text in frame for frame in self.frames)

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it wrote to standard output, when it has ended by itself."""
        code = self._wait()
        self._output.seek(0)
        return code, self._output.read().decode()

    def _wait(self) -> int:
        """End its standard input, and wait until it has ended and its standard error is read; its exit code."""
        if self._input is not None:
            with contextlib.suppress(BrokenPipeError):
                self._input.close()
        code = self.process.wait(WAIT_TIMEOUT)
        join_thread(self._reader)
        return code


def cli_environment(scenario: Scenario, **other: str) -> dict[str, str]:
    """What a worker on *scenario* is told, for a command behind the same proxy."""
    told = scenario.config.environment(scenario._queues, scenario.sources, scenario.archives)
    return {**told, "AWS_ENDPOINT_URL": scenario.proxy.listen("command"), **other}


def partial_files(folder: Path) -> list[str]:
    """What a command has begun to write into *folder*, or left there."""
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".partial"))
