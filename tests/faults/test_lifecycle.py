"""Group G: starting, stopping, and being no burden. Crashes at every call are in test_crashes."""

import signal

import pytest

from .agent import MISBEHAVES, REFUSES, agent
from .rules import Delay, SideEffect
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until


def test_further_signals_while_stopping_change_nothing(scenario: Scenario) -> None:
    """G3"""
    scenario.inject(Delay(before_it=2), "GetObject")
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_call("GetObject")
    worker.terminate()
    worker.wait_for("worker.stopping")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        worker.send(number)
    assert worker.exit_code() == 0
    assert len(scenario.answers(job)) == 1
    scenario.finish()


def test_a_signal_in_the_last_moment_changes_nothing(scenario: Scenario) -> None:
    """G3: when the work is over and the process is not yet."""
    worker = scenario.worker()
    scenario.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopped")
    while worker.running:
        worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_a_job_that_outlasts_the_grace_period_is_given_back_for_a_short_while(scenario: Scenario) -> None:
    """G2: its upload is aborted, and the next worker does it all."""
    scenario.inject(Delay(before_it=30), "UploadPart", part=1)
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    worker = scenario.worker(SHUTDOWN_GRACE_SECONDS="1")
    scenario.wait_call("UploadPart")
    worker.terminate()
    assert worker.exit_code() == 0
    returned = scenario.history.select("ChangeMessageVisibility")[-1]
    assert returned.ok and 0 < returned.facts["visibility"] <= 30
    assert len(scenario.history.select("AbortMultipartUpload")) >= 1
    scenario.worker("clean")
    scenario.wait_deleted(job, seconds=60)
    scenario.finish()


@pytest.mark.parametrize("op", ["HeadBucket", "GetQueueUrl", "GetQueueAttributes"])
def test_a_signal_during_the_start_ends_it_before_anything_is_received(scenario: Scenario, op: str) -> None:
    """G5"""
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.inject(SideEffect(before_it=worker.terminate), op)
    assert worker.exit_code() == 0
    assert scenario.history.select("ReceiveMessage") == [] and not scenario.ended(job)
    scenario.finish()


@pytest.mark.fresh
def test_a_signal_before_the_worker_is_ready_to_listen_ends_it_at_once(scenario: Scenario) -> None:
    """G5: the modules are still being read; an exit by the signal itself is as good as an exit code of 0."""
    worker = scenario.worker()
    worker.terminate()
    assert worker.exit_code() in (0, -signal.SIGTERM)
    assert scenario.history.select("ReceiveMessage") == []
    assert "Traceback" not in worker.log


@pytest.mark.slow
def test_a_task_at_work_is_protected_from_being_scaled_away_and_afterwards_it_is_not(scenario: Scenario) -> None:
    """G7: short jobs one after the other share one protection. Renewals are in tests/service."""
    with agent() as ecs:
        worker = scenario.worker(ECS_AGENT_URI=ecs.uri, AWS_ENDPOINT_URL_ECS=ecs.uri)
        worker.wait_for("worker.ready")
        assert ecs.asked == []
        scenario.wait_deleted(
            scenario.send_request(scenario.put_objects(1000)), scenario.send_request(scenario.put_objects(2000))
        )
        wait_until(lambda: len(ecs.asked) == 2, "the end of the protection")
    assert [asked["ProtectionEnabled"] for asked in ecs.asked] == [True, False]
    scenario.finish()


def test_a_task_that_is_refused_protection_works_on_and_takes_other_jobs(scenario: Scenario) -> None:
    """G6: DEPLOYMENT_BLOCKED says that enough others are protected, and nothing about this task."""
    with agent() as ecs:
        ecs.answer = REFUSES
        job = scenario.send_request(scenario.put_objects(6 * MIB))
        worker = scenario.worker(ECS_AGENT_URI=ecs.uri, AWS_ENDPOINT_URL_ECS=ecs.uri)
        worker.wait_for("protection.refused")
        scenario.wait_deleted(job, scenario.send_request(scenario.put_objects(1000)))
        assert worker.running
        worker.terminate()
        assert worker.exit_code() == 0
    scenario.finish()


@pytest.mark.parametrize("how", MISBEHAVES)
def test_an_agent_that_misbehaves_stops_no_job(scenario: Scenario, how: str) -> None:
    """G6: and it holds up neither the job nor the end."""
    with agent() as ecs:
        ecs.answer = MISBEHAVES[how]
        job = scenario.send_request(scenario.put_objects(1000))
        worker = scenario.worker(ECS_AGENT_URI=ecs.uri, AWS_ENDPOINT_URL_ECS=ecs.uri)
        scenario.wait_deleted(job)
        if how not in ("hangs", "answers without an end"):
            worker.wait_for("protection.failed")
        worker.terminate()
        assert worker.exit_code() == 0
        assert ecs.asked
    assert not list(worker.events("protection.refused"))
    scenario.finish()


def test_an_agent_that_is_not_there_stops_no_job(scenario: Scenario) -> None:
    """G6"""
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker(ECS_AGENT_URI="http://127.0.0.1:9/api", AWS_ENDPOINT_URL_ECS="http://127.0.0.1:9")
    scenario.wait_deleted(job)
    worker.wait_for("protection.failed")
    scenario.finish()


def test_a_log_that_nobody_reads_holds_up_no_job_and_not_the_end(scenario: Scenario) -> None:
    """H3: what waits is written when somebody reads again."""
    worker = scenario.worker(METRICS="emf")
    worker.wait_for("worker.ready")
    worker.stop_reading()
    jobs = [scenario.send_request(scenario.put_objects(1000)) for _ in range(12)]
    scenario.wait_deleted(*jobs)
    worker.resume_reading()
    wait_until(lambda: len(list(worker.events("job.done"))) == len(jobs), "the lines that had waited")
    worker.stop_reading()
    last = [scenario.send_request(scenario.put_objects(1000)) for _ in range(12)]
    scenario.wait_deleted(*last)
    worker.terminate()
    wait_until(lambda: not worker.running, "its end", seconds=15)
    worker.resume_reading()
    assert worker.exit_code() == 0
    scenario.finish()


def test_memory_does_not_grow_with_the_archive(scenario: Scenario) -> None:
    """G8: an archive of four budgets; what was taken beyond the first small job stays below one and a margin."""
    small = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(small)
    before = worker.peak_memory()
    large = scenario.send_request(scenario.put_objects(*[10 * MIB] * 6))
    scenario.wait_deleted(large)
    assert worker.peak_memory() - before <= (15 + 20) * MIB
    scenario.finish()


def test_threads_and_sockets_return_to_their_baseline_after_many_jobs(scenario: Scenario) -> None:
    """Promise 10"""
    sources = scenario.put_objects(*[1000] * 10)
    worker = scenario.worker()
    scenario.wait_deleted(*[scenario.send_request(sources) for _ in range(4)])
    before = worker.facts()
    scenario.wait_deleted(*[scenario.send_request(sources) for _ in range(12)])
    worker.wait_for_baseline(before, memory=10 * MIB)
    scenario.finish()


def test_a_broken_environment_is_told_at_once_and_whole(scenario: Scenario) -> None:
    """G13: every problem on a line of its own that begins with the variable's name."""
    worker = scenario.worker(
        SQS_SOURCE_QUEUE="",
        S3_DESTINATION_BUCKET=" ",
        MAX_CONCURRENT_JOBS="many",
        SQS_WAIT_SECONDS="21",
        S3_COMPRESSION="rar",
        S3_ALLOWED_SOURCES="bucket/prefix-without-end",
    )
    assert worker.exit_code() == 2
    told = {line.partition(":")[0] for line in worker.output}
    assert told == {
        "SQS_SOURCE_QUEUE",
        "S3_DESTINATION_BUCKET",
        "MAX_CONCURRENT_JOBS",
        "SQS_WAIT_SECONDS",
        "S3_COMPRESSION",
        "S3_ALLOWED_SOURCES",
    }
    assert scenario.history.select() == []


def test_even_a_debug_log_holds_no_secret_and_no_receipt(scenario: Scenario) -> None:
    """Promise 9, where libraries are most talkative; the checker looks for what was planted."""
    jobs = [scenario.send_request(scenario.put_objects(1000, 6 * MIB)), scenario.send_text("no JSON at all", None)]
    worker = scenario.worker(DEBUG="1")
    scenario.wait_deleted(*jobs)
    assert any(str(event.get("logger")).startswith("botocore") for event in worker.events())
    scenario.finish()
