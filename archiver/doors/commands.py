"""Commands, where `[commands]` of POLICY_FILE has any: their directories, their credentials, and the work itself."""

import asyncio
import math
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import structlog

from archiver.aws.command_credentials import CredentialVariables
from archiver.aws.s3_store import S3Store
from archiver.command.docker import remove_containers
from archiver.command.space import WorkSpace, open_space
from archiver.core.commands import Command
from archiver.doors.profiles import profiles_of
from archiver.doors.works import CommandParts
from archiver.jobs.command import CommandWork
from archiver.jobs.command_inputs import InputReader
from archiver.jobs.command_memory import CommandMemory
from archiver.jobs.command_outputs import OutputBuckets
from archiver.jobs.command_run import Runner
from archiver.ports import ObjectStore
from archiver.settings import Environment, SettingsError
from archiver.stages.credential_check import CredentialCheck
from archiver.worker.guarded import OUTPUTS, GuardedStore

log = structlog.get_logger(__name__)

LEASE_MARGIN = 30.0
"""Seconds between the longest run of a command and the longest time that its source holds a message."""

DOCKER_SECONDS = 20.0
"""For the removal of old containers at the start: a daemon that hangs must not keep the worker from its work."""


@asynccontextmanager
async def open_work_space(settings: Environment, commands: Mapping[str, Command]) -> AsyncIterator[WorkSpace]:
    """
    Open WORK_DIR for *commands*: what killed workers left there is removed, their containers as well.

    Raises SettingsError.
    """
    root, total = work_dir(settings), settings.work_disk_mib * 1024 * 1024
    uses_docker = any(command.container for command in commands.values())
    problems = [
        f"WORK_DISK_MIB: [commands.{name}] of POLICY_FILE has a disk of {command.limits.disk:,} bytes, which is more"
        for name, command in commands.items()
        if command.limits.disk > total
    ]
    if uses_docker and ":" in str(root):
        problems.append(f"WORK_DIR: docker takes no directory with a colon: {root}")
    if problems:
        raise SettingsError(problems)
    opening = open_space(root, total)
    try:
        space = await asyncio.to_thread(opening.__enter__)
    except OSError as error:
        raise SettingsError([f"WORK_DIR: {root} can't be used: {error.strerror}"]) from None
    try:
        if uses_docker and shutil.which("docker"):
            await _remove_containers(space)
        yield space
    finally:
        opening.__exit__(None, None, None)


def work_dir(settings: Environment) -> Path:
    """Return the directory of WORK_DIR. Raises SettingsError for a default one that belongs to somebody else."""
    if settings.work_dir is not None:
        return Path(settings.work_dir).absolute()
    user = os.getuid()
    root = Path(tempfile.gettempdir()).absolute() / f"archiver-{user}"
    if os.path.lexists(root) and (root.is_symlink() or root.stat().st_uid != user):
        raise SettingsError([f"WORK_DIR: {root} belongs to another user: set WORK_DIR"])
    return root


async def _remove_containers(space: WorkSpace) -> None:
    try:
        async with asyncio.timeout(DOCKER_SECONDS):
            await remove_containers(space)
    except Exception as error:  # noqa: BLE001 - the worker works without it; the next start tries again
        log.warning("command.docker_failed", command="ps", reason=str(error) or "no answer in time")


def command_work(settings: Environment, space: WorkSpace, parts: CommandParts) -> CommandWork:
    """Return the work of commands, which run in *space*. Raises SettingsError."""
    profiles = profiles_of(settings, parts.rules.commands)
    variables = CredentialVariables(parts.session, profiles, parts.rules.roles)

    @cache
    def store(bucket: str) -> ObjectStore:
        if bucket == parts.rules.destination_bucket:
            return parts.store
        return GuardedStore(S3Store(parts.clients, bucket), parts.breakers, OUTPUTS)

    longest = max(1.0, parts.facts.longest - LEASE_MARGIN) if math.isfinite(parts.facts.longest) else math.inf
    return CommandWork(
        parts.rules,
        inputs=InputReader(parts.fetcher, CredentialCheck(parts.store), parts.budget),
        runner=Runner(space, parts.budget, variables.of, longest),
        buckets=OutputBuckets(store, parts.budget),
        memory=CommandMemory(parts.fetcher, parts.rules.destination_bucket, parts.store, parts.receipts),
    )
