"""Records that no worker has written like that: of other archives, cut, endless, with numbers that no archive has."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fakes import FakeHold
from worker.pipeline_env import PipelineEnv

from archiver.core import layout
from archiver.core.build_record import BuildRecord
from archiver.core.locations import Location
from archiver.jobs.records import Records
from jobs.test_resuming import SIZES, Job, _small_parts

__all__ = ["_small_parts"]

MIB = 1024 * 1024
Change = Callable[[dict[str, Any]], object]


class Left(NamedTuple):
    """A record."""

    key: str
    data: bytes

    def changed(self, change: Change) -> bytes:
        """The record with another first line."""
        first, *rest = gzip.decompress(self.data).split(b"\n")
        head = json.loads(first + b"]}")
        change(head)
        return gzip.compress(b"\n".join([json.dumps(head).encode()[:-2], *rest]))

    async def read(self, data: bytes, env: PipelineEnv | None = None) -> BuildRecord | None:
        """Read *data* in its place."""
        env = env or PipelineEnv()
        env.stage.s3.put("archives", self.key, data)
        return await Records(env.bucket).read(self.key, len(SIZES))


@pytest.fixture(scope="module")
def left() -> Left:
    """What a worker has left that was killed before its fifth part."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layout, "MIN_PART_SIZE", 1)
        job = Job()
        asyncio.run(job.run_until("part", 5))
    (key,) = job.records
    return Left(key, job.env.stage.s3.objects[Location("archives", key)].data)


async def test_the_record_itself_is_read(left: Left) -> None:
    record = await left.read(left.data)
    assert record is not None and record.upload and record.receipt.key.startswith(left.key[:65])


def build(**fields: object) -> Change:
    return lambda head: head["build"].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        build(upload=""),
        build(known=[[0, 2], [1, 3]]),
        build(known=[[-2, 1]]),
        build(known=[[0, len(SIZES) + 1]]),
        build(known=[[3, 3]]),
        build(parts=["1" * 9]),
        build(parts=["-1"]),
        build(parts=[None] * 10_001),
        build(part_size="x"),
        lambda head: head.update(build=[]),
        lambda head: head.pop("build"),
        lambda head: head.update(format=2),
        lambda head: head.update(bucket="other"),
        lambda head: head.update(token="f" * 32),
        lambda head: head.update(key="0" * 64 + "/download.zip"),
    ],
    ids=[
        "no upload",
        "ranges that overlap",
        "below the first member",
        "behind the last member",
        "empty range",
        "CRC-32 of 36 bits",
        "negative CRC-32",
        "too many parts",
        "no part size",
        "a list",
        "a receipt",
        "another format",
        "of another bucket",
        "of another upload",
        "of another key",
    ],
)
async def test_what_no_worker_writes_is_no_record(left: Left, change: Change) -> None:
    assert await left.read(left.changed(change)) is None


async def test_the_record_of_another_job_costs_that_job_nothing() -> None:
    """It was copied with its folder: its upload is neither gone on with nor aborted."""
    job = Job()
    await job.run_until("part", 5)
    (upload,) = job.store.pending
    (key,) = job.records
    data = job.env.stage.s3.objects[Location("archives", key)].data
    other = f"{'0' * 64}/{key.rpartition('/')[2]}"
    job.env.stage.s3.put("archives", other, data)

    janitor = job.env.janitor
    assert [
        one async for one in janitor.find_records(job.env.stage.s3.objects[Location("archives", key)].modified)
    ] == []
    await janitor.after_rejection(f"{'0' * 64}/download.zip", job.message.id if job.message else "", FakeHold())

    assert [*job.store.pending] == [upload]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
async def test_a_record_that_is_cut_is_no_record(left: Left, share: float) -> None:
    assert await left.read(left.data[: int(share * len(left.data))]) is None


def endless(head: bytes, line: bytes, count: int = 300_000) -> bytes:
    """A small object that inflates to *count* lines."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(head + b"\n")]
    block = (line + b"\n") * 10_000
    pieces += [packer.compress(block) for _ in range(count // 10_000)]
    return b"".join((*pieces, packer.flush()))


@pytest.mark.parametrize("line", ["member", "end", "nothing"])
async def test_a_record_that_inflates_to_gigabytes_is_read_only_as_far_as_the_archive_has_members(
    left: Left, line: str
) -> None:
    """Neither memory nor the event loop's time grow with it."""
    first, member, *_ = gzip.decompress(left.data).split(b"\n")
    bomb = endless(first, {"member": member, "end": b"]}", "nothing": b""}[line])

    tracemalloc.start()
    try:
        assert await left.read(bomb) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 30 * MIB  # a MiB of text at a time, in short lines


async def test_what_follows_the_end_of_a_record_is_not_read(left: Left) -> None:
    env = PipelineEnv()
    assert await left.read(left.data + bytes(5 * MIB), env) is None
    assert [start for _, start, _ in env.stage.reader.reads] == [0]
