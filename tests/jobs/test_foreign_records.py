"""Records that no worker has written like that: of other archives, cut, endless, with numbers that no archive has."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeHold
from structlog.testing import capture_logs

from archiver.core.locations import Location
from jobs.test_resuming import SIZES, Job, _small_parts, check_ended, whole

__all__ = ["_small_parts", "whole"]

MIB = 1024 * 1024
Change = Callable[[dict[str, Any]], object]


def inflated(job: Job) -> list[bytes]:
    (key,) = job.records
    return gzip.decompress(job.env.stage.s3.objects[Location("archives", key)].data).split(b"\n")


def put_record(job: Job, data: bytes, key: str | None = None) -> Location:
    return job.env.stage.s3.put("archives", key or job.records[0], data)


def changed(job: Job, change: Change) -> bytes:
    """The record with another first line."""
    first, *rest = inflated(job)
    head = json.loads(first + b"]}")
    change(head)
    return gzip.compress(b"\n".join([json.dumps(head).encode()[:-2], *rest]))


async def check_begun_anew(job: Job, whole: bytes) -> None:
    with capture_logs() as logged:
        await job.run()
    assert "build.record_unreadable" in [one["event"] for one in logged]
    assert job.store.events.count("begin") == 1
    check_ended(job, whole)


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
async def test_what_no_worker_writes_is_no_record(whole: bytes, change: Change) -> None:
    job = Job()
    await job.run_until("part", 5)
    put_record(job, changed(job, change))
    await check_begun_anew(job, whole)


async def test_the_record_of_another_job_costs_that_job_nothing() -> None:
    """It was copied with its folder: its upload is neither gone on with nor aborted."""
    job = Job()
    await job.run_until("part", 5)
    (upload,) = job.store.pending
    (key,) = job.records
    data = job.env.stage.s3.objects[Location("archives", key)].data
    other = f"{'0' * 64}/{key.rpartition('/')[2]}"
    put_record(job, data, other)

    janitor = job.env.janitor
    assert [
        one async for one in janitor.find_records(job.env.stage.s3.objects[Location("archives", key)].modified)
    ] == []
    await janitor.after_rejection(f"{'0' * 64}/download.zip", job.message.id if job.message else "", FakeHold())

    assert [*job.store.pending] == [upload]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
async def test_a_record_that_is_cut_is_no_record(whole: bytes, share: float) -> None:
    job = Job()
    await job.run_until("part", 5)
    (key,) = job.records
    data = job.env.stage.s3.objects[Location("archives", key)].data
    put_record(job, data[: int(share * len(data))])
    await check_begun_anew(job, whole)


def endless(head: bytes, line: bytes, count: int = 300_000) -> bytes:
    """A small object that inflates to *count* lines."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(head + b"\n")]
    block = (line + b"\n") * 10_000
    pieces += [packer.compress(block) for _ in range(count // 10_000)]
    return b"".join((*pieces, packer.flush()))


@pytest.mark.parametrize("line", ["member", "end", "nothing"])
async def test_a_record_that_inflates_to_gigabytes_is_read_only_as_far_as_the_archive_has_members(
    whole: bytes, line: str
) -> None:
    """Neither memory nor the event loop's time grow with it."""
    job = Job()
    await job.run_until("part", 5)
    first, member, *_ = inflated(job)
    bomb = endless(first, {"member": member, "end": b"]}", "nothing": b""}[line])
    put_record(job, bomb)

    tracemalloc.start()
    try:
        await check_begun_anew(job, whole)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 40 * MIB


async def test_what_follows_the_end_of_a_record_is_not_read(whole: bytes) -> None:
    job = Job()
    await job.run_until("part", 5)
    (key,) = job.records
    at = put_record(job, job.env.stage.s3.objects[Location("archives", key)].data + bytes(5 * MIB))
    reads = job.env.stage.reader.reads
    reads.clear()

    await check_begun_anew(job, whole)

    assert [start for location, start, _ in reads if location == at] == [0]
