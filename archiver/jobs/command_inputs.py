"""The inputs of a command: looked at before the first byte is read, then read into its directory."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from archiver.core.command_order import CommandOrder, Input, check_tree, local_path
from archiver.core.locations import Location
from archiver.core.objects import ObjectInfo
from archiver.core.plan import ObjectVersion
from archiver.core.problems import join_problems
from archiver.core.select import Prefix
from archiver.errors import (
    Code,
    CredentialsRefused,
    Rejected,
    SourceChanged,
    SourceProblem,
    SourceUnavailable,
)
from archiver.stages.budget import BufferPool
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.fetch import Fetcher
from archiver.stages.progress import Progress
from archiver.stages.resolve import head_objects, run_distinct
from archiver.stages.to_files import FileReader, FileToFill

MAX_CONCURRENT_LISTINGS = 8
TRIES = 3
"""How often the inputs are looked at again because one has changed."""


class _Found(NamedTuple):
    """An object of a request, with its *path* in the directory. *source*: as the request writes it."""

    source: str
    location: Location
    path: str


class InputReader:
    """Reads the inputs of commands. One for the process."""

    def __init__(self, fetcher: Fetcher, credentials: CredentialCheck, budget: BufferPool) -> None:
        self._fetcher = fetcher
        self._credentials = credentials
        self._budget = budget

    async def read(self, order: CommandOrder, create: Callable[[str], int], progress: Progress) -> int:
        """
        Read the inputs of *order* into files that *create* makes; return their number.

        Raises Rejected: `source_missing` and its kind, with all that can't be read; `too_large`, `name_unsafe`,
        `name_conflict`; `source_changed`. TransientError, ConfigurationError, OSError.
        """
        changed = SourceChanged("")
        for _ in range(TRIES):
            files = await self._look(order)
            progress.files = progress.bytes = 0
            progress.files_planned, progress.bytes_planned = len(files), sum(file.size for file in files)
            try:
                await FileReader(self._fetcher, self._budget, create, progress).read(files)
            except SourceChanged as error:
                changed = error
            except SourceUnavailable as error:
                raise _refused([SourceProblem(str(error.location), error.code, error.detail)]) from error
            except CredentialsRefused as error:
                denial = await self._credentials.as_denial(error)
                raise _refused([SourceProblem(str(error.location), denial.code, denial.detail)]) from error
            else:
                return len(files)
        raise Rejected("source_changed", f"an input changed each time it was read: {changed}")

    async def _look(self, order: CommandOrder) -> list[FileToFill]:
        """Return what there is to read. Raises as `read` does."""
        found, problems = await self._find(order)
        infos = await head_objects({one.location for one in found}, self._fetcher, self._credentials)
        files = []
        for one in found:
            info = infos[one.location]
            if isinstance(info, ObjectInfo):
                version = ObjectVersion(one.location, info.etag, info.crc32, info.version)
                files.append(FileToFill(one.path, version, info.size))
            else:
                problems.append(SourceProblem(one.source, info.code, info.detail))
        if problems:
            raise _refused(problems)
        check_tree([file.path for file in files])
        size, limit = sum(file.size for file in files), order.command.limits.disk
        if size > limit:
            raise Rejected("too_large", f"the inputs have {size:,} bytes; {limit:,} are allowed (disk in POLICY_FILE)")
        return files

    async def _find(self, order: CommandOrder) -> tuple[list[_Found], list[SourceProblem]]:
        """Return the objects that are meant, each path once, and the prefixes that can't be listed or are empty."""
        named = [one for one in order.inputs if not one.is_prefix]
        found = {one.path: _Found(one.source, one.location, one.path) for one in named}
        problems = list[SourceProblem]()
        prefixes = {one.location: one for one in order.inputs if one.is_prefix}
        limit = order.command.limits.max_inputs

        async def list_prefix(location: Location) -> list[_Found]:
            return await self._list(prefixes[location], limit)

        listed = await run_distinct(prefixes, list_prefix, MAX_CONCURRENT_LISTINGS, self._credentials)
        for location, one in prefixes.items():
            objects = listed[location]
            if isinstance(objects, SourceUnavailable):
                problems.append(SourceProblem(one.source, objects.code, objects.detail))
            elif not objects:
                problems.append(SourceProblem(one.source, "source_missing", "no object has a key that begins with it"))
            else:
                found |= {file.path: file for file in objects}
        if len(found) > limit:
            raise Rejected("too_large", f"there are {len(found):,} inputs; max_inputs is {limit:,}")
        return list(found.values()), problems

    async def _list(self, prefix: Input, limit: int) -> list[_Found]:
        found = []
        async for page in self._fetcher.list(Prefix(prefix.location)):
            for listed in page.objects:
                if not listed.key.endswith("/"):  # a folder's marker
                    location = Location(prefix.location.bucket, listed.key, prefix.location.role)
                    found.append(_Found(str(location), location, local_path("in", location)))
            if len(found) > limit:
                raise Rejected("too_large", f"{prefix.source} has more than {limit:,} objects; max_inputs allows these")
        return found


def _refused(problems: Sequence[SourceProblem]) -> Rejected:
    """The rejection that lists all inputs that can't be read."""
    lines = [f"{one.source}: {one.detail or one.code}" for one in problems]
    code: Code = problems[0].code
    return Rejected(code, f"{len(problems)} inputs can't be read: {join_problems(lines, len(lines))}", problems)
