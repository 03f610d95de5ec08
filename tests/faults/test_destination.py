"""Group E: faults of the destination bucket. An archive is absent or complete, and no upload is left open."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .archive import read_archive
from .body_faults import Bandwidth
from .observations import Job
from .rules import Action, DropResponse, FixedResponse, OkWithError, ResetBefore, SideEffect, Status, is_ranged
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until

TRUNCATED_RESPONSE = b'<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult><Buck'


def run_jobs(scenario: Scenario, size: int, plans: Sequence[Callable[[Job], object]]) -> list[Job]:
    """Run one job of *size* bytes per plan, which injects faults for its archive's key. Expect one answer for each."""
    sources = scenario.put_objects(size)
    jobs = []
    for plan in plans:
        jobs.append(job := scenario.send_request(sources))
        plan(job)
    scenario.worker()
    scenario.wait_deleted(*jobs)
    assert [len(scenario.answers(job)) for job in jobs] == [1] * len(plans)
    scenario.finish()
    return jobs


def inject_fault(scenario: Scenario, action: Action, op: str, **where: Any) -> Callable[[Job], object]:
    """Return a plan for `run_jobs`: *action* for calls of *op* on the archive's key."""
    return lambda job: scenario.inject(action, op, key=job.key, **where)


@pytest.mark.slow
def test_a_failed_create_multipart_upload_is_retried(scenario: Scenario) -> None:
    """E1: an upload whose response was lost is aborted in the end."""
    actions = (Status(500, "InternalError"), ResetBefore(), DropResponse())
    run_jobs(scenario, 6 * MIB, [inject_fault(scenario, action, "CreateMultipartUpload") for action in actions])


def test_a_failed_part_upload_is_retried_with_the_same_bytes(scenario: Scenario) -> None:
    """E2: the first part fails once, the last part twice."""
    actions: tuple[Action, ...] = (
        Status(500, "InternalError"),
        Status(503, "SlowDown"),
        Status(400, "BadDigest"),
        ResetBefore(),
        DropResponse(),
    )

    def plan(action: Action) -> Callable[[Job], object]:
        first = inject_fault(scenario, action, "UploadPart", part=1)
        last = inject_fault(scenario, action, "UploadPart", part=2, times=2)
        return lambda job: (first(job), last(job))

    jobs = run_jobs(scenario, 6 * MIB, [plan(action) for action in actions])
    for job, number, tries in ((job, *tried) for job in jobs for tried in ((1, 2), (2, 3))):
        sent = (e for e in scenario.history.select("UploadPart") if (e.call.key, e.call.part) == (job.key, number))
        digests = [e.facts["sha256"] for e in sent]
        assert (len(digests), len(set(digests))) == (tries, 1)


@pytest.mark.parametrize(("size", "op"), [(1000, "PutObject"), (6 * MIB, "CompleteMultipartUpload")])
def test_a_write_whose_response_was_lost_is_checked_with_head(scenario: Scenario, size: int, op: str) -> None:
    """E4: no second archive and no second answer, whatever the response to the retried write is."""
    retry_responses = (Status(404, "NoSuchUpload"), Status(412, "PreconditionFailed"))

    def plan(retry_response: Action) -> Callable[[Job], object]:
        first, retry = inject_fault(scenario, DropResponse(), op), inject_fault(scenario, retry_response, op, nth=2)
        return lambda job: (first(job), retry(job))

    jobs = run_jobs(scenario, size, [inject_fault(scenario, DropResponse(), op), *map(plan, retry_responses)])
    assert len({(seen.key, seen.body) for seen in scenario.history.observed_archives}) == len(jobs)


def test_an_ambiguous_response_to_complete_is_checked_with_head(scenario: Scenario) -> None:
    """E5: status 200 does not prove success, and an error status does not prove failure."""
    responses = (
        OkWithError("InternalError"),
        FixedResponse(200, [], TRUNCATED_RESPONSE),
        FixedResponse(200, [], TRUNCATED_RESPONSE, forward=True),
        FixedResponse(200, [], b" " * 1000),
        FixedResponse(404, [], b"<Error><Code>NoSuchUpload</Code></Error>", forward=True),
    )
    run_jobs(scenario, 6 * MIB, [inject_fault(scenario, response, "CompleteMultipartUpload") for response in responses])


@pytest.mark.parametrize("size", [1000, 9 * MIB])
def test_a_key_written_by_the_same_request_is_answered_from_the_existing_archive(scenario: Scenario, size: int) -> None:
    """E7: two messages with one job id at the same time. The second write fails with 412."""
    sources = scenario.put_objects(size)
    op = "PutObject" if size < MIB else "CompleteMultipartUpload"
    scenario.inject(
        SideEffect(before_it=lambda: wait_until(lambda: len(scenario.history.select(op)) == 2, "both writes")), op
    )
    jobs = [scenario.send_request(sources, job_id="order-4711") for _ in range(2)]
    scenario.worker(MEMORY_BUDGET_MIB="64")
    scenario.wait_deleted(*jobs)
    assert sorted(call.status or 0 for call in scenario.history.select(op)) == [200, 412]
    (one,), (other,) = (scenario.answers(job) for job in jobs)
    assert one["archive"] == other["archive"]
    scenario.finish()


def test_a_key_written_by_another_request_rejects_the_job(scenario: Scenario) -> None:
    """E7: the first archive is not changed."""
    one, two = scenario.put_objects(1000, 2000)
    first = scenario.send_request([one], job_id="order-4711")
    scenario.worker()
    scenario.wait_deleted(first)
    before = scenario.archive(first)
    other = scenario.send([{"source": two.key}], None, job_id="order-4711")
    scenario.wait_deleted(other)
    assert scenario.failure(other)["code"] == "job_conflict"
    assert scenario.archive(first) == before
    scenario.finish()


def test_one_of_two_concurrent_requests_with_the_same_job_id_is_rejected(scenario: Scenario) -> None:
    """E7: both archives have the same size, so only the token in the metadata identifies the owner."""
    sources = scenario.put_objects(1000, 1000)
    scenario.inject(
        SideEffect(before_it=lambda: wait_until(lambda: len(scenario.history.select("PutObject")) == 2, "both")),
        "PutObject",
    )
    jobs = [
        scenario.send([{"source": source.key, "name": "photo.jpg"}], {"photo.jpg": source}, job_id="order-4711")
        for source in sources
    ]
    scenario.worker()
    scenario.wait_deleted(*jobs)
    (rejected,) = (job for job in jobs if not scenario.answers(job))
    assert scenario.failure(rejected)["code"] == "job_conflict"
    scenario.finish()


@pytest.mark.slow
def test_a_conditional_write_conflict_is_retried(scenario: Scenario) -> None:
    """E8: Complete fails once with 409 ConditionalRequestConflict."""
    conflict = Status(409, "ConditionalRequestConflict")
    run_jobs(scenario, 6 * MIB, [inject_fault(scenario, conflict, "CompleteMultipartUpload")])


@pytest.mark.parametrize(
    "op", ["CreateMultipartUpload", pytest.param("CompleteMultipartUpload", marks=pytest.mark.slow)]
)
def test_a_denied_destination_pauses_receiving_and_rejects_no_message(scenario: Scenario, op: str) -> None:
    """E10: a deployment without write permission must not move all messages to the dead-letter queue."""
    scenario.inject(Status(403, "AccessDenied"), op)
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    worker = scenario.worker()
    worker.wait_for("worker.paused")
    wait_until(lambda: not _polling(scenario), "the last poll")
    seen = len(scenario.history.select("ReceiveMessage"))
    worker.wait_for("worker.resumed")
    assert len(scenario.history.select("ReceiveMessage")) <= seen + 1
    scenario.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    scenario.finish()


def test_an_upload_that_is_aborted_under_a_worker_is_begun_anew_without_a_pause(scenario: Scenario) -> None:
    """G20: by a lifecycle rule, or by another message of the job. The bucket is not to blame: receiving goes on."""
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    scenario.inject(Status(404, "NoSuchUpload"), "UploadPart", part=1)
    worker = scenario.worker()
    scenario.wait_deleted(job)
    begun = [each for each in scenario.history.select("CreateMultipartUpload") if each.call.key == job.key]
    assert len(begun) == 2
    assert any(worker.events("job.overtaken"))
    assert not any(worker.events("job.retried")) and not any(worker.events("worker.paused"))
    scenario.finish()


def _polling(scenario: Scenario) -> bool:
    return scenario.history.select("ReceiveMessage")[-1].ended is None


@pytest.mark.slow
def test_a_failed_abort_is_retried(scenario: Scenario) -> None:
    """E11: no upload is left after a job that was restarted."""
    *others, last = scenario.put_objects(*[MIB] * 7, 2 * MIB)
    abort = scenario.inject(Status(500, "InternalError"), "AbortMultipartUpload", times=2)

    def change() -> None:
        scenario.wait_call("UploadPart")
        scenario.put(last.key, b"changed")

    scenario.inject(SideEffect(before_it=change), "GetObject", key=last.key, when=is_ranged)
    job = scenario.changed(scenario.send_request([*others, last]))
    scenario.worker()
    scenario.wait_deleted(job)
    assert abort.fired == 2
    scenario.finish()


@pytest.mark.slow
@pytest.mark.scenario(visibility=4)
def test_a_slow_destination_delays_the_job_while_its_lease_is_renewed(scenario: Scenario) -> None:
    """E12: one receive, although the upload outlasts the visibility timeout."""
    scenario.inject(Bandwidth(2 * MIB, upward=True), "UploadPart", times=None)
    job = scenario.send_request(scenario.put_objects(*[MIB] * 12))
    worker = scenario.worker()
    scenario.wait_deleted(job)
    assert len(list(worker.events("job.received"))) == 1
    scenario.finish()


@contextmanager
def polling_object(scenario: Scenario, key: str) -> Iterator[set[bytes | None]]:
    """Read *key* repeatedly, bypassing the proxy. Yield the set of bodies seen; None is a failed read."""
    seen: set[bytes | None] = set()
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.02):
            try:
                seen.add(scenario.direct.s3.get_object(Bucket=scenario.archives, Key=key)["Body"].read())
            except ClientError:
                seen.add(None)

    poller = threading.Thread(target=poll, name="poller")
    poller.start()
    try:
        yield seen
    finally:
        over.set()
        poller.join()


@pytest.mark.slow
def test_readers_see_either_no_object_or_the_complete_archive(scenario: Scenario) -> None:
    """E14: the object is read every 20 ms while the worker writes it."""
    job = scenario.send_request(scenario.put_objects(*[MIB] * 8))
    with polling_object(scenario, job.key) as seen:
        scenario.worker()
        scenario.wait_deleted(job)
        wait_until(lambda: len(seen) > 1, "the archive to appear")
    (complete,) = seen - {None}
    assert complete is not None and len(read_archive(complete)) == 8
    assert None in seen
    scenario.finish()
