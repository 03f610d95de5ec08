"""
Where commands work: `{WORK_DIR}/job-{worker}-{random}` for each, mode 0700, with

    in/    the objects that were read      out/   what is uploaded afterwards
    work/  the working directory           tmp/   HOME and TMPDIR

It is removed whatever happens. Each worker holds a lock on `{WORK_DIR}/worker-{worker}.lock`; what belongs to a worker
that holds none was left behind by one that was killed, and is removed at the next start.

All jobs share `WORK_DISK_MIB`: each reserves the disk of its command before it reads anything, in the order of request.
"""

import asyncio
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from archiver.command.files import Usage, measure, remove_tree
from archiver.stages.budget import BufferPool
from archiver.stages.undo import run_to_its_end

log = structlog.get_logger(__name__)

FOLDERS = ("in", "out", "work", "tmp")
_LOCK = re.compile(r"worker-([0-9a-f]{16})\.lock")
_JOB = re.compile(r"job-([0-9a-f]{16})-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """The directory of one job. *descriptor*: of it, for paths that follow no link."""

    path: Path
    descriptor: int

    async def usage(self) -> Usage:
        return await asyncio.to_thread(measure, str(self.path))


class WorkSpace:
    """The directories of one worker's commands. Opened by `open_space`; *total*: bytes of all together."""

    def __init__(self, root: Path, worker: str, total: int) -> None:
        self.root = root
        self.worker = worker
        self.total = total
        self._disk = BufferPool(total)  # counts bytes; nothing is mapped

    @asynccontextmanager
    async def job(self, disk: int) -> AsyncIterator[JobDirectory]:
        """
        Yield a directory for one job, once *disk* bytes are free for it.

        Raises ValueError if there are never as many; OSError.
        """
        async with self._disk.reservation(disk, 1):
            path = self.root / f"job-{self.worker}-{secrets.token_hex(8)}"
            try:
                with _made(path) as descriptor:
                    yield JobDirectory(path, descriptor)
            finally:
                await _remove(path)


@contextmanager
def _made(path: Path) -> Iterator[int]:
    path.mkdir(mode=0o700)
    for name in FOLDERS:
        (path / name).mkdir()
        (path / name).chmod(0o755)  # behind the 0700 above it: the user of a container reads them
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _remove(path: Path) -> None:
    """Remove the directory, however often this task is cancelled. Never raises."""
    await run_to_its_end(asyncio.to_thread(_try_to_remove, path), "command.remove")


def _try_to_remove(path: Path) -> None:
    try:
        if path.exists():
            remove_tree(str(path))
    except OSError as error:
        log.error("command.directory_left", path=str(path), reason=str(error))


@contextmanager
def open_space(root: Path, total: int) -> Iterator[WorkSpace]:
    """
    Use *root*, which is made if need be, and remove what killed workers left there. Blocks. Raises OSError.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(root)
    worker = secrets.token_hex(8)
    lock = _take_lock(root / f"worker-{worker}.lock")
    try:
        yield WorkSpace(root, worker, total)
    finally:
        with suppress(FileNotFoundError):
            (root / f"worker-{worker}.lock").unlink()
        os.close(lock)


def _take_lock(path: Path) -> int:
    """Return a descriptor that holds the lock. A worker that starts may have removed the file in the same moment."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def remove_leftovers(root: Path) -> int:
    """Remove the directories and locks of workers that are gone. Return the number of directories."""
    names = sorted(os.listdir(root))
    jobs = {name: found[1] for name in names if (found := _JOB.fullmatch(name))}
    workers = {found[1] for name in names if (found := _LOCK.fullmatch(name))} | set(jobs.values())
    removed = 0
    for worker in workers:
        with _dead(root / f"worker-{worker}.lock") as dead:
            for name in [name for name, owner in jobs.items() if owner == worker and dead]:
                _try_to_remove(root / name)
                removed += 1
    if removed:
        log.info("command.leftovers_removed", directories=removed)
    return removed


def is_live(root: Path, worker: str) -> bool:
    """Whether *worker* holds its lock."""
    try:
        descriptor = os.open(root / f"worker-{worker}.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _dead(lock: Path) -> Iterator[bool]:
    """Whether no worker holds *lock*, which is removed then."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
        with suppress(FileNotFoundError):
            lock.unlink()
    finally:
        os.close(descriptor)
