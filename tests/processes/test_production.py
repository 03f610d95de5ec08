"""A worker as it runs in production: metrics among its log lines, a health server, a port that is taken."""

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from faults.worker_process import wait_until
from prometheus_client.parser import text_string_to_metric_families
from telemetry.test_emf import Series, metrics

from .archiver_process import Worker, run_command
from .worker_env import WorkerEnv


def get(worker: Worker, path: str) -> tuple[int, str]:
    listening = next(worker.events("health.listening"))
    try:
        with urllib.request.urlopen(f"http://{listening['host']}:{listening['port']}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def total(values: Sequence[Mapping[Series, float]], name: str, **dimensions: str) -> float:
    series = (name, frozenset({"Service": "zips", **dimensions}.items()))
    return sum(value.get(series, 0) for value in values)


def test_metrics_tell_how_jobs_ended(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg", b"a" * 1000)
    worker = worker_env.worker(METRICS="emf", SERVICE_NAME="zips")
    worker_env.send_request("a.jpg")
    worker_env.send_request("gone.jpg")
    worker_env.answer()
    wait_until(lambda: "job.rejected" in worker.log, "a rejection")
    worker.terminate()
    assert worker.exit_code() == 0

    told = [metrics(line) for line in worker.lines if "_aws" in line]
    (done,) = worker.events("job.done")
    assert total(told, "Jobs") == 2
    assert total(told, "Jobs", Outcome="rejected", Code="source_missing") == 1
    assert (total(told, "Files"), total(told, "Bytes")) == (1, done["bytes"])
    assert total(told, "Duration") >= total(told, "Duration", Outcome="done") >= done["seconds"]
    last = next(line for line in reversed(told) if "Memory" in {name for name, _ in line})
    assert total([last], "Memory") > 20 * 1024 * 1024
    assert total([last], "OpenParts") == 0


def test_without_the_setting_there_are_no_metrics(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker = worker_env.worker()
    worker_env.send_request("a.jpg")
    worker_env.answer()
    worker.terminate()

    assert worker.exit_code() == 0
    assert "_aws" not in worker.log and "health.listening" not in worker.log


def test_a_worker_is_ready_and_shows_its_numbers(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker = worker_env.worker(HEALTH_PORT="0")
    worker_env.send_request("a.jpg")
    worker_env.answer()
    wait_until(lambda: "archiver_jobs_total{" in get(worker, "/metrics")[1], "the job to be counted")

    assert get(worker, "/health/live") == get(worker, "/health/ready") == (200, "ok\n")
    status, page = get(worker, "/metrics")
    samples = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert status == 200
    assert samples["archiver_jobs_total", "done"] == samples["archiver_files_total", None] == 1
    assert samples["archiver_memory_bytes", None] > 20 * 1024 * 1024


def test_a_worker_that_cannot_receive_is_not_ready_and_one_that_stops_neither(worker_env: WorkerEnv) -> None:
    worker = worker_env.worker(HEALTH_PORT="0", SQS_WAIT_SECONDS="10")
    worker_env.aws.sqs.delete_queue(QueueUrl=worker_env.source)
    wait_until(lambda: "worker.receive_failed" in worker.log or "worker.paused" in worker.log, "a failed receive")

    assert get(worker, "/health/ready") == (503, "receiving fails: see worker.receive_failed in the log\n")
    assert get(worker, "/health/live") == (200, "ok\n")
    assert re.search(r'^archiver_paused\{service="archiver"\} 1\.0$', get(worker, "/metrics")[1], re.MULTILINE)


def test_a_worker_whose_destination_is_gone_holds_its_job_and_is_not_ready(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker = worker_env.worker(HEALTH_PORT="0")
    worker_env.aws.s3.delete_bucket(Bucket=worker_env.archives)
    worker_env.send_request("a.jpg")
    wait_until(lambda: "worker.paused" in worker.log, "a job that is held")

    assert get(worker, "/health/ready") == (503, "the worker is paused: see worker.paused in the log\n")
    assert re.search(r'^archiver_paused\{service="archiver"\} 1\.0$', get(worker, "/metrics")[1], re.MULTILINE)


def test_a_port_that_is_taken_stops_the_start(worker_env: WorkerEnv) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_command("run", env=worker_env.settings(HEALTH_PORT=port))

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"HEALTH_PORT: can't listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in ended.stderr


def test_an_address_that_is_not_ours_stops_the_start(worker_env: WorkerEnv) -> None:
    ended = run_command("run", env=worker_env.settings(HEALTH_PORT="0", HEALTH_HOST="no.such.host.invalid"))

    assert ended.returncode == 2
    assert ended.stderr.startswith("HEALTH_PORT: can't listen on no.such.host.invalid:0: ")
