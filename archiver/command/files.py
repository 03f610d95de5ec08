"""
Files below a job's directory, which a command may have made into anything: no symbolic link is followed, nothing but
regular files with one name is read, and trees of any depth and any permissions are removed.
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

MAX_ENTRIES = 100_000
"""Files and directories of one job."""

REMOVAL_TRIES, REMOVAL_PAUSE = 50, 0.1  # without progress; seconds between two

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class UnusableFileError(Exception):
    """A file that is not uploaded; the text says what it is, such as `is a symbolic link`."""


class Usage(NamedTuple):
    """What a tree takes. *bytes*: on the disk."""

    bytes: int
    entries: int


@contextmanager
def open_file(directory: int, path: str) -> Iterator[int]:
    """
    Yield a descriptor of the regular file at *path*, which is relative to *directory*.

    Raises FileNotFoundError, IsADirectoryError; UnusableFileError for links, devices and all else that is no file of
    one name.
    """
    at = _open_path(directory, path)
    try:
        status = os.fstat(at)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(path)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFileError(f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}")
        if status.st_nlink > 1:
            raise UnusableFileError("has another name as well (a hard link)")
        try:
            file = os.open(f"/proc/self/fd/{at}", os.O_RDONLY | os.O_CLOEXEC)  # what was looked at, and nothing else
        except PermissionError:
            raise UnusableFileError("can't be read: its permissions forbid it") from None
    finally:
        os.close(at)
    try:
        yield file
    finally:
        os.close(file)


def create_file(directory: int, path: str) -> int:
    """
    Make the file at *path*, which is relative to *directory*, with its folders, and return a descriptor to write to.
    Containers may read it. Raises OSError.
    """
    folder, _, name = path.rpartition("/")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with make_folder(directory, folder) as at:
        descriptor = os.open(name, flags, 0o644, dir_fd=at)
    os.fchmod(descriptor, 0o644)
    return descriptor


@contextmanager
def make_folder(directory: int, path: str) -> Iterator[int]:
    """Yield a descriptor of the folder at *path* ("": *directory*), which is made if need be. Raises OSError."""
    at = os.dup(directory)
    try:
        for folder in path.split("/") if path else ():
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=at)
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
            os.fchmod(at, 0o755)
        yield at
    finally:
        os.close(at)


def _open_path(directory: int, path: str) -> int:
    """Open *path* to look at it only. Raises as `open_file` does."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts):
        raise UnusableFileError("has a path that leads elsewhere")
    at = os.dup(directory)
    try:
        for number, part in enumerate(parts, start=1):
            below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
            if number < len(parts):
                _require_directory(at, "/".join(parts[:number]))
    except BaseException as error:
        os.close(at)
        if isinstance(error, OSError) and error.errno in {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EACCES}:
            raise UnusableFileError(f"can't be opened: {error.strerror}") from None
        raise
    return at


def _require_directory(at: int, path: str) -> None:
    kind = stat.S_IFMT(os.fstat(at).st_mode)
    if kind != stat.S_IFDIR:
        raise UnusableFileError(f"is not there: {path} is {_KINDS.get(kind, 'a file')}")


def find_files(root: str, path: str) -> list[str]:
    """
    Return the paths, relative to *root*, of all that is below *path* and no directory, in order. Nothing may change
    meanwhile. Raises OSError.
    """
    found, waiting = list[str](), [path]
    if not _is_folder(os.path.join(root, path)):  # the command has put something else in its place
        return found
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                (waiting if entry.is_dir(follow_symlinks=False) else found).append(f"{folder}/{entry.name}")
    return sorted(found)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def measure(root: str) -> Usage:
    """
    Return what the tree takes, which may change meanwhile. One that can't be measured (too deep, or closed to its
    owner) counts as more than `MAX_ENTRIES`.
    """
    size = entries = 0
    waiting = [root]
    while waiting and entries <= MAX_ENTRIES:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    with suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            size += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError:
            return Usage(size, MAX_ENTRIES + 1)
    return Usage(size, entries)


def remove_tree(path: str) -> None:
    """
    Remove a directory with all that is in it. Subdirectories are moved to the top one by one, so that no depth is too
    much, and are made accessible. Raises OSError if something is left.
    """
    parent, token = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), secrets.token_hex(8)
    name, failures, moved = os.path.basename(path), 0, 0
    try:
        while True:
            try:
                with _accessible(name, parent) as top:
                    for entry in os.listdir(top):
                        moved = _remove_entry(entry, top, token, moved)
                    if not os.listdir(top):
                        os.rmdir(name, dir_fd=parent)
                        return
            except FileNotFoundError:
                if not os.path.lexists(path):
                    return
            except OSError:
                failures += 1  # a process that is being ended may still write
                if failures == REMOVAL_TRIES:
                    raise
                time.sleep(REMOVAL_PAUSE)
    finally:
        os.close(parent)


def _remove_entry(name: str, top: int, token: str, moved: int) -> int:
    """Remove one entry of *top*; what directories are in it are moved to *top*. Return how many have been moved."""
    if _unlink(name, top):
        return moved
    with _accessible(name, top) as folder:
        for entry in os.listdir(folder):
            if not _unlink(entry, folder):
                moved += 1
                with _accessible(entry, folder):
                    os.rename(entry, f"{token}-{moved}", src_dir_fd=folder, dst_dir_fd=top)
    os.rmdir(name, dir_fd=top)
    return moved


def _unlink(name: str, directory: int) -> bool:
    """Return whether *name* is gone: it was no directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True


@contextmanager
def _accessible(name: str, parent: int) -> Iterator[int]:
    """Yield a descriptor of the directory *name*, with all rights of its owner."""
    at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        with suppress(PermissionError):  # another user's: a container's
            os.chmod(f"/proc/self/fd/{at}", 0o700)
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    try:
        yield folder
    finally:
        os.close(folder)
