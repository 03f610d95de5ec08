"""Group D: archives are complete and reproducible, and building them uses a bounded number of threads."""

import hashlib

import pytest

from .body_faults import Slice
from .rules import Delay, Status
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until


@pytest.mark.parametrize("compression", [pytest.param("store", marks=pytest.mark.slow), "deflate"])
def test_members_of_every_size_around_a_buffer_boundary_produce_a_complete_archive(
    scenario: Scenario, compression: str
) -> None:
    """D1: a stream-zip version loses data when a chunk of output ends exactly where a member begins."""
    job = scenario.send_request(scenario.put_objects(*range(65_455, 65_485)), compression=compression)
    scenario.worker()
    scenario.wait_deleted(job)
    scenario.finish()


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_more_concurrent_jobs_than_threads_all_complete(scenario: Scenario, compression: str) -> None:
    """D2: zip threads that wait for the event loop must not block the DNS lookups of other jobs."""
    sources = scenario.put_objects(1000, 200_000)
    jobs = [scenario.send_request(sources, compression=compression) for _ in range(16)]
    scenario.worker(MAX_CONCURRENT_JOBS="16", MEMORY_BUDGET_MIB="256")
    scenario.wait_deleted(*jobs)
    scenario.finish()


@pytest.mark.slow
@pytest.mark.scenario(visibility=4)
def test_a_job_cancelled_while_zipping_leaks_no_thread_and_no_socket(scenario: Scenario) -> None:
    """D3, promise 10: the archive is half written and a source is still being read."""
    sources = scenario.put_objects(50_000, 50_001, 50_002)
    warm_up = [scenario.send_request(sources, compression="deflate") for _ in range(3)]
    worker = scenario.worker()
    scenario.wait_deleted(*warm_up)
    before = worker.facts()
    scenario.inject(Status(500, "InternalError"), "ChangeMessageVisibility", times=None)
    scenario.inject(Slice(1000, 0.5), "GetObject", times=None)
    jobs = [scenario.send_request(sources, compression="deflate") for _ in range(3)]
    wait_until(lambda: len(list(worker.events("job.lease_lost"))) >= 3, "three lost leases")
    scenario.clear_faults()
    scenario.wait_deleted(*jobs)
    worker.wait_for_baseline(before, memory=20 * MIB)
    scenario.finish()


@pytest.mark.slow
def test_the_same_objects_produce_a_byte_identical_archive(scenario: Scenario) -> None:
    """D6: two jobs whose reads complete in a different order."""
    sources = scenario.put_objects(300_000, 6 * MIB, 0, 1000)
    first = scenario.send_request(sources, job_id="first")
    scenario.worker()
    scenario.wait_deleted(first)
    scenario.inject(Delay(before_it=0.5), "GetObject", times=2)
    second = scenario.send_request(sources, job_id="second")
    scenario.wait_deleted(second)
    digests = {hashlib.sha256(scenario.archive(job)).hexdigest() for job in (first, second)}
    assert first.key != second.key and len(digests) == 1
    scenario.finish()
