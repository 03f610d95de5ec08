"""What `archiver check` looks at for commands: their programs, docker, their credentials, and where they work."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from archiver.command.docker import client_environment
from archiver.command.native import Spec, started
from archiver.command.run import DEFAULT_PATH
from archiver.command.streams import Pump, Tail
from archiver.core.commands import Command
from archiver.core.preflight import CheckResult
from archiver.errors import ConfigurationError, TransientError

DOCKER_SECONDS = 20.0
_KEPT = 1024  # bytes of what docker prints


async def check_commands(commands: Mapping[str, Command], root: Path, total: int) -> list[CheckResult]:
    """Check all that *commands* need on this machine. *root*: WORK_DIR; *total*: bytes that all may take there."""
    results = [result for command in commands.values() for result in _check_command(command)]
    if any(command.container for command in commands.values()):
        results.append(await check_docker())
    return [*results, check_work_dir(root, total)]


def _check_command(command: Command) -> Iterator[CheckResult]:
    if command.container is not None:
        return
    what = f"command {command.name}"
    program = "".join(piece for piece in command.argv[0] if isinstance(piece, str))
    path = command.env.get("PATH", os.environ.get("PATH", DEFAULT_PATH))
    found = shutil.which(program, path=path)
    if found is not None:
        yield CheckResult(what, "ok", f"runs {found}")
    elif os.path.isfile(program):
        yield CheckResult(what, "bad", f"{program} is not executable by this user", f"chmod +x {program}")
    else:
        where = "does not exist" if "/" in program else f"is in no folder of PATH ({path})"
        yield CheckResult(what, "bad", f"{program} {where}", "install it, or mend argv in POLICY_FILE")
    if command.credentials is not None:
        yield _warn_of_credentials(what, command)


def _warn_of_credentials(what: str, command: Command) -> CheckResult:
    """A native program is the worker's user: it gets these credentials, and can reach what else that user can."""
    credentials = command.credentials
    own = credentials is not None and credentials.role_arn is None and credentials.profile is None
    told = "gets the worker's own AWS credentials" if own else "gets AWS credentials, as the worker's user"
    remedy = (
        "give it role_arn with a role that may do only what it needs"
        if own
        else 'see that its program is trusted, or run it with runner = "docker"'
    )
    return CheckResult(what, "warning", f"{told}, and runs natively", remedy)


async def check_docker(seconds: float = DOCKER_SECONDS) -> CheckResult:
    """Check that docker's client is there, and that its daemon answers within *seconds*."""
    if shutil.which("docker") is None:
        return CheckResult(
            "docker", "bad", "there is no docker in PATH", "install its client, or run commands natively"
        )
    printed, errors = Tail(_KEPT), Tail(_KEPT)
    try:
        async with asyncio.timeout(seconds):
            spec = Spec(["docker", "version", "--format", "{{.Server.Version}}"], client_environment(), Path("/"))
            async with started(spec) as process:
                process.stdin.close()
                await Pump(process.stdout, printed).run()
                await Pump(process.stderr, errors).run()
                ended = await process.ended()
    except (TimeoutError, ConfigurationError, TransientError) as error:
        told = str(error) or f"no answer in {seconds:g} s"
        return CheckResult("docker", "bad", told, "start its daemon, or set DOCKER_HOST")
    if ended.code != 0:
        told = " ".join(errors.text().split()) or f"docker version ended with {ended.code}"
        return CheckResult("docker", "bad", told, "start its daemon, let this user use it, or set DOCKER_HOST")
    return CheckResult("docker", "ok", f"the daemon answers (version {printed.text().strip()})")


def check_work_dir(root: Path, total: int) -> CheckResult:
    """Check that *root* can be written to, or made, and has room for *total* bytes. Nothing is left there."""
    place = next(path for path in (root, *root.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        remedy = "set WORK_DIR to a directory that the worker can write to"
        return CheckResult("work directory", "bad", f"{root} can't be used: {error.strerror}", remedy)
    if free < total:
        told = f"{root} has {free // 2**20:,} MiB free, and WORK_DISK_MIB promises {total // 2**20:,}"
        return CheckResult("work directory", "warning", told, "free some, or lower WORK_DISK_MIB")
    return CheckResult("work directory", "ok", f"{root} can be written to")
