"""Jobs that wait for their objects, in worker processes: none loses its message, and none uses up its receives."""

import pytest

from .observations import Source
from .scenario import Scenario
from .scenario_config import content
from .worker_process import wait_until

WAIT = {"wait_for": {"timeout": 600}}


def late(scenario: Scenario, number: int = 1) -> Source:
    """An object that does not exist yet."""
    return Source(scenario.sources, f"shoot/late-{number}.jpg")


def receives(scenario: Scenario, message: str) -> int:
    return sum(
        one["id"] == message
        for call in scenario.history.select("ReceiveMessage")
        for one in call.facts.get("messages", ())
    )


@pytest.mark.slow
@pytest.mark.scenario(visibility=3)
def test_a_waiting_job_leaves_its_slot_and_keeps_its_message(scenario: Scenario) -> None:
    """A17: beyond the visibility timeout; it goes on when the object appears."""
    waiting = scenario.send_request([late(scenario)], **WAIT)
    worker = scenario.worker(MAX_CONCURRENT_JOBS="1")
    worker.wait_for("job.waiting")
    other = scenario.send_request(scenario.put_objects(1000))
    scenario.wait_deleted(other)
    renewals = len(scenario.history.select("ChangeMessageVisibility"))
    scenario.wait_call("ChangeMessageVisibility", renewals + 5)
    scenario.put(late(scenario).key, content(1000))
    scenario.wait_deleted(waiting)

    assert receives(scenario, waiting.message) == 1
    scenario.finish()


@pytest.mark.slow
def test_waiting_jobs_are_released_at_once_on_sigterm_and_finished_by_the_next_worker(scenario: Scenario) -> None:
    """G14: the release delay is longer than a long poll, so that no worker that stops receives them again."""
    jobs = [scenario.send_request([late(scenario, number)], **WAIT) for number in range(100)]
    stopped = scenario.worker(MAX_CONCURRENT_JOBS="1")
    wait_until(lambda: len(list(stopped.events("job.waiting"))) == len(jobs), "all jobs are waiting")
    stopped.terminate()
    assert stopped.exit_code() == 0
    releases = scenario.history.select("ChangeMessageVisibility")[-len(jobs) :]
    assert all(one.facts["visibility"] > 20 for one in releases)

    for number, job in enumerate(jobs):
        scenario.put(late(scenario, number).key, content(1000))
        scenario.make_visible(job)
    scenario.worker("next")
    scenario.wait_deleted()
    assert {receives(scenario, job.message) for job in jobs} == {2}
    scenario.finish()


@pytest.mark.slow
def test_messages_of_killed_workers_are_waited_for_by_the_next_one(scenario: Scenario) -> None:
    """G15: once they are visible again; the time to wait goes on."""
    jobs = [scenario.send_request([late(scenario)], **WAIT) for _ in range(20)]
    killed = scenario.worker("killed", MAX_CONCURRENT_JOBS="1")
    wait_until(lambda: len(list(killed.events("job.waiting"))) == len(jobs), "all jobs are waiting")
    killed.kill()
    for job in jobs:
        scenario.make_visible(job)
    worker = scenario.worker(MAX_CONCURRENT_JOBS="1")
    wait_until(lambda: len(list(worker.events("job.waiting"))) == len(jobs), "all jobs are waiting again")
    scenario.put(late(scenario).key, content(1000))
    scenario.wait_deleted()

    assert {receives(scenario, job.message) for job in jobs} == {2}
    scenario.finish()


def test_archived_objects_are_restored_if_the_request_asks_for_it(scenario: Scenario) -> None:
    """C17: within the limits of the settings."""
    cold = scenario.put("cold.jpg", content(1000), StorageClass="GLACIER")
    job = scenario.send_request([cold], on_archived="restore", restore={"tier": "Bulk"})
    scenario.worker(RESTORE_TIERS="Standard,Bulk")
    scenario.wait_deleted(job)

    assert len(scenario.history.select("RestoreObject")) == 1
    scenario.finish()


def test_a_wait_that_is_too_long_or_a_restore_that_is_off_is_rejected(scenario: Scenario) -> None:
    """C18: the message names the setting."""
    long = scenario.send([{"source": "a"}], None, wait_for={"timeout": 3601})
    restoring = scenario.send([{"source": "a"}], None, on_archived="restore")
    scenario.worker()
    scenario.wait_deleted()

    assert "WAIT_LIMIT" in scenario.failure(long)["message"]
    assert "RESTORE_TIERS" in scenario.failure(restoring)["message"]
    assert not scenario.history.select("RestoreObject")
    scenario.finish()
