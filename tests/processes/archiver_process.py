"""The worker's process, and what can be seen of it from outside."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faults.worker_process import WAIT_TIMEOUT, WorkerProcess
from zygote import inherited_environment, launch

MIB = 1024 * 1024
NO_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Worker(WorkerProcess):
    """One `archiver run`, standard output and error as one."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All that it wrote, each line a JSON object. Raises ValueError where one is not."""
        return [json.loads(line) for line in list(self.output)]

    def about(self, message_id: str) -> list[dict[str, Any]]:
        """The lines of one message."""
        return [line for line in self.lines if line.get("message_id") == message_id]

    def peak_memory(self) -> int:
        """The most memory that it ever had resident, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def forbid_files(self, forbidden: bool = True) -> None:
        """From now on no byte can be written to any file (pipes and sockets are none), or all is as before."""
        limit = resource.RLIM_INFINITY
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (0 if forbidden else limit, limit))


def run_command(
    *arguments: str, env: Mapping[str, str] | None = None, seconds: float = WAIT_TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run `python -m archiver` to its end, in no environment but *env*, for *seconds* at the most."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        environment = {**inherited_environment(), **(env or {})}
        process = launch(arguments, environment, out=out.fileno(), err=err.fileno())
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
            process.wait(WAIT_TIMEOUT)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())
