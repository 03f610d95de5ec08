"""A command with a fault at every call: a second worker without faults must complete it as if there had been none."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from command.runs import processes_in

from .crashes import ENDING, JOB_TIMEOUT, MODES, STARTING, Point, place
from .observations import executed
from .rules import Rule
from .scenario import Scenario
from .worker_process import wait_until

FIRST, SECOND, THIRD = "in/1.txt", "in/more/2.txt", "in/more/3.txt"
MADE, PRINTED, ARCHIVES = "made/joined.txt", "made/stdout.txt", "archives"

OWN = (
    Point("HeadObject", ARCHIVES, 1),  # an archive under the job's id
    Point("HeadObject", ARCHIVES, 2),  # a result that is remembered
    Point("HeadObject", MADE),
    Point("HeadObject", PRINTED),
    Point("ListObjects", "sources"),
    Point("HeadObject", FIRST),
    Point("HeadObject", SECOND),
    Point("HeadObject", THIRD),
    Point("GetObject", FIRST),
    Point("GetObject", SECOND),
    Point("GetObject", THIRD),
    Point("PutObject", PRINTED),
    Point("PutObject", MADE),
    Point("PutObject", ARCHIVES),  # the result
)
"""The calls of the command itself, from the look for an earlier run to the remembered result."""

ANSWERING = tuple(point for point in ENDING if point.op.endswith("Message"))
POINTS = (*OWN, *ANSWERING)
"""Those with faults: the start is that of every job."""
ALL = (*STARTING, *POINTS)
"""Every call of a worker that runs the command. A test compares this list with a real run."""

POLICY = """
[commands.join]
argv = [{python}, "-I", "-S", "-c", {script}, {runs}, "{{arguments}}"]
inputs = ["{bucket}/in/"]
outputs = ["{bucket}/made/"]
disk = "2GiB"
[commands.join.arguments]
positional = [{{ type = "input" }}, {{ type = "output" }}]
"""

SCRIPT = """
import os, sys, time
runs, first, made = sys.argv[1:]
with open(runs, "a") as file:
    print(time.monotonic(), file=file)
folder = os.path.join(os.path.dirname(first), "more")
paths = [first, *(os.path.join(folder, name) for name in sorted(os.listdir(folder)))]
with open(made, "wb") as file:
    for path in paths:
        with open(path, "rb") as piece:
            file.write(piece.read())
print("joined", len(paths))
"""

SLEEPS_FIRST = (
    SCRIPT
    + """
if len(open(runs).readlines()) == 1:
    import subprocess
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    time.sleep(1000)
"""
)
"""It ends only when it runs again, and leaves a child."""


@dataclass(frozen=True, slots=True)
class CommandJob:
    """A command that joins an object and those of a prefix, and prints to an object. *folder*: of this test alone."""

    scenario: Scenario
    folder: Path
    script: str = SCRIPT

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def begin(self) -> dict[str, str]:
        """Send the request; return the settings of workers that may run the command."""
        bucket = self.scenario.sources
        for key in (FIRST, SECOND, THIRD):
            self.scenario.put(key, f"{key}\n".encode())
        command = {
            "name": "join",
            "arguments": [
                {"type": "input", "value": f"s3://{bucket}/{FIRST}"},
                {"type": "output", "value": f"s3://{bucket}/{MADE}"},
            ],
            "input": [f"s3://{bucket}/in/more/"],
            "stdout": {"type": "uri", "value": f"s3://{bucket}/{PRINTED}"},
        }
        outputs = {f"s3://{bucket}/{MADE}": self.joined}
        self.scenario.send_command(command, outputs, job_id="join-1")
        file = self.folder / "policy.toml"
        quoted = {"python": sys.executable, "script": self.script, "runs": str(self.folder / "runs")}
        file.write_text(POLICY.format(bucket=bucket, **{name: json.dumps(text) for name, text in quoted.items()}))
        return {"POLICY_FILE": str(file), "WORK_DIR": str(self.work)}

    @property
    def joined(self) -> bytes:
        return f"{FIRST}\n{SECOND}\n{THIRD}\n".encode()

    @property
    def runs(self) -> list[float]:
        """When the program was started each time, by the clock of the history."""
        file = self.folder / "runs"
        return [float(line) for line in file.read_text().split()] if file.exists() else []

    def check(self) -> None:
        """
        Stop the workers and check the promises. The outputs are whole, nothing is left on this machine, and the program
        was not started again once its result was remembered.
        """
        self.scenario.finish()
        direct, bucket = self.scenario.direct.s3, self.scenario.sources
        found = {key: direct.get_object(Bucket=bucket, Key=key)["Body"].read() for key in (MADE, PRINTED)}
        assert found == {MADE: self.joined, PRINTED: b"joined 3\n"}
        assert [path.name for path in self.work.glob("job-*")] + processes_in(self.work) == []
        (job,) = self.scenario.jobs
        remembered = min(one.committed or 0 for one in executed(self.scenario.view.writes(job.key)))
        assert self.runs and max(self.runs) < remembered


def run_with_fault(job: CommandJob, point: Point, mode: str) -> None:
    """
    Run the command with a fault of *mode* at *point*. A second worker completes it without faults.

    Raises AssertionError if it does not complete or a promise is broken.
    """
    scenario, settings = job.scenario, job.begin()
    worker = scenario.worker(**settings)
    rules = [
        scenario.proxy.add(
            Rule(action, op=point.op, nth=point.nth, when=lambda call: place(scenario, call) == point.place)
        )
        for action in MODES[mode](worker)
    ]
    (sent,) = scenario.jobs
    killed = "killed" in mode
    wait_until(lambda: not worker.running or (scenario.ended(sent) and not killed), "an exit or the end", JOB_TIMEOUT)
    if not worker.running:
        assert killed or worker.exit_code() == 0
        scenario.worker("clean", **settings).wait_for("worker.ready")  # it removes what the first one left
    scenario.wait_deleted(seconds=JOB_TIMEOUT)
    assert all(rule.fired == 1 for rule in rules)
    job.check()
