"""
Programs in containers, by the command line of `docker`, without its daemon's API.

A container has no network unless the operator says so, no right, a file system that can't be written to but `/job/out`,
`/job/work` and `/tmp`, and limits of memory, processors and processes. Its user is nobody, or the worker's own where
that is not root, so that the worker can read and remove what it wrote.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from archiver.command.native import Spec, started
from archiver.command.space import WorkSpace, is_live
from archiver.command.streams import Pump, Tail
from archiver.core.commands import Command, Container

log = structlog.get_logger(__name__)

DIRECTORY = "/job"
"""The job's directory, as the program sees it."""

NOBODY = 65534
DAEMON_FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # exit codes of `docker run` itself

_CLIENT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
)
_LIST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """
    One run of *command* with *argv*. *id* is unique; *worker*: whose it is; *directory*: of the job, on the host.
    *secrets*: variables whose values stand in no command line.
    """

    command: Command
    argv: Sequence[str]
    id: str
    worker: str
    directory: Path
    has_stdin: bool
    secrets: Mapping[str, str]


def docker_spec(run: ContainerRun, container: Container) -> Spec:
    """Return the client that runs the container and, if it is killed, what removes the container."""
    name = f"archiver-{run.id}"
    limits = run.command.limits
    argv = ["docker", "run", "--rm", "--init", "--name", name]
    argv += ["--label", f"archiver.worker={socket.gethostname()}"]
    argv += ["--label", f"archiver.directory={run.directory.parent}", "--label", f"archiver.lock={run.worker}"]
    argv += ["--pull", container.pull, "--network", container.network]
    argv += ["--read-only", "--tmpfs", "/tmp:rw,size=64m", "--user", container_user()]  # noqa: S108 - the container's
    argv += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    argv += ["--memory", str(limits.memory), "--cpus", str(limits.cpus), "--pids-limit", "256"]
    argv += ["-e", "HOME=/tmp", "-e", "TMPDIR=/tmp"]
    for variable, value in run.command.env.items():
        argv += ["-e", f"{variable}={value}"]
    for variable in run.secrets:
        argv += ["-e", variable]
    argv += ["-v", f"{run.directory}/in:{DIRECTORY}/in:ro"]
    for folder in ("out", "work"):
        argv += ["-v", f"{run.directory}/{folder}:{DIRECTORY}/{folder}"]
    argv += ["-w", f"{DIRECTORY}/work"]
    if run.has_stdin:
        argv += ["--interactive"]
    return Spec(
        [*argv, container.image, *run.argv],
        {**client_environment(), **run.secrets},
        run.directory,
        cleanup=["docker", "rm", "--force", name],
        cleanup_codes=[DAEMON_FAILED],
    )


def container_user() -> str:
    """Return the user and group of containers."""
    user, group = os.getuid(), os.getgid()
    return f"{NOBODY}:{NOBODY}" if user == 0 else f"{user}:{group}"


def open_to_container(directory: Path) -> None:
    """Let the user of containers write where a program may, if that is not the worker's."""
    if os.getuid() == 0:
        for folder, _, _ in (*os.walk(directory / "out"), *os.walk(directory / "work")):
            os.chown(folder, NOBODY, NOBODY)


def client_environment() -> dict[str, str]:
    """Return the environment of the client: where its daemon is, and nothing else of the worker's."""
    return {name: os.environ[name] for name in _CLIENT_VARIABLES if name in os.environ}


async def remove_containers(space: WorkSpace) -> int:
    """
    Remove the containers that killed workers of this directory left behind; return their number. A daemon that does not
    answer is logged.
    """
    listed = await _docker(
        space.root,
        *("ps", "--all", "--no-trunc", "--filter", f"label=archiver.worker={socket.gethostname()}"),
        *("--filter", f"label=archiver.directory={space.root}", "--format", '{{.ID}} {{.Label "archiver.lock"}}'),
    )
    lines = [line.split() for line in listed.splitlines()]
    left = [line[0] for line in lines if len(line) == 2 and not is_live(space.root, line[1])]  # noqa: PLR2004
    if left:
        await _docker(space.root, "rm", "--force", *left)
        log.info("command.containers_removed", containers=len(left))
    return len(left)


async def _docker(directory: Path, *words: str) -> str:
    """Run the client; return what it prints."""
    tail = Tail(_LIST_BYTES)
    async with started(Spec(["docker", *words], client_environment(), directory)) as process:
        process.stdin.close()
        errors = Tail(1024)
        await Pump(process.stdout, tail).run()
        await Pump(process.stderr, errors).run()
        ended = await process.ended()
    if ended.code != 0:
        log.warning("command.docker_failed", command=words[0], reason=errors.text().strip())
    return tail.text()
