"""The directories of jobs: limited together, private, and removed whatever happens."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from archiver.command import files
from archiver.command.files import MAX_ENTRIES, UnusableFileError, find_files, measure, open_file, remove_tree
from archiver.command.space import WorkSpace, is_live, open_space, remove_leftovers

from .runs import MIB


async def test_the_directory_of_a_job_is_the_workers_alone(space: WorkSpace) -> None:
    """Mode 0700, whatever the umask."""
    async with space.job(MIB) as directory:
        mode = stat.S_IMODE(directory.path.stat().st_mode)
        names = sorted(os.listdir(directory.path))

    assert (mode, names) == (0o700, ["in", "out", "tmp", "work"])
    assert not directory.path.exists()


async def test_jobs_wait_for_the_disk_in_the_order_of_request(space: WorkSpace) -> None:
    """All directories share `WORK_DISK_MIB`."""
    begun = list[str]()

    async def job(name: str, disk: int) -> None:
        async with space.job(disk):
            begun.append(name)
            await asyncio.sleep(0.01)

    async with space.job(40 * MIB), asyncio.TaskGroup() as tasks:
        large = tasks.create_task(job("large", 40 * MIB))
        tasks.create_task(job("small", 8 * MIB))
        await asyncio.sleep(0.02)
        waited = list(begun)
        large.cancel()

    assert (waited, begun) == ([], ["small"])


async def test_more_disk_than_there_is_is_refused(space: WorkSpace) -> None:
    """It would wait for ever."""
    with pytest.raises(ValueError, match="do not fit"):
        async with space.job(65 * MIB):
            pass


async def test_a_directory_is_removed_when_its_job_fails_or_is_cancelled(space: WorkSpace) -> None:
    """The fixture finds what is left."""
    with pytest.raises(RuntimeError):
        async with space.job(MIB) as directory:
            (directory.path / "work/file").touch()
            raise RuntimeError


def test_what_killed_workers_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """K6: Directories of workers that live stay, and so does what is not ours."""
    with open_space(tmp_path, MIB) as living:
        own = tmp_path / f"job-{living.worker}-{'0' * 16}"
        dead, orphan = tmp_path / f"job-{'1' * 16}-{'0' * 16}", tmp_path / f"job-{'2' * 16}-{'0' * 16}"
        for folder in (own, dead, orphan, tmp_path / "job-of-somebody"):
            (folder / "in").mkdir(parents=True)
        (tmp_path / f"worker-{'1' * 16}.lock").touch()

        assert remove_leftovers(tmp_path) == 2
        assert {own.name, "job-of-somebody", f"worker-{living.worker}.lock"} == set(os.listdir(tmp_path))
        assert is_live(tmp_path, living.worker)
        assert not is_live(tmp_path, "1" * 16)


def test_a_tree_is_removed_whatever_a_command_made_of_it(tmp_path: Path) -> None:
    """No depth is too much, no permission, no name; links are removed, not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "closed" / "below").mkdir(parents=True)
    (tree / "closed" / "below" / "file").touch()
    (tree / "link").symlink_to(outside)
    os.mkfifo(tree / "fifo")
    (tree / os.fsdecode(b"\xff\n")).touch()
    (tree / "closed" / "below").chmod(0)
    (tree / "closed").chmod(0)
    at = os.open(tree, os.O_RDONLY)
    for _ in range(250):  # a path of 5,000 bytes, which no call takes
        os.mkdir("d" * 20, dir_fd=at)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(str(tree))

    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_tree_that_can_not_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up after some tries."""
    monkeypatch.setattr(files, "REMOVAL_PAUSE", 0)
    remove_tree(str(tmp_path / "absent"))
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        remove_tree(str(tmp_path / "file"))


def test_what_a_tree_takes_is_measured_without_following_links(tmp_path: Path) -> None:
    """Blocks, not sizes: a sparse file takes little. Links count as entries."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(MIB))
    (tmp_path / "link").symlink_to("/")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    usage = measure(str(tmp_path))

    assert MIB <= usage.bytes < 2 * MIB
    assert usage.entries == 4


def test_a_tree_that_is_too_deep_to_measure_counts_as_too_large(tmp_path: Path) -> None:
    """Nobody hides files below 4,096 bytes of path."""
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=at)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    usage = measure(str(tmp_path))
    remove_tree(str(tmp_path))
    tmp_path.mkdir()

    assert usage.entries > MAX_ENTRIES


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("fifo", "is a FIFO"),
        ("hard", "has another name as well"),
        ("folder-link/file", "folder-link is a symbolic link"),
        ("file/below", "file is a file"),
        ("../outside", "leads elsewhere"),
        ("folder/../file", "leads elsewhere"),
        ("/etc/passwd", "leads elsewhere"),
        ("x" * 300, "File name too long"),
    ],
)
def test_nothing_but_a_regular_file_of_one_name_is_opened(tmp_path: Path, path: str, reason: str) -> None:
    """Each is refused by what it is."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder-link").symlink_to("folder")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "one").touch()
    (tmp_path / "hard").hardlink_to(tmp_path / "one")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(UnusableFileError, match=reason), open_file(directory, path):
            pass
        with pytest.raises(IsADirectoryError), open_file(directory, "folder"):
            pass
        with pytest.raises(FileNotFoundError), open_file(directory, "folder/absent"):
            pass
        with open_file(directory, "file") as opened:
            assert os.read(opened, 10) == b"text"
    finally:
        os.close(directory)


def test_sockets_and_devices_are_not_opened() -> None:
    """Opening a device can have effects: what it is shows before."""
    directory = os.open("/dev", os.O_RDONLY)
    try:
        with pytest.raises(UnusableFileError, match="is a device"), open_file(directory, "null"):
            pass
    finally:
        os.close(directory)


def test_all_that_is_no_directory_is_found(tmp_path: Path) -> None:
    """In order, and links to directories are not entered."""
    (tmp_path / "out" / "b" / "a").mkdir(parents=True)
    (tmp_path / "out" / "b" / "a" / "x").touch()
    (tmp_path / "out" / "a").touch()
    (tmp_path / "out" / "link").symlink_to("/")

    assert find_files(str(tmp_path), "out") == ["out/a", "out/b/a/x", "out/link"]


@pytest.mark.parametrize("what", ["file", "link", "nothing"])
def test_a_folder_that_was_replaced_has_no_files(what: str, tmp_path: Path) -> None:
    """A command may remove `out`, or put a link to a folder of the machine there: no output is found, nothing fails."""
    if what == "file":
        (tmp_path / "out").write_text("a")
    elif what == "link":
        (tmp_path / "out").symlink_to("/etc")

    assert find_files(str(tmp_path), "out") == []
