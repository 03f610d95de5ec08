"""
An ObjectStore that writes one file. Parts are written at their offsets, in any order.

The data goes to a hidden file in the same folder and is flushed with fsync. Then the file is hard-linked to its name,
which never overwrites, or, with *force*, renamed. All system calls run in a thread, because disks can be slow.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from archiver.core.plan import ObjectVersion
from archiver.errors import ConfigurationError, CopyRefused, Rejected, TransientError
from archiver.ports import StoredArchive, Target
from archiver.stages.checksums import combine_crcs
from archiver.stages.checksums import crc32 as crc32_of

P = ParamSpec("P")
T = TypeVar("T")


class FileStore:
    """
    The store of one archive, the file at *path*; keys are ignored. *force*: atomically replace an existing file.

    Raises ConfigurationError if the file can't be written or already exists. Never raises ArchiveExists: an existing
    file does not prove that this archive was finished.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self._path = path
        self._force = force

    async def find(self, key: str) -> StoredArchive | None:
        """Return None: a file does not record the request that it was made for."""
        del key
        return None

    async def put(self, target: Target, body: memoryview, crc32: int) -> StoredArchive:
        upload = await self.create_upload(target)
        try:
            await upload.upload_part(1, body, crc32)
            return await upload.complete(len(body), crc32)
        finally:
            await upload.abort()

    async def create_upload(self, target: Target) -> "FileUpload":
        upload = FileUpload(self._path, target, force=self._force)
        try:
            await upload.open()
        except BaseException:
            await upload.abort()
            raise
        return upload

    async def abort_uploads(self, key: str, before: datetime | None = None) -> None:
        """Do nothing: the name of a partial file that a killed process left is not known."""


class FileUpload:
    """The partial file. Created by `FileStore.create_upload`."""

    def __init__(self, path: Path, target: Target, *, force: bool) -> None:
        self._path = path
        self._target = target
        self._force = force
        self._partial = path.with_name(f".archiver-{secrets.token_hex(8)}.partial")
        self._parts: dict[int, tuple[int, int]] = {}  # number: (length, CRC-32)
        self._fd: int | None = None
        self.id = self._partial.name

    async def open(self) -> None:
        await self._in_thread(self._open)

    async def upload_part(self, number: int, body: memoryview, crc32: int) -> None:
        await self._in_thread(self._write, (number - 1) * self._target.part_size, body, crc32)
        self._parts[number] = (len(body), crc32)

    async def copy(self, number: int, source: ObjectVersion, start: int, length: int) -> int:  # noqa: ARG002
        """Nothing is copied into a file by anybody else."""
        raise CopyRefused("the archive is a file", source.location)

    async def complete(self, size: int, crc32: int) -> StoredArchive:
        """Also raises Rejected (`internal`) if the written parts do not match *size* and *crc32*."""
        self._check(size, crc32)
        await self._in_thread(self._fsync, size)  # may take seconds; a cancellation here publishes no file
        await self._in_thread(self._publish)
        return StoredArchive(size, "", crc32, self._target.metadata)

    async def abort(self) -> None:
        await self._in_thread(self._remove)

    def _check(self, size: int, crc32: int) -> None:
        """Check that the parts are contiguous and have the expected size and CRC-32, as S3 checks an upload."""
        numbers, part_size = sorted(self._parts), self._target.part_size
        lengths = [self._parts[number][0] for number in numbers]
        contiguous = numbers == list(range(1, len(numbers) + 1)) and all(length == part_size for length in lengths[:-1])
        if not contiguous or sum(lengths) != size:
            raise Rejected(
                "internal", f"{size} bytes were planned, {sum(lengths)} in {len(lengths)} parts were written"
            )
        if combine_crcs([(number, *self._parts[number]) for number in numbers]) != crc32:
            raise Rejected("internal", "the CRC-32 of the written parts differs from the archive's CRC-32")

    async def _in_thread(self, work: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Run *work* in a thread and wait for its end even if cancelled: it uses the caller's buffer and file."""
        task = asyncio.create_task(asyncio.to_thread(work, *arguments, **keywords), name="file.work")
        cancelled = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            result = task.result()
        except OSError as error:
            raise _write_error(self._path, error) from error
        if cancelled is not None:
            raise cancelled
        return result

    # In the thread

    def _open(self) -> None:
        self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _write(self, offset: int, body: memoryview, crc32: int) -> None:
        fd = self._require_open()
        if crc32_of(body) != crc32:
            raise TransientError("the CRC-32 of the part's bytes differs from the expected one")
        while body:
            written = os.pwrite(fd, body, offset)
            offset, body = offset + written, body[written:]

    def _fsync(self, size: int) -> None:
        fd = self._require_open()
        if (actual := os.fstat(fd).st_size) != size:
            raise Rejected("internal", f"{size} bytes were planned, the file has {actual}")
        os.fsync(fd)

    def _publish(self) -> None:
        if self._force:
            self._partial.replace(self._path)
        else:
            self._link()
        self._remove()
        _fsync_directory(self._path.parent)

    def _link(self) -> None:
        try:
            publish_exclusively(self._partial, self._path)
        except FileExistsError:
            raise ConfigurationError(
                f"{self._path}: was created by another process meanwhile; use --force to replace it"
            ) from None

    def _require_open(self) -> int:
        if self._fd is None:
            raise TransientError(f"{self._path}: the file was already completed or aborted")
        return self._fd

    def _remove(self) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            os.close(fd)
        finally:
            self._partial.unlink(missing_ok=True)


def publish_exclusively(partial: Path, path: Path, link: Callable[[Path, Path], None] = os.link) -> None:
    """
    Give the file *partial* the name *path*, without overwriting. Raises FileExistsError.

    On file systems without hard links (FAT, some network file systems), create an empty file at *path* exclusively,
    then replace it.
    """
    try:
        link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        try:
            partial.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _fsync_directory(folder: Path) -> None:
    """Flush the new name to disk. Errors are ignored: the archive is complete, and some file systems can't do this."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write_error(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path}: can't be written: {error.strerror or error}")
