"""
How a worker starts, or says why it does not: exit code 2, a line for each problem, never a traceback.

What is read in which order shows only with an interpreter of its own: each kind of start has one, by the mark `fresh`.
"""

import socket
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from emulator import REGION

from .archiver_process import Worker, run_command
from .worker_env import WorkerEnv

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def complaints(ended: CompletedProcess[str]) -> list[str]:
    """The variables that a worker complained of, one on each line, before it ended as it should."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    return [line.partition(": ")[0] for line in ended.stderr.splitlines()]


@pytest.mark.fresh
def test_all_bad_settings_are_told_at_once_each_on_one_line_by_its_variable() -> None:
    bad = {
        "MAX_CONCURRENT_JOBS": "none",
        "MEMORY_BUDGET_MIB": "1",
        "SQS_WAIT_SECONDS": "21",
        "SHUTDOWN_GRACE_SECONDS": "-1",
        "S3_COMPRESSION": "best",
        "S3_FILE_PREFIX": "a/b",
        "ARCHIVE_BASE_URL": "cdn",
        "DEBUG": "2",
        "DEV_MODE": "2",
        "S3_ALLOWED_SOURCES": "photos/a",
    }
    ended = run_command("run", env=bad)

    assert sorted(complaints(ended)) == sorted([*bad, "SQS_SOURCE_QUEUE", "S3_DESTINATION_BUCKET"])
    assert ended.stdout == ""


@pytest.mark.fresh
def test_every_queue_and_bucket_that_does_not_exist_is_named(worker_env: WorkerEnv) -> None:
    ended = run_command(
        "run",
        env=worker_env.settings(
            SQS_SOURCE_QUEUE="no-such-requests",
            SQS_DESTINATION_QUEUE="no-such-answers",
            SQS_FAILURE_QUEUE="no-such-failures",
            S3_SOURCE_BUCKET="no-such-sources",
            S3_ALLOWED_SOURCES="no-such-sources",
            S3_DESTINATION_BUCKET="no-such-archives",
        ),
    )

    assert sorted(complaints(ended)) == [
        "S3_DESTINATION_BUCKET",
        "S3_SOURCE_BUCKET",
        "SQS_DESTINATION_QUEUE",
        "SQS_FAILURE_QUEUE",
        "SQS_SOURCE_QUEUE",
    ]
    assert all("does not exist" in line for line in ended.stderr.splitlines())


@pytest.mark.parametrize("form", ["name", "URL", "ARN"])
def test_source_queue_that_does_not_exist_is_named_in_whatever_form_it_is_given(
    worker_env: WorkerEnv, form: str
) -> None:
    url = worker_env.source + "-gone"
    given = {"name": url.rpartition("/")[2], "URL": url, "ARN": worker_env.aws.arn(url)}[form]

    ended = run_command("run", env=worker_env.settings(SQS_SOURCE_QUEUE=given))

    assert complaints(ended) == ["SQS_SOURCE_QUEUE"]


@pytest.mark.parametrize(
    ("other", "variable"),
    [
        ({"AWS_REGION": ""}, "AWS_REGION"),
        ({"AWS_REGION": "no region"}, "AWS_REGION"),
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
        ({"AWS_ENDPOINT_URL": "localhost"}, "AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://localhost:99999"}, "AWS_ENDPOINT_URL"),
    ],
    ids=["no region", "odd region", "unknown profile", "endpoint without scheme", "endpoint with an impossible port"],
)
def test_aws_variables_of_no_use_are_named(worker_env: WorkerEnv, other: dict[str, str], variable: str) -> None:
    assert complaints(run_command("run", env=worker_env.settings(**other))) == [variable]


@pytest.mark.slow
@pytest.mark.fresh
def test_default_region_is_read_where_aws_region_is_not_set(worker_env: WorkerEnv) -> None:
    worker = worker_env.worker(AWS_REGION="", AWS_DEFAULT_REGION=REGION)

    worker.terminate()

    assert worker.exit_code() == 0


@pytest.mark.fresh
def test_without_credentials_the_worker_says_so_and_waits_for_them_until_it_is_stopped(worker_env: WorkerEnv) -> None:
    """They may come: a role is attached late, a metadata service is slow. The message that waits is nobody's fault."""
    worker = Worker("worker", worker_env.settings(**dict.fromkeys(CREDENTIALS, "")))
    worker_env.workers.append(worker)

    paused = worker.wait_for("worker.paused")
    worker.terminate()

    assert worker.exit_code() == 0
    assert "credentials" in paused["reason"]
    assert paused["retry_in"] == 5
    assert "Traceback" not in worker.log


def test_credentials_that_come_late_are_found_without_a_restart(worker_env: WorkerEnv, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    settings = worker_env.settings(**dict.fromkeys(CREDENTIALS, ""), AWS_SHARED_CREDENTIALS_FILE=str(file))
    worker = Worker("worker", settings)
    worker_env.workers.append(worker)

    worker.wait_for("worker.paused")
    file.write_text("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = testing\n")
    worker.wait_for("worker.ready")
    worker.terminate()

    assert worker.exit_code() == 0


def test_an_agent_that_does_not_listen_yet_is_waited_for(worker_env: WorkerEnv) -> None:
    """A pod's agent may come after the pod: that is no setting that can't work, after which systemd starts no more."""
    agent = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/creds"}
    worker = Worker("worker", worker_env.settings(**dict.fromkeys(CREDENTIALS, ""), **agent))
    worker_env.workers.append(worker)

    paused = worker.wait_for("worker.paused")
    worker.terminate()

    assert worker.exit_code() == 0
    assert paused["reason"].startswith("no credentials available: container-role")


@pytest.mark.slow
@pytest.mark.fresh
def test_signal_is_heard_while_endpoints_take_connections_and_say_nothing(worker_env: WorkerEnv) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        worker = Worker("worker", worker_env.settings(AWS_ENDPOINT_URL=endpoint))
        worker_env.workers.append(worker)
        with silent.accept()[0]:  # the first check has begun
            worker.terminate()
            worker.wait_for("worker.stopped")

            assert worker.exit_code() == 0


def test_queues_that_contradict_each_other_stop_the_start(worker_env: WorkerEnv) -> None:
    ended = run_command("run", env=worker_env.settings(SQS_FAILURE_QUEUE=worker_env.aws.arn(worker_env.source)))

    assert complaints(ended) == ["SQS_FAILURE_QUEUE"]
    assert "the source queue" in ended.stderr


def test_risky_settings_are_warned_of_at_start(worker_env: WorkerEnv) -> None:
    worker = worker_env.worker(ARCHIVE_KEY_SECRET="", ARCHIVE_BASE_URL="", S3_ALLOWED_SOURCES="")

    warned = {line["message"]: line["effect"] for line in worker.lines if line["level"] == "warning"}

    assert warned.keys() == {"settings.no_key_secret", "settings.no_base_url", "settings.no_allowed_sources"}
    assert "ARCHIVE_KEY_SECRET" in warned["settings.no_key_secret"]
    assert "ARCHIVE_BASE_URL" in warned["settings.no_base_url"]
    assert "S3_ALLOWED_SOURCES" in warned["settings.no_allowed_sources"]


@pytest.mark.fresh
def test_usual_start_warns_of_nothing(shared: WorkerEnv) -> None:
    worker = shared.worker()

    assert [line["message"] for line in worker.lines] == ["worker.starting", "worker.ready"]


def test_a_queue_that_hides_messages_for_less_than_two_seconds_stops_the_start(worker_env: WorkerEnv) -> None:
    """No lease could be kept on it: every message would be lost unstarted, and end in the dead-letter queue."""
    queue = worker_env.aws.queue({"VisibilityTimeout": "1"})

    ended = run_command("run", env=worker_env.settings(SQS_SOURCE_QUEUE=queue))

    assert complaints(ended) == ["SQS_SOURCE_QUEUE"]
    assert "VisibilityTimeout is 1 s" in ended.stderr
