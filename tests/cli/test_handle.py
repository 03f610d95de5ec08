"""`archiver handle`: events from files, standard input, S3 and TASK_ORDER, and its exit codes."""

import json
from pathlib import Path

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

REQUEST = json.dumps({"files": [{"source": "a.jpg"}], "job_id": "j"})


@pytest.mark.slow
def test_events_come_from_where_they_are_named_and_answers_are_printed(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    worker_env.put("event.json", REQUEST.encode())
    (tmp_path / "event.json").write_text(REQUEST)
    settings = worker_env.settings()

    ended = [
        run_command("handle", str(tmp_path / "event.json"), env=settings),
        run_command("handle", f"s3://{worker_env.sources}/event.json", env=settings),
        run_command("handle", env={**settings, "TASK_ORDER": REQUEST}),
    ]

    for one in ended:
        assert (one.returncode, json.loads(one.stdout)["status"]) == (0, "succeeded"), one.stderr
        assert "job.done" in one.stderr


@pytest.mark.slow
def test_a_request_that_failed_is_exit_code_1(worker_env: WorkerEnv) -> None:
    ended = run_command("handle", env={**worker_env.settings(), "TASK_ORDER": REQUEST.replace("a.jpg", "gone.jpg")})
    assert (ended.returncode, json.loads(ended.stdout)["error"]["code"]) == (1, "source_missing")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name the event: a file, - or s3://bucket/key, or set TASK_ORDER"),
        (["not-there.json"], "not-there.json: can't be read: No such file or directory"),
        (["s3://bucket"], "s3://bucket: has no key"),
    ],
)
def test_without_an_event_it_says_what_to_name(arguments: list[str], sentence: str) -> None:
    ended = run_command("handle", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sentence in ended.stderr
