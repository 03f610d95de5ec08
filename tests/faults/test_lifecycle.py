"""Group G: startup, shutdown, scale-in protection and resource use. Crashes at every call are in test_crashes."""

import signal

import pytest

from .agent import MISBEHAVES, REFUSES, agent
from .rules import Delay, SideEffect
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until


@pytest.mark.slow
def test_further_signals_during_shutdown_have_no_effect(scenario: Scenario) -> None:
    """G3: the running job still completes, and the exit code is 0."""
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


def test_a_signal_just_before_the_process_exits_has_no_effect(scenario: Scenario) -> None:
    """G3: after `worker.stopped` was logged and before the process has exited."""
    worker = scenario.worker()
    scenario.wait_call("ReceiveMessage")
    worker.terminate()
    worker.wait_for("worker.stopped")
    while worker.running:
        worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_a_job_that_exceeds_the_grace_period_is_released_with_a_short_delay(scenario: Scenario) -> None:
    """G2: its upload is aborted, and the next worker repeats the job."""
    scenario.inject(Delay(before_it=30), "UploadPart", part=1)
    job = scenario.send_request(scenario.put_objects(6 * MIB))
    worker = scenario.worker(SHUTDOWN_GRACE_SECONDS="1")
    scenario.wait_call("UploadPart")
    worker.terminate()
    assert worker.exit_code() == 0
    release = scenario.history.select("ChangeMessageVisibility")[-1]
    assert release.ok and 0 < release.facts["visibility"] <= 30
    assert len(scenario.history.select("AbortMultipartUpload")) >= 1
    scenario.worker("clean")
    scenario.wait_deleted(job, seconds=60)
    scenario.finish()


@pytest.mark.parametrize("op", ["HeadBucket", "GetQueueUrl", "GetQueueAttributes"])
def test_a_signal_during_startup_stops_the_worker_before_it_receives(scenario: Scenario, op: str) -> None:
    """G5: during each kind of startup check."""
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.inject(SideEffect(before_it=worker.terminate), op)
    assert worker.exit_code() == 0
    assert scenario.history.select("ReceiveMessage") == [] and not scenario.ended(job)
    scenario.finish()


@pytest.mark.fresh
def test_a_signal_before_the_handlers_are_installed_stops_the_process_at_once(scenario: Scenario) -> None:
    """G5: modules are still being imported. The process may exit with code 0 or by the signal."""
    worker = scenario.worker()
    worker.terminate()
    assert worker.exit_code() in (0, -signal.SIGTERM)
    assert scenario.history.select("ReceiveMessage") == []
    assert "Traceback" not in worker.log


@pytest.mark.slow
def test_a_busy_task_has_scale_in_protection_and_an_idle_task_releases_it(scenario: Scenario) -> None:
    """G7: consecutive short jobs share one protection. Renewals are tested in tests/worker/test_protection.py."""
    with agent() as ecs:
        worker = scenario.worker(ECS_AGENT_URI=ecs.uri, AWS_ENDPOINT_URL_ECS=ecs.uri)
        worker.wait_for("worker.ready")
        assert ecs.asked == []
        scenario.wait_deleted(
            scenario.send_request(scenario.put_objects(1000)), scenario.send_request(scenario.put_objects(2000))
        )
        wait_until(lambda: len(ecs.asked) == 2, "the end of the protection")
    assert [call["ProtectionEnabled"] for call in ecs.asked] == [True, False]
    scenario.finish()


def test_a_task_that_is_refused_scale_in_protection_continues_and_takes_new_jobs(scenario: Scenario) -> None:
    """G6: DEPLOYMENT_BLOCKED means that enough other tasks are protected. It says nothing about this task."""
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


@pytest.mark.parametrize(
    "how", [how if how == "hangs" else pytest.param(how, marks=pytest.mark.slow) for how in MISBEHAVES]
)
def test_a_misbehaving_ecs_agent_delays_no_job_and_no_shutdown(scenario: Scenario, how: str) -> None:
    """G6: errors, invalid or endless responses, hang-ups and time-outs."""
    with agent() as ecs:
        ecs.answer = MISBEHAVES[how]
        job = scenario.send_request(scenario.put_objects(1000))
        worker = scenario.worker(ECS_AGENT_URI=ecs.uri, AWS_ENDPOINT_URL_ECS=ecs.uri)
        scenario.wait_deleted(job)
        if how not in ("hangs", "sends an endless response"):
            worker.wait_for("protection.failed")
        worker.terminate()
        assert worker.exit_code() == 0
        assert ecs.asked
    assert not list(worker.events("protection.refused"))
    scenario.finish()


def test_an_unreachable_ecs_agent_stops_no_job(scenario: Scenario) -> None:
    """G6: connections to the agent are refused."""
    job = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker(ECS_AGENT_URI="http://127.0.0.1:9/api", AWS_ENDPOINT_URL_ECS="http://127.0.0.1:9")
    scenario.wait_deleted(job)
    worker.wait_for("protection.failed")
    scenario.finish()


@pytest.mark.slow
def test_a_log_reader_that_stops_reading_delays_no_job_and_no_shutdown(scenario: Scenario) -> None:
    """H3: buffered log lines are written when the reader continues."""
    worker = scenario.worker(METRICS="emf")
    worker.wait_for("worker.ready")
    worker.stop_reading()
    jobs = [scenario.send_request(scenario.put_objects(1000)) for _ in range(12)]
    scenario.wait_deleted(*jobs)
    worker.resume_reading()
    wait_until(lambda: len(list(worker.events("job.done"))) == len(jobs), "the buffered lines")
    worker.stop_reading()
    last = [scenario.send_request(scenario.put_objects(1000)) for _ in range(12)]
    scenario.wait_deleted(*last)
    worker.terminate()
    wait_until(lambda: not worker.running, "its exit", seconds=15)
    worker.resume_reading()
    assert worker.exit_code() == 0
    scenario.finish()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_the_archive(scenario: Scenario) -> None:
    """G8: the archive has four times the memory budget. Growth after a small job stays below the budget plus 20 MiB."""
    small = scenario.send_request(scenario.put_objects(1000))
    worker = scenario.worker()
    scenario.wait_deleted(small)
    before = worker.peak_memory()
    large = scenario.send_request(scenario.put_objects(*[10 * MIB] * 6))
    scenario.wait_deleted(large)
    assert worker.peak_memory() - before <= (15 + 20) * MIB
    scenario.finish()


@pytest.mark.slow
def test_threads_and_sockets_return_to_their_baseline_after_many_jobs(scenario: Scenario) -> None:
    """Promise 10."""
    sources = scenario.put_objects(*[1000] * 10)
    worker = scenario.worker()
    scenario.wait_deleted(*[scenario.send_request(sources) for _ in range(4)])
    before = worker.facts()
    scenario.wait_deleted(*[scenario.send_request(sources) for _ in range(12)])
    worker.wait_for_baseline(before, memory=10 * MIB)
    scenario.finish()


def test_all_invalid_settings_are_reported_at_startup(scenario: Scenario) -> None:
    """G13: one line per problem, which begins with the name of the variable."""
    worker = scenario.worker(
        SQS_SOURCE_QUEUE="",
        S3_DESTINATION_BUCKET=" ",
        MAX_CONCURRENT_JOBS="many",
        SQS_WAIT_SECONDS="21",
        S3_COMPRESSION="rar",
        S3_ALLOWED_SOURCES="bucket/prefix-without-end",
    )
    assert worker.exit_code() == 2
    reported = {line.partition(":")[0] for line in worker.output}
    assert reported == {
        "SQS_SOURCE_QUEUE",
        "S3_DESTINATION_BUCKET",
        "MAX_CONCURRENT_JOBS",
        "SQS_WAIT_SECONDS",
        "S3_COMPRESSION",
        "S3_ALLOWED_SOURCES",
    }
    assert scenario.history.select() == []


def test_the_debug_log_contains_no_secret_and_no_receipt(scenario: Scenario) -> None:
    """Promise 9, with the debug logs of libraries. The checker searches for the planted secrets."""
    jobs = [scenario.send_request(scenario.put_objects(1000, 6 * MIB)), scenario.send_text("no JSON at all", None)]
    worker = scenario.worker(DEBUG="1")
    scenario.wait_deleted(*jobs)
    assert any(str(event.get("logger")).startswith("botocore") for event in worker.events())
    scenario.finish()
