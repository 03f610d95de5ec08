"""Workers that run programs: from the message to the answer, and after a worker was killed at any moment."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command.runs import processes_in
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .worker_env import WorkerEnv

POLICY = """
[defaults]
disk = "16MiB"
[commands.tool]
argv = ["{python}", "-c", {script}, "{{arguments}}"]
inputs = ["{sources}/"]
outputs = ["{sources}/made/"]
{more}
[commands.tool.arguments]
positional = [{{ type = "input" }}, {{ type = "output" }}]
"""

COPY = """
import sys, pathlib
print("archiver-progress: 0.5", file=sys.stderr)
pathlib.Path(sys.argv[2]).write_bytes(pathlib.Path(sys.argv[1]).read_bytes().upper())
"""


class Setup:
    """A worker with the command `tool`, which runs *script*; `work` is its WORK_DIR."""

    def __init__(self, env: WorkerEnv, folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.work = folder / "work"

    def settings(self, script: str = COPY, more: str = "", **other: str) -> dict[str, str]:
        policy = self.folder / "policy.toml"
        values = {"python": sys.executable, "script": json.dumps(script), "sources": self.env.sources, "more": more}
        policy.write_text(POLICY.format(**values))
        return {"POLICY_FILE": str(policy), "WORK_DIR": str(self.work), **other}

    def send(self, **request: Any) -> None:
        arguments = [
            {"type": "input", "value": f"s3://{self.env.sources}/a.txt"},
            {"type": "output", "value": f"s3://{self.env.sources}/made/b.txt"},
        ]
        body = {"command": {"name": "tool", "arguments": arguments}, **request}
        self.env.aws.sqs.send_message(QueueUrl=self.env.source, MessageBody=json.dumps(body))

    @property
    def made(self) -> bytes:
        found = self.env.aws.s3.get_object(Bucket=self.env.sources, Key="made/b.txt")
        return bytes(found["Body"].read())

    def left(self) -> list[str]:
        """The directories of jobs, and the processes that work in one."""
        return [path.name for path in self.work.glob("job-*")] + processes_in(self.work)


@pytest.fixture
def setup(emulated: EmulatedAws, tmp_path: Path) -> Iterator[Setup]:
    """Yield the set-up of a test. A message that is not held any more comes back after 2 seconds."""
    with WorkerEnv(emulated, visibility=2) as env:
        env.put("a.txt", b"content")
        yield Setup(env, tmp_path)


def test_a_program_is_run_and_a_second_message_of_the_job_is_answered_from_its_result(setup: Setup) -> None:
    setup.env.worker(**setup.settings())
    setup.send(job_id="j", metadata={"k": 1})
    first = setup.env.answer()
    setup.send(job_id="j")
    second = setup.env.answer()

    assert setup.made == b"CONTENT"
    assert (first["status"], first["metadata"], first["command"]["exit_code"]) == ("succeeded", {"k": 1}, 0)
    assert (first["reused"], second["reused"]) == (False, True)
    assert setup.left() == []


SLOW = """
import pathlib, subprocess, sys, time
marker = pathlib.Path({marker!r})
first = not marker.exists()
marker.write_text("ran")
if first:
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    time.sleep(1000)
pathlib.Path(sys.argv[2]).write_text("second run")
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_nothing_after_the_next_start_and_the_job_is_done_once_more(
    setup: Setup, tmp_path: Path
) -> None:
    """K6: SIGKILL while the program runs."""
    marker = tmp_path / "marker"
    settings = setup.settings(SLOW.format(marker=str(marker)))
    first = setup.env.worker(**settings)
    setup.send()
    wait_until(marker.exists, "the program to run")
    first.kill()
    wait_until(lambda: not processes_in(setup.work), "the program to end with its worker")
    assert setup.left()
    setup.env.worker(**settings)

    assert setup.env.answer()["status"] == "succeeded"
    assert setup.made == b"second run"
    assert setup.left() == []
