"""`archiver run FILE...` and SOURCE_ORDERS: requests from files, answers on standard output, without any queue."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cli.cli_process import CliProcess
from faults.worker_process import wait_until

from .archiver_process import run_command
from .worker_env import WorkerEnv

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
QUEUES = ("SQS_SOURCE_QUEUE", "SQS_DESTINATION_QUEUE", "SQS_FAILURE_QUEUE")


def without_queues(env: WorkerEnv, **other: str) -> dict[str, str]:
    return {name: value for name, value in env.settings(**other).items() if name not in QUEUES}


def write(folder: Path, **orders: Any) -> list[str]:
    """Write each of *orders*, a request or a text, to a file; their names."""
    for name, order in orders.items():
        (folder / f"{name}.json").write_text(order if isinstance(order, str) else json.dumps(order))
    return [str(folder / f"{name}.json") for name in orders]


def request(key: str, **fields: Any) -> dict[str, Any]:
    return {"files": [{"source": key}], **fields}


def answers(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_orders_are_done_in_their_order_and_answered_on_standard_output(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    files = write(tmp_path, b=request("a.jpg", job_id="b"), a=request("a.jpg", metadata={"n": 1}))

    ended = run_command("run", *files, env=without_queues(worker_env))

    assert ended.returncode == 0, ended.stderr
    first, second = answers(ended.stdout)
    assert (first["job_id"], first["status"]) == ("b", "succeeded")
    assert (second["metadata"], second["message_id"].partition("@")[0]) == ({"n": 1}, files[1])
    assert worker_env.archive(second["archive"]["key"]) == {"a.jpg": b"a photo"}
    assert "job.done" in ended.stderr


def test_a_failed_order_is_told_the_others_are_done_and_the_exit_code_is_1(
    worker_env: WorkerEnv, tmp_path: Path
) -> None:
    worker_env.put("a.jpg")
    files = write(tmp_path, a="not JSON", b=request("missing.jpg"), c=request("a.jpg"))

    ended = run_command(env={**without_queues(worker_env), "SOURCE_ORDERS": ":".join(files)})

    told = [(answer["status"], answer.get("error", {}).get("code")) for answer in answers(ended.stdout)]
    assert told == [("failed", "invalid_json"), ("failed", "source_missing"), ("succeeded", None)]
    assert ended.returncode == 1


def test_files_that_can_not_be_read_are_all_told_before_anything_is_done(tmp_path: Path) -> None:
    """Without a call to AWS, and without credentials, for which a worker would wait."""
    (tmp_path / "large.json").write_bytes(b" " * (1024 * 1024 + 1))
    (tmp_path / "text.json").write_bytes(b"{\n\xff}")
    os.mkfifo(tmp_path / "pipe.json")
    names = ["absent.json", "large.json", "text.json", "pipe.json", ""]
    files = [str(tmp_path / name) for name in names]

    ended = run_command("run", *files, env={"S3_DESTINATION_BUCKET": "archives"})

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"order file {files[0]}: can't be read: No such file or directory",
        f"order file {files[1]}: has more than 1,048,576 bytes; list the files of a long request in a manifest",
        f"order file {files[2]}: line 2 is not UTF-8; save the file as UTF-8",
        f"order file {files[3]}: is not a regular file: name a file with one request as JSON",
        f"order file {files[4]}: is not a regular file: name a file with one request as JSON",  # a folder
    ]


def test_policy_option_is_policy_file(worker_env: WorkerEnv, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[arcives]\n")

    ended = run_command("run", "--policy", str(policy), *write(tmp_path, a="{}"), env=without_queues(worker_env))

    assert ended.returncode == 2
    assert f"POLICY_FILE: {policy}: line 1: arcives is unknown; did you mean archives?" in ended.stderr


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_stops_the_run(worker_env: WorkerEnv, tmp_path: Path) -> None:
    settings = without_queues(worker_env, S3_DESTINATION_BUCKET="no-such-bucket")

    ended = run_command("run", *write(tmp_path, a=request("a.jpg")), env=settings)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "S3_DESTINATION_BUCKET: this bucket does not exist" in ended.stderr


@pytest.mark.slow
def test_a_run_that_is_stopped_says_that_orders_are_left(worker_env: WorkerEnv, tmp_path: Path) -> None:
    """Here one that waits for its objects."""
    waits = request("later.jpg", wait_for={"timeout": 600})
    settings = without_queues(worker_env, SHUTDOWN_GRACE_SECONDS="0")
    with CliProcess(["run", *write(tmp_path, a=waits)], settings) as command:
        wait_until(lambda: "job.received" in command.errors, "the order to be begun")
        command.process.send_signal(signal.SIGTERM)
        code, printed = command.end()

    assert (code, printed) == (3, "")


@pytest.mark.slow
def test_the_same_file_again_is_answered_from_its_archive(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    files = write(tmp_path, a=request("a.jpg"))

    first, second = (run_command("run", *files, env=without_queues(worker_env)) for _ in range(2))

    assert first.stdout == second.stdout
    assert '"reused": true' in second.stderr
    assert len(worker_env.archive_keys()) == 1


@pytest.mark.slow
def test_files_may_have_any_name(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")
    names = ["a:b.json", "new\nline.json", os.fsdecode(b"\xff.json"), "red\x1b[31m.json", "-.json"]
    for name in names:
        (tmp_path / name).write_text(json.dumps(request("a.jpg")))

    ended = run_command("run", *(str(tmp_path / name) for name in names), env=without_queues(worker_env))

    assert (ended.returncode, len(answers(ended.stdout))) == (0, 5), ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr


def test_a_policy_option_without_a_name_is_no_worker_without_a_policy(tmp_path: Path) -> None:
    """A variable of the shell that is not set."""
    ended = run_command("run", "--policy", "", *write(tmp_path, a="{}"), env={"S3_DESTINATION_BUCKET": "archives"})

    assert (ended.returncode, ended.stderr) == (2, "--policy: names no file\n")


@pytest.mark.slow
def test_metrics_are_not_among_the_answers(worker_env: WorkerEnv, tmp_path: Path) -> None:
    worker_env.put("a.jpg")

    ended = run_command("run", *write(tmp_path, a=request("a.jpg")), env=without_queues(worker_env, METRICS="emf"))

    assert [answer["status"] for answer in answers(ended.stdout)] == ["succeeded"]
    assert "CloudWatchMetrics" in ended.stderr


def test_describe_prints_what_the_worker_does_and_nothing_else() -> None:
    given = {"SQS_SOURCE_QUEUE": "jobs", "POLICY_FILE": str(EXAMPLES / "aws-cli.toml")}
    command, variable = (
        run_command(*arguments, env={**given, **more})
        for arguments, more in ((("describe",), {}), ((), {"DESCRIBE": "TRUE"}))
    )

    assert command.returncode == 0, command.stderr
    told = json.loads(command.stdout)
    assert told["queue_name"] == "jobs"
    assert [one["title"] for one in told["parameters"]["anyOf"]] == ["aws-s3-cp", "archive"]
    assert (variable.returncode, variable.stdout) == (0, command.stdout)


def test_describe_tells_what_is_wrong_with_the_policy_file(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[commands.a]\nargv = 7\n")

    ended = run_command("describe", env={"POLICY_FILE": str(tmp_path / "policy.toml")})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "line 2: [commands.a] argv" in ended.stderr
