"""The outputs of a command: what may be written is known before it starts; what it made is stored when it succeeded."""

import asyncio
import hashlib
import mimetypes
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import structlog

from archiver.command.files import UnusableFileError, find_files, make_folder, open_file
from archiver.command.space import JobDirectory
from archiver.core.backoff import configuration_retry_delay
from archiver.core.command_order import CommandOrder
from archiver.core.command_outputs import assign_outputs
from archiver.core.command_result import StoredOutput
from archiver.core.locations import Location
from archiver.errors import ConfigurationError, Rejected, SourceProblem, root_cause
from archiver.jobs.identity import JobIdentity
from archiver.ports import Hold, ObjectStore, Target
from archiver.stages.budget import BufferPool
from archiver.stages.from_files import Writer

log = structlog.get_logger(__name__)
T = TypeVar("T")

CONCURRENT = 8
"""Outputs of one job that are sent at once."""

PATIENCE_SECONDS = 3600.0
"""For a store that refuses the outputs of a command that has run: a second run would cost more than the wait."""


@dataclass(frozen=True, slots=True)
class OutputBuckets:
    """*store*: of a bucket by its name; *budget*: of the parts of all jobs."""

    store: Callable[[str], ObjectStore]
    budget: BufferPool


class OutputWriter:
    """Writes the objects of one run."""

    def __init__(self, buckets: OutputBuckets, order: CommandOrder, job: JobIdentity, hold: Hold) -> None:
        self._buckets = buckets
        self._order = order
        self._hold = hold
        # The digest is the secret part of the links to archives: objects that others read must not show it.
        self._owner = hashlib.sha256(f"output\n{job.digest}".encode()).hexdigest()[:32]
        self._overwrites: dict[Location, str] = {}

    async def check(self) -> None:
        """
        Look at all objects that the request names as outputs. Raises Rejected (`name_conflict`) for one that exists
        and is not this job's; TransientError, ConfigurationError.
        """
        named = [one.location for one in self._order.outputs if not one.is_prefix]
        named += [one for one in (self._order.stdout, self._order.stderr) if one is not None]

        async def look(location: Location) -> None:
            self._overwrites[location] = await self.writer(location).check(location.key)

        await _at_once(look, named)

    def make_folders(self, directory: JobDirectory) -> None:
        """Make the folders that the outputs are to be written in."""
        for output in self._order.outputs:
            with make_folder(directory.descriptor, output.path.rpartition("/")[0]):
                pass

    def writer(self, location: Location) -> Writer:
        store = self._buckets.store(location.bucket)
        return Writer(store, self._buckets.budget, self._hold, self._owner, self._order.command.overwrite)

    def target(self, location: Location) -> Target:
        """Return how the object at *location* is written."""
        overwrites = "*" if self._order.command.overwrite else self._overwrites.get(location, "")
        kind = mimetypes.guess_type(location.key)[0] or "application/octet-stream"
        return Target(location.key, "", content_type=kind, overwrites=overwrites)

    async def store(self, directory: JobDirectory, streamed: int) -> tuple[Sequence[StoredOutput], int]:
        """
        Store what the command left in `out/`. Return the objects, and the number of files that nobody asked for.
        *streamed*: bytes of the outputs that are stored already.

        Raises Rejected: `output_missing`, also for what is no file; `disk_limit`, `name_unsafe`, `name_conflict`,
        `too_large`. TransientError, ConfigurationError, LeaseLost.
        """
        found = await asyncio.to_thread(find_files, str(directory.path), "out")
        assigned = assign_outputs(self._order.outputs, found)
        size, limit = streamed, self._order.command.limits.disk
        for path, location in assigned.files:
            if not self._order.command.outputs.allows(location):
                raise Rejected(
                    "source_not_allowed", f"the command made {path[:200]}, which goes nowhere that is allowed"
                )
            size += _look_at(directory, path)
        if size > limit:  # files with holes take less of the disk than they would of S3
            told = f"the outputs of the command have {size:,} bytes, and its disk {limit:,}"
            raise Rejected("disk_limit", told)
        stored: dict[Location, StoredOutput] = {}

        async def send(one: tuple[str, Location]) -> None:
            path, location = one
            stored[location] = await patiently(lambda: self._send(directory, path, location))

        await _at_once(send, assigned.files)
        return tuple(stored[location] for _, location in assigned.files), assigned.left_behind

    async def _send(self, directory: JobDirectory, path: str, location: Location) -> StoredOutput:
        with open_file(directory.descriptor, path) as descriptor:
            archive = await self.writer(location).write_file(self.target(location), descriptor)
        return StoredOutput(str(location), archive.size, archive.etag.strip('"'))


def _look_at(directory: JobDirectory, path: str) -> int:
    """Return the file's size in bytes. Raise Rejected unless it can be uploaded: before any of them is."""
    try:
        with open_file(directory.descriptor, path) as descriptor:
            return os.fstat(descriptor).st_size
    except UnusableFileError as error:
        shown = path.encode(errors="replace").decode()[:200]
        problem = SourceProblem(shown, "output_missing", str(error))
        raise Rejected("output_missing", f"an output of the command, {shown}, {error}", [problem]) from None


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """
    Call again while the operator must act, for `PATIENCE_SECONDS`: the command has run, and a new try of the job would
    run it again.
    """
    since, attempt = monotonic(), 0
    while True:
        try:
            return await call()
        except ConfigurationError as error:
            attempt += 1
            wait = configuration_retry_delay(attempt)
            if monotonic() + wait > since + PATIENCE_SECONDS:
                raise
            log.error("command.outputs_refused", reason=str(error), attempt=attempt, retry_in=wait)
            await asyncio.sleep(wait)


async def _at_once(call: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    """Call *call* for all *items*, `CONCURRENT` of them at once. Raises the first failure."""
    pending = iter(items)

    async def run() -> None:
        for item in pending:
            await call(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(CONCURRENT, len(items))):
                tasks.create_task(run(), name=f"output.{number}")
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
