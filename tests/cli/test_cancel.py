"""`archiver cancel`: the mark that ends a job, seen by a worker."""

import json
import time
from pathlib import Path
from typing import Any

from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv


def cancel(env: WorkerEnv, *arguments: str) -> tuple[int, str]:
    ended = run_command("cancel", "order", *arguments, env=env.settings())
    return ended.returncode, ended.stderr


def failure(env: WorkerEnv) -> dict[str, Any]:
    """The next message on the failure queue."""
    for _ in range(100):
        for found in env.aws.all_messages(env.failures):
            env.aws.sqs.delete_message(QueueUrl=env.failures, ReceiptHandle=found["ReceiptHandle"])
            return dict(json.loads(found["Body"]))
        time.sleep(0.1)
    raise AssertionError("no failure answer")


def send_and_wait(env: WorkerEnv, *arguments: str) -> tuple[int, str, str]:
    ended = run_command("send", *arguments, "--wait", "--timeout", "50", env=env.settings())
    return ended.returncode, ended.stdout, ended.stderr.splitlines()[-1] if ended.stderr else ""


def test_a_sender_that_waits_hears_of_a_cancellation(worker_env: WorkerEnv, tmp_path: Path) -> None:
    """The sender of the message that cancels, and the one of the job."""
    worker_env.put("a.jpg")
    worker_env.worker(CANCELLATION="1")
    message = tmp_path / "cancel.json"
    message.write_text('{"cancel": "order"}')
    job = ("--file", "a.jpg", "--job-id", "order")

    told = "cancelled: order; archiver cancel --undo lets it run again\n"
    code, output, sent = send_and_wait(worker_env, str(message))
    assert (code, output) == (0, told)
    assert sent.startswith("sent a cancellation to ")

    code, output, error = send_and_wait(worker_env, *job)
    assert (code, output) == (1, "")
    assert error == "the job order was cancelled; archiver cancel --undo lets it run again"

    assert cancel(worker_env, "--undo")[0] == 0
    assert send_and_wait(worker_env, *job)[0] == 0
    code, output, error = send_and_wait(worker_env, str(message))
    assert (code, output, error) == (1, "", "order: the archive is finished: it can't be cancelled")


def test_a_cancelled_job_is_answered_and_runs_again_once_that_is_undone(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    assert cancel(worker_env) == (0, "cancelled: order; archiver cancel --undo lets it run again\n")
    worker_env.worker(CANCELLATION="1")
    worker_env.send_request("a.jpg", job_id="order")
    answer = failure(worker_env)
    assert (answer["status"], answer["job_id"]) == ("cancelled", "order")

    assert cancel(worker_env, "--undo") == (0, "jobs with the id order run again\n")
    worker_env.send_request("a.jpg", job_id="order")
    assert worker_env.answer()["status"] == "succeeded"

    code, told = cancel(worker_env)
    assert code == 1
    assert told.endswith("the archive is finished; it can't be cancelled\n")
