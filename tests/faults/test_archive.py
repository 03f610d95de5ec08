"""Group D: archives are whole, the same for the same objects, and cost a bounded number of threads."""

import hashlib

import pytest

from .flows import Slice
from .rules import Delay, Status
from .setting import MIB
from .stage import Stage
from .worker import until


@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_members_of_every_size_around_a_buffers_end_leave_a_whole_archive(stage: Stage, compression: str) -> None:
    """D1: a version of stream-zip drops the rest where its output ends just at a chunk's end as a member begins."""
    job = stage.ask(stage.photos(*range(65_455, 65_485)), compression=compression)
    stage.worker()
    stage.wait_deleted(job)
    stage.finish()


@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_more_jobs_than_threads_all_end(stage: Stage, compression: str) -> None:
    """D2: a thread of one job that waits for its loop must not be one that another job's look-ups wait for."""
    sources = stage.photos(1000, 200_000)
    jobs = [stage.ask(sources, compression=compression) for _ in range(16)]
    stage.worker(MAX_CONCURRENT_JOBS="16", MEMORY_BUDGET_MIB="256")
    stage.wait_deleted(*jobs)
    stage.finish()


@pytest.mark.slow
@pytest.mark.stage(visibility=4)
def test_a_job_that_is_cancelled_inside_the_zip_leaves_no_thread_and_no_socket(stage: Stage) -> None:
    """D3, promise 10: with the archive half made and its source still to come."""
    sources = stage.photos(50_000, 50_001, 50_002)
    warm = [stage.ask(sources, compression="deflate") for _ in range(3)]
    worker = stage.worker()
    stage.wait_deleted(*warm)
    before = worker.facts()
    stage.break_(Status(500, "InternalError"), "ChangeMessageVisibility", times=None)
    stage.break_(Slice(1000, 0.5), "GetObject", times=None)
    jobs = [stage.ask(sources, compression="deflate") for _ in range(3)]
    until(lambda: len(list(worker.events("job.lease_lost"))) >= 3, "three lost leases")
    stage.mend()
    stage.wait_deleted(*jobs)
    worker.wait_for_baseline(before, memory=20 * MIB)
    stage.finish()


def test_the_same_objects_make_the_same_archive_byte_for_byte(stage: Stage) -> None:
    """D6: by two workers, with reads that end in another order."""
    sources = stage.photos(300_000, 6 * MIB, 0, 1000)
    first = stage.ask(sources, job_id="first")
    stage.worker()
    stage.wait_deleted(first)
    stage.break_(Delay(before_it=0.5), "GetObject", times=2)
    second = stage.ask(sources, job_id="second")
    stage.wait_deleted(second)
    digests = {hashlib.sha256(stage.archive(job)).hexdigest() for job in (first, second)}
    assert first.key != second.key and len(digests) == 1
    stage.finish()
