"""Fields about waiting and restores in commands: what is sent, what is refused before, and what `create` does."""

import json
import threading

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv


def test_the_fields_are_sent(worker_env: WorkerEnv) -> None:
    """Who sends need not know which restores the worker allows, nor how long it lets requests wait."""
    options = ("--wait-for", "7200", "--on-archived", "restore")
    ended = run_command("send", "--file", "a.jpg", *options, env=worker_env.settings())

    assert (ended.returncode, ended.stderr) == (0, "")
    (message,) = worker_env.aws.all_messages(worker_env.source)
    assert json.loads(message["Body"]) == {
        "files": [{"source": "a.jpg"}],
        "wait_for": {"timeout": 7200},
        "on_archived": "restore",
    }


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        (["--wait-for", "0"], {}, "$.wait_for.timeout"),
        (["--wait-for", "61"], {"WAIT_LIMIT": "60"}, "at most 60 seconds (WAIT_LIMIT)"),
        (["--wait-for", "1"], {"WAIT_LIMIT": "0"}, "WAIT_LIMIT is 0"),
        (["--on-archived", "thaw"], {}, "$.on_archived"),
    ],
)
def test_a_request_that_waits_for_too_long_is_not_sent(
    worker_env: WorkerEnv, options: list[str], settings: dict[str, str], told: str
) -> None:
    ended = run_command("send", "--file", "a.jpg", *options, env=worker_env.settings(**settings))

    assert ended.returncode == 2
    assert told in ended.stderr
    assert worker_env.queue_depth(worker_env.source) == 0


@pytest.mark.slow
def test_create_waits_for_an_object_and_restores_another(worker_env: WorkerEnv) -> None:
    worker_env.aws.s3.put_object(Bucket=worker_env.sources, Key="cold.jpg", Body=b"cold", StorageClass="GLACIER")
    files = ("--file=cold.jpg", "--file=late.jpg")
    put = threading.Timer(3.0, worker_env.put, ("late.jpg", b"late"))
    put.start()
    ended = run_command(
        "create",
        *files,
        "--wait-for=60",
        "--on-archived=restore",
        "--json",
        env=worker_env.settings(RESTORE_TIERS="Standard"),
    )
    put.join()

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["files"] == 2


@pytest.mark.slow
def test_create_ends_with_the_verdict_when_the_time_is_over(worker_env: WorkerEnv) -> None:
    ended = run_command("create", "--file=late.jpg", "--wait-for=1", env=worker_env.settings())

    assert ended.returncode == 1
    assert "source_missing" in ended.stderr
