"""Archives far larger than memory: the worker's peak stays where it was, and strangers can read them."""

import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from emulator import EmulatedAws
from faults.worker_process import wait_until

from .archiver_process import MIB
from .generated_s3 import GeneratedS3, content
from .worker_env import WorkerEnv

pytestmark = pytest.mark.fresh

GIB = 1024 * MIB
LIMIT = 200 * MIB
PATIENCE = 400.0  # seconds


@contextmanager
def archived(
    aws: EmulatedAws, sizes: Mapping[str, int], files: list[dict[str, str]] | None = None
) -> Iterator[tuple[GeneratedS3, str, int]]:
    """
    One archive of the objects *sizes*, in their order: where it is kept, its key, and the worker's peak memory.
    *files*: the entries of the request; None: an entry for each object.
    """
    with GeneratedS3(sizes) as s3, WorkerEnv(aws) as worker_env:
        worker = worker_env.worker(AWS_ENDPOINT_URL_S3=s3.endpoint, S3_ALLOWED_SOURCES="")
        worker_env.send_request(files=files or [{"source": key} for key in sizes])
        wait_until(lambda: any(worker.events("job.done")) or not worker.running, "a big archive", PATIENCE)
        done = worker.wait_for("job.done")
        size, peak = done["bytes"] / MIB, worker.peak_memory() / MIB
        print(f"{done['files']} files, {size:.0f} MiB in {done['seconds']} s: peak memory {peak:.0f} MiB")
        assert worker_env.answer()["archive"]["size"] == s3.archives[done["key"]].size == done["bytes"]
        assert s3.uploads == {}
        yield s3, done["key"], worker.peak_memory()


def check(s3: GeneratedS3, key: str, sizes: Mapping[str, int], prefix: str = "") -> None:
    """Read the archive to its end, and compare each member with its object, whose key is *prefix* and its name."""
    with s3.archive(key) as whole, zipfile.ZipFile(whole) as archive:
        assert archive.namelist() == list(sizes)
        for name, size in sizes.items():
            with archive.open(name) as member:  # which checks the CRC-32 at the end
                assert all(member.read(len(piece)) == piece for piece in content(prefix + name, size))
                assert member.read() == b""


@pytest.mark.slow
def test_archive_of_more_than_a_gibibyte_takes_no_more_memory_than_a_small_one(emulated: EmulatedAws) -> None:
    sizes = {f"{n}.mov": 400 * MIB + n for n in range(3)}

    with archived(emulated, sizes) as (s3, key, peak):
        assert peak < LIMIT
        check(s3, key, sizes)


@pytest.mark.slow
def test_archive_of_three_thousand_small_objects_takes_no_more_memory_than_a_small_one(emulated: EmulatedAws) -> None:
    sizes = {f"{n:04}.jpg": 20_000 + n for n in range(3000)}

    with archived(emulated, sizes) as (s3, key, peak):
        assert peak < LIMIT
        check(s3, key, sizes)


@pytest.mark.slow
def test_a_hundred_thousand_objects_by_one_prefix_are_one_archive_within_250_mib(emulated: EmulatedAws) -> None:
    """No object is asked for by HEAD, and the names are as long as they are in practice."""
    sizes = {f"customers/4711/photos/2026/{n // 1000:03}/IMG_{n:06}.jpg": 1000 + n % 1000 for n in range(100_000)}

    with archived(emulated, sizes, [{"prefix": "s3://photos-of-customers/customers/"}]) as (s3, key, peak):
        assert peak <= 250 * MIB
        assert (s3.calls["ListObjects"], s3.calls["GetObject"]) == (101, 100_000)  # the last one is of receipts
        assert s3.calls["HeadObject"] <= 4  # of the archive's key
        check(s3, key, {name.removeprefix("customers/"): size for name, size in sizes.items()}, "customers/")


@pytest.mark.slow
def test_archive_of_more_than_four_gibibytes_can_be_read_by_strangers(emulated: EmulatedAws) -> None:
    """Both kinds of reader: zipfile goes by the central directory, bsdtar by the local headers, as from a pipe."""
    sizes = {"film.mov": 4 * GIB + 200 * MIB + 1, "poster.jpg": 5000}

    with archived(emulated, sizes) as (s3, key, peak):
        assert peak < LIMIT
        check(s3, key, sizes)
        if bsdtar := shutil.which("bsdtar"):
            with (
                s3.archive(key) as whole,
                subprocess.Popen(
                    [bsdtar, "-tvf", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
                ) as reading,
            ):
                assert reading.stdin is not None and reading.stdout is not None
                shutil.copyfileobj(whole, reading.stdin, MIB)
                reading.stdin.close()
                listed = reading.stdout.read().decode()
            assert reading.returncode == 0
            assert [line.split()[4] for line in listed.splitlines()] == [str(size) for size in sizes.values()]
